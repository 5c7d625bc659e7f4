package state

import (
	"path/filepath"
)

// Files and folders of the virtual host.

// TPM is the folder of its TPM and of the CA that endorsed it.
func (d *Dir) TPM() string { return filepath.Join(d.Host(), "tpm") }

// FirmwareVars is its UEFI variable store, with our Secure Boot keys in it.
func (d *Dir) FirmwareVars() string { return filepath.Join(d.Host(), "vars.fd") }

// Shape says with what hardware it was last started.
func (d *Dir) Shape() string { return filepath.Join(d.Host(), "shape") }

// Console is the console output of its last boot.
func (d *Dir) Console() string { return filepath.Join(d.Host(), "console.log") }

// Keys of the installation that are ML-DSA-65.

// ManifestKey signs system manifests and reference values.
func (d *Dir) ManifestKey() string { return filepath.Join(d.Keys(), "manifest.key") }

// ManifestPublic is what the boot stage is built to trust.
func (d *Dir) ManifestPublic() string { return filepath.Join(d.Keys(), "manifest.pub") }

// ResultKey signs attestation results.
func (d *Dir) ResultKey() string { return filepath.Join(d.Keys(), "result.key") }

// ResultPublic is what relying parties verify attestation results with.
func (d *Dir) ResultPublic() string { return filepath.Join(d.Keys(), "result.pub") }

// Files of the image.

// Disk is the signed, bootable disk image.
func (d *Dir) Disk() string { return filepath.Join(d.Image(), "disk.img") }

// Reference is what a good boot of the image will show, signed in a file of
// the same name with ".sig" appended.
func (d *Dir) Reference() string { return filepath.Join(d.Image(), "reference.json") }

// Hosts holds the verifier's records of the hosts that it has enrolled.
func (d *Dir) Hosts() string { return filepath.Join(d.Root, "verifier", "hosts") }

// EAR is the newest attestation result for a host, a JWT for relying parties.
func (d *Dir) EAR(host string) string { return filepath.Join(d.Results(), host+".jwt") }

// Results holds them.
func (d *Dir) Results() string { return filepath.Join(d.Root, "verifier", "results") }
