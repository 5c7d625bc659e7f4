package install

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"aios/boot/image"
	"aios/boot/manifest"
	"aios/boot/predict"
	"aios/boot/secureboot"
	"aios/captoken/mldsa"
	"aios/host/state"
)

// Names of files in a slot.
const (
	kernelFile = "kernel.elf"
	policyFile = "policy.tar.gz"
	slot       = "a"
)

// Source is what an image is made of.
type Source struct {
	Target   string // folder with what `make build` built: bootx64.efi, kernel.elf and the programs
	Policy   []byte // policy bundle
	Cmdline  string
	Version  uint64             // of the manifest; 0 means one more than the last image had
	Verifier *manifest.Verifier // nil: the host proves itself to whoever is at its console
	Programs *Programs          // nil: those of DefaultPrograms
}

func (src Source) programs() *Programs {
	if src.Programs != nil {
		return src.Programs
	}
	return DefaultPrograms()
}

// Image is the disk image in the state folder.
type Image struct {
	Built     bool // by this call
	Reference *predict.Reference
	SHA256    [sha256.Size]byte // of the disk as it is; differs from the reference's if it was altered
}

// Altered tells whether the disk is another than the one that was built.
func (i *Image) Altered() bool { return !bytes.Equal(i.SHA256[:], i.Reference.ImageSHA256) }

// EnsureImage builds, signs and stores the disk image, unless the one that is
// there was built from the same source with the same keys, or force is set. A
// disk that was altered since is left as it is: to hide that would be worse
// than to boot it, which is what the chain is made for. Reference values that
// were altered are an error.
func EnsureImage(d *state.Dir, k *Keys, sb *secureboot.Keys, src Source, force bool) (*Image, error) {
	in, err := src.read(k)
	if err != nil {
		return nil, err
	}
	fingerprint := in.fingerprint(src, k, sb)
	if !force {
		i, err := current(d, k, fingerprint)
		if err != nil {
			return nil, err
		}
		if i != nil && (src.Version == 0 || src.Version == i.Reference.ManifestVersion) {
			return i, nil
		}
	}
	version := src.Version
	if version == 0 {
		version = lastVersion(d, k) + 1
	}
	disk, ref, err := in.build(src, version, k, sb)
	if err != nil {
		return nil, err
	}
	return &Image{Built: true, Reference: ref, SHA256: sha256.Sum256(disk)}, store(d, k, disk, ref, fingerprint)
}

// Manifest returns the payload of the manifest that an image of src would have.
func Manifest(src Source) ([]byte, error) {
	in, err := src.read(nil)
	if err != nil {
		return nil, err
	}
	m := in.manifest(src, src.Version)
	return m.Encode(), m.Validate()
}

// input is the source, read.
type input struct {
	boot  []byte            // unsigned
	files map[string][]byte // of the slot, without the manifest
}

func (src Source) read(k *Keys) (*input, error) {
	in := &input{files: map[string][]byte{policyFile: src.Policy}}
	get := func(name string) ([]byte, error) {
		b, err := os.ReadFile(filepath.Join(src.Target, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &NotBuiltError{Target: src.Target, File: name}
		}
		return b, err
	}
	var err error
	if in.boot, err = get("bootx64.efi"); err != nil {
		return nil, err
	}
	if k != nil && !bytes.Contains(in.boot, mldsa.EncodePublicKeys(k.Manifest.Public())) {
		return nil, &OtherKeyError{Target: src.Target, Key: k.ManifestID()}
	}
	names := []string{kernelFile}
	names = append(names, src.programs().files()...)
	for _, name := range names {
		if in.files[name], err = get(name); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// NotBuiltError says that something that a host boots was not built.
type NotBuiltError struct{ Target, File string }

func (e *NotBuiltError) Error() string {
	return fmt.Sprintf("%s is not in %s", e.File, e.Target)
}
func (e *NotBuiltError) Remedy() string {
	return "run `make build` in the source tree, or name the folder with --target"
}

// OtherKeyError says that the boot stage trusts another installation.
type OtherKeyError struct{ Target, Key string }

func (e *OtherKeyError) Error() string {
	return fmt.Sprintf("the boot stage in %s was not built to trust this installation's manifest key %s", e.Target, e.Key)
}
func (e *OtherKeyError) Remedy() string {
	return "run `make build` with the same state folder (AIOS_STATE)"
}

func (in *input) manifest(src Source, version uint64) *manifest.Manifest {
	of := func(file string) manifest.Image {
		return manifest.Image{File: file, SHA256: sha256.Sum256(in.files[file]), Size: int64(len(in.files[file]))}
	}
	m := &manifest.Manifest{Version: version, Kernel: of(kernelFile), Policy: of(policyFile), Verifier: src.Verifier}
	p := src.programs()
	for _, s := range p.Services {
		s.Image = of(elf(s.Name))
		m.Services = append(m.Services, s)
	}
	for _, name := range p.Runtimes {
		m.Runtimes = append(m.Runtimes, manifest.Runtime{Name: name, Image: of(elf(name))})
	}
	for _, a := range p.Agents {
		a.Image = of(wasm(a.Name))
		m.Agents = append(m.Agents, a)
	}
	return m
}

func (in *input) build(src Source, version uint64, k *Keys, sb *secureboot.Keys) (disk []byte, ref *predict.Reference, err error) {
	m := in.manifest(src, version)
	if err := m.Validate(); err != nil {
		return nil, nil, err
	}
	envelope, err := manifest.Sign(m.Encode(), k.Manifest)
	if err != nil {
		return nil, nil, err
	}
	signed, err := manifest.OpenSigned(envelope, []*mldsa.PublicKey{k.Manifest.Public()}, 1)
	if err != nil {
		return nil, nil, err
	}
	boot, err := secureboot.Sign(in.boot, sb.Db)
	if err != nil {
		return nil, nil, err
	}
	content := image.Content{Boot: boot, Conf: manifest.Conf{Slot: slot, Cmdline: src.Cmdline},
		Slots: []image.Slot{{Name: slot, Manifest: envelope, Files: in.files}}}
	if disk, err = image.Build(content.Files()); err != nil {
		return nil, nil, err
	}
	ref, err = predict.Predict(predict.Input{Profile: predict.OVMF, ImageSHA256: sha256.Sum256(disk),
		Variables: sb.Variables(), Boot: boot, Conf: content.Conf.Encode(), System: signed})
	return disk, ref, err
}

// fingerprint changes when anything changes that goes into the image.
func (in *input) fingerprint(src Source, k *Keys, sb *secureboot.Keys) string {
	h := sha256.New()
	m := in.manifest(src, 1)
	for _, part := range [][]byte{in.boot, m.Encode(), []byte(src.Cmdline), k.Manifest.Public().Bytes(), sb.Db.Cert.Raw, sb.Variables().PK, sb.Variables().KEK} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// current returns the image that is there, or nil if it does not have this
// fingerprint, or if its disk or its reference values are gone.
func current(d *state.Dir, k *Keys, fingerprint string) (*Image, error) {
	was, err := os.ReadFile(filepath.Join(d.Image(), "fingerprint"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(was)) != fingerprint {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	ref, err := LoadReference(d.Reference(), k.Manifest.Public())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a new build makes it
	} else if err != nil {
		return nil, err
	}
	disk, err := os.ReadFile(d.Disk())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &Image{Reference: ref, SHA256: sha256.Sum256(disk)}, nil
}

// lastVersion is the manifest version of the image that is there, 0 without one.
func lastVersion(d *state.Dir, k *Keys) uint64 {
	ref, err := LoadReference(d.Reference(), k.Manifest.Public())
	if err != nil {
		return 0
	}
	return ref.ManifestVersion
}

// store writes the fingerprint last: an interrupted build is not current.
func store(d *state.Dir, k *Keys, disk []byte, ref *predict.Reference, fingerprint string) error {
	text, err := ref.Encode()
	if err != nil {
		return err
	}
	sig, err := predict.Sign(text, k.Manifest)
	if err != nil {
		return err
	}
	print := filepath.Join(d.Image(), "fingerprint")
	if err := os.Remove(print); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{d.Disk(), disk}, {d.Reference(), text}, {d.Reference() + ".sig", sig}, {print, []byte(fingerprint + "\n")}} {
		if err := state.WriteFile(f.name, f.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// LoadReference reads the predictions for an image, verified with the manifest
// key. The signature is in a file of the same name with ".sig" appended.
func LoadReference(file string, key *mldsa.PublicKey) (*predict.Reference, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sig, err := os.ReadFile(file + ".sig")
	if err != nil {
		return nil, err
	}
	ref, err := predict.Load(text, sig, []*mldsa.PublicKey{key})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return ref, nil
}
