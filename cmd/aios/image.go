package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"aios/boot/image"
	"aios/boot/manifest"
	"aios/boot/predict"
	"aios/boot/secureboot"
	"aios/captoken/mldsa"
	"aios/host/install"
	"aios/host/state"
	"aios/host/story"
)

// imageCmd builds and shows the disk image.
type imageCmd struct {
	Build    imageBuildCmd    `cmd:"" help:"Build and sign the disk image, and predict its PCR values."`
	Inspect  imageInspectCmd  `cmd:"" help:"Show what is in a disk image, and whether it fits together."`
	Manifest imageManifestCmd `cmd:"" help:"Print the manifest that an image would have, unsigned."`
}

// imageFlags say what an image is made of.
type imageFlags struct {
	policyFlag
	Target          string        `help:"Folder of the built boot stage, kernel and services (default: target beside this program)." placeholder:"DIR" type:"path"`
	Cmdline         string        `help:"Kernel command line." placeholder:"TEXT"`
	Verifier        string        `help:"Where hosts find their verifier (default: this installation's, as a virtual host of this machine reaches it)." placeholder:"HOST:PORT"`
	Grace           time.Duration `help:"How long agents go on when the lease was not renewed." default:"3m" placeholder:"TIME"`
	TestAgents      bool          `hidden:"" help:"Put agents that misbehave on the image too, for tests."`
	ManifestVersion uint64        `help:"Version of the manifest (default: one more than the last image's, if anything changed)." placeholder:"N"`
}

// slirpHost is how a virtual host reaches the loopback interface of its machine
// (QEMU's user network).
const slirpHost = "10.0.2.2"

// source collects them. The keys are nil for a manifest that names no verifier.
func (f imageFlags) source(d *state.Dir, k *install.Keys, p *policySet) (install.Source, error) {
	src := install.Source{Target: f.Target, Policy: p.bundle, Cmdline: f.Cmdline, Version: f.ManifestVersion}
	if src.Target == "" {
		exe, err := os.Executable()
		if err != nil {
			return src, err
		}
		src.Target = filepath.Join(filepath.Dir(exe), "target")
	}
	if f.TestAgents {
		src.Programs = install.TestPrograms()
	}
	if k == nil {
		return src, nil
	}
	if f.Verifier == "" {
		address, err := d.HostsAddress()
		if err != nil {
			return src, err
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return src, err
		}
		f.Verifier = net.JoinHostPort(slirpHost, port)
	}
	src.Verifier = &manifest.Verifier{Address: f.Verifier, Grace: f.Grace, Identity: k.VerifierIdentity(), Issuer: k.VerifierIssuer()}
	return src, nil
}

// ensureKeys makes or reads all keys of the installation.
func ensureKeys(d *state.Dir) (*install.Keys, *secureboot.Keys, error) {
	k, err := install.EnsureKeys(d)
	if err != nil {
		return nil, nil, err
	}
	sb, made, err := secureboot.EnsureKeys(d.Keys(), time.Now())
	if err != nil {
		return nil, nil, err
	}
	k.Made = k.Made || made
	return k, sb, nil
}

func keysEvent(d *state.Dir, k *install.Keys) story.Keys {
	return story.Keys{Made: k.Made, Dir: d.Keys(), Manifest: k.ManifestID(), Result: k.ResultID()}
}

// imageEvent describes the image in the state folder.
func imageEvent(d *state.Dir, i *install.Image, took time.Duration) story.Image {
	return story.Image{Built: i.Built, Altered: i.Altered(), Path: d.Disk(), SHA256: hex.EncodeToString(i.SHA256[:]),
		Version: i.Reference.ManifestVersion, Predicted: pcrs(i.Reference.PCRs), Took: story.Milliseconds(took)}
}

// pcrs writes predictions the way events do.
func pcrs(p predict.PCRs) story.PCRs {
	out := story.PCRs{}
	for bank, values := range p {
		out[string(bank)] = map[string]string{}
		for i, v := range values {
			out[string(bank)][strconv.Itoa(i)] = v.String()
		}
	}
	return out
}

type imageBuildCmd struct {
	imageFlags
	Force bool `help:"Build even if nothing changed."`
}

func (c imageBuildCmd) Run(e *env) error {
	d, unlock, err := e.lockedDir()
	if err != nil {
		return err
	}
	defer unlock()
	k, sb, err := ensureKeys(d)
	if err != nil {
		return err
	}
	p, err := c.load(e.ctx)
	if err != nil {
		return err
	}
	src, err := c.source(d, k, p)
	if err != nil {
		return err
	}
	begun := time.Now()
	i, err := install.EnsureImage(d, k, sb, src, c.Force)
	if err != nil {
		return err
	}
	tell := story.New(e.stdout, false)
	tell.Tell(imageEvent(d, i, time.Since(begun)))
	return tell.Err()
}

type imageInspectCmd struct {
	File string `arg:"" optional:"" help:"Disk image (default: the one in the state folder)." type:"path"`
}

func (c imageInspectCmd) Run(e *env) error {
	d, err := e.dir()
	if err != nil {
		return err
	}
	if c.File == "" {
		c.File = d.Disk()
	}
	disk, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	files, err := image.Files(disk)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	keys, err := install.EnsureKeys(d)
	if err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintf(e.stdout, "%9d  %s\n", len(f.Data), f.Path)
	}
	return inspectSlots(e, files, keys)
}

// inspectSlots checks each slot as the boot stage would.
func inspectSlots(e *env, files []image.File, keys *install.Keys) error {
	var bad error
	for _, name := range []string{"a", "b"} {
		s := image.Slot{Name: name, Files: map[string][]byte{}}
		for _, f := range files {
			if dir, file := filepath.Split(f.Path); dir == image.SlotPath(name, "") {
				s.Files[file] = f.Data
			}
		}
		envelope, ok := s.Files["manifest"]
		if !ok {
			continue
		}
		m, _, err := manifest.Open(envelope, []*mldsa.PublicKey{keys.Manifest.Public()}, 1)
		if err == nil {
			err = s.Check(m)
		}
		if err != nil {
			fmt.Fprintf(e.stdout, "slot %s: BAD: %v\n", name, err)
			bad = &exitError{code: exitFailed}
			continue
		}
		id := keys.Manifest.Public().ID()
		fmt.Fprintf(e.stdout, "slot %s: manifest version %d, signed by %s, %d services, all digests match\n",
			name, m.Version, hex.EncodeToString(id[:]), len(m.Services))
	}
	return bad
}

type imageManifestCmd struct{ imageFlags }

func (c imageManifestCmd) Run(e *env) error {
	p, err := c.load(e.ctx)
	if err != nil {
		return err
	}
	src, err := c.source(nil, nil, p)
	if err != nil {
		return err
	}
	if src.Version == 0 {
		src.Version = 1
	}
	payload, err := install.Manifest(src)
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(payload)
	return err
}
