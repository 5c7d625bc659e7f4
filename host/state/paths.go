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

// Keys of the installation that are ML-DSA-65, one for each purpose.

// ManifestKey signs system manifests and reference values.
func (d *Dir) ManifestKey() string { return filepath.Join(d.Keys(), "manifest.key") }

// ManifestPublic is what the boot stage is built to trust.
func (d *Dir) ManifestPublic() string { return filepath.Join(d.Keys(), "manifest.pub") }

// ResultKey signs attestation results.
func (d *Dir) ResultKey() string { return filepath.Join(d.Keys(), "result.key") }

// ResultPublic is what relying parties verify attestation results with.
func (d *Dir) ResultPublic() string { return filepath.Join(d.Keys(), "result.pub") }

// TokenKey signs leases and capability tokens.
func (d *Dir) TokenKey() string { return filepath.Join(d.Keys(), "token.key") }

// TokenPublic is what hosts verify leases and tokens with.
func (d *Dir) TokenPublic() string { return filepath.Join(d.Keys(), "token.pub") }

// IdentityKey is what the verifier introduces itself to hosts with.
func (d *Dir) IdentityKey() string { return filepath.Join(d.Keys(), "identity.key") }

// IdentityPublic is what hosts know the verifier by.
func (d *Dir) IdentityPublic() string { return filepath.Join(d.Keys(), "identity.pub") }

// OperatorKey signs commands.
func (d *Dir) OperatorKey() string { return filepath.Join(d.Keys(), "operator.key") }

// OperatorPublic is what the verifier knows the operator by.
func (d *Dir) OperatorPublic() string { return filepath.Join(d.Keys(), "operator.pub") }

// Files of the image.

// Disk is the signed, bootable disk image.
func (d *Dir) Disk() string { return filepath.Join(d.Image(), "disk.img") }

// Reference is what a good boot of the image will show, signed in a file of
// the same name with ".sig" appended.
func (d *Dir) Reference() string { return filepath.Join(d.Image(), "reference.json") }

// Verifier holds what the verifier remembers.
func (d *Dir) Verifier() string { return filepath.Join(d.Root, "verifier") }

// Hosts holds the verifier's records of the hosts that it has enrolled.
func (d *Dir) Hosts() string { return filepath.Join(d.Verifier(), "hosts") }

// APIToken is the bearer token of the verifier's REST API.
func (d *Dir) APIToken() string { return filepath.Join(d.Verifier(), "api.token") }

// APIAddress says where the verifier's REST API was last served.
func (d *Dir) APIAddress() string { return filepath.Join(d.Verifier(), "api.address") }

// EAR is the newest attestation result for a host, a JWT for relying parties.
func (d *Dir) EAR(host string) string { return filepath.Join(d.Results(), host+".jwt") }

// Results holds them.
func (d *Dir) Results() string { return filepath.Join(d.Verifier(), "results") }
