package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// debian is the peer's software as Debian publishes it.
type debian struct {
	kernel, stub               []byte
	modules                    [][]byte // in the order in which they are loaded
	kernelPackage, stubPackage string   // name and version
}

// Files of the kernel's package: the kernel, and what drives a virtio network
// card, each after what it needs.
var kernelFiles = []string{"boot/vmlinuz-*",
	module("drivers/virtio/virtio_ring"), module("drivers/virtio/virtio"),
	module("drivers/virtio/virtio_pci_modern_dev"), module("drivers/virtio/virtio_pci_legacy_dev"), module("drivers/virtio/virtio_pci"),
	module("net/core/failover"), module("drivers/net/net_failover"), module("drivers/net/virtio_net"),
}

// module is the pattern of a module's file. Where the package compresses them, there is none.
func module(name string) string { return "lib/modules/*/kernel/" + name + ".ko" }

// Packages of the peer: the kernel that Debian builds for virtual machines,
// which comes up sooner than the general one, and systemd's EFI stub.
const (
	kernelMeta  = "linux-image-cloud-amd64" // depends on the kernel of the day
	stubPackage = "systemd-boot-efi"
)

// fetchDebian reads kernel and stub from the packages in dir, downloading what
// is not there. Nothing is installed.
func fetchDebian(ctx context.Context, dir string) (*debian, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	kernel, stub := findPackage(dir, "linux-image-[0-9]*-cloud-amd64_*.deb"), findPackage(dir, stubPackage+"_*.deb")
	if kernel == "" || stub == "" {
		if err := download(ctx, dir); err != nil {
			return nil, &fetchError{Dir: dir, Err: err}
		}
		kernel, stub = findPackage(dir, "linux-image-[0-9]*-cloud-amd64_*.deb"), findPackage(dir, stubPackage+"_*.deb")
		if kernel == "" || stub == "" {
			return nil, &fetchError{Dir: dir, Err: errors.New("apt-get succeeded, but the packages are not there")}
		}
	}
	var d debian
	files, version, err := unpack(ctx, kernel, kernelFiles...)
	if err != nil {
		return nil, err
	}
	d.kernel, d.modules, d.kernelPackage = files[0], files[1:], version
	if files, d.stubPackage, err = unpack(ctx, stub, "usr/lib/systemd/boot/efi/linuxx64.efi.stub"); err != nil {
		return nil, err
	}
	d.stub = files[0]
	return &d, nil
}

// fetchError says that the peer could not be had.
type fetchError struct {
	Dir string
	Err error
}

func (e *fetchError) Error() string {
	return fmt.Sprintf("the peer is Debian's own kernel, and it could not be downloaded: %v; put the packages (linux-image-VERSION-cloud-amd64, %s) as .deb files into %s, or run this on Debian with its archive in reach", e.Err, stubPackage, e.Dir)
}
func (e *fetchError) Unwrap() error { return e.Err }

// findPackage returns the last file in dir of a pattern, "" without one.
func findPackage(dir, pattern string) string {
	names, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is a constant
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}

// download has apt fetch the packages into dir: by the lists that the system
// has, and if that fails by fresh ones, which are kept in dir as well and need
// no privilege.
func download(ctx context.Context, dir string) error {
	for _, name := range []string{"apt-get", "apt-cache"} {
		if _, err := exec.LookPath(name); err != nil {
			return err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	first := downloadBy(ctx, dir, nil)
	if first == nil {
		return nil
	}
	lists, cache := filepath.Join(dir, "lists"), filepath.Join(dir, "cache")
	for _, d := range []string{filepath.Join(lists, "partial"), filepath.Join(cache, "archives", "partial")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	own := []string{"-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache=" + cache}
	fmt.Println("bench:   once more, with fresh package lists")
	if _, err := apt(ctx, dir, "apt-get", append(own, "update")...); err != nil {
		return errors.Join(first, err)
	}
	return downloadBy(ctx, dir, own)
}

func downloadBy(ctx context.Context, dir string, options []string) error {
	out, err := apt(ctx, dir, "apt-cache", append(options[:len(options):len(options)], "depends", kernelMeta)...)
	if err != nil {
		return err
	}
	kernel := dependency(out)
	if kernel == "" {
		return fmt.Errorf("package %s is not known", kernelMeta)
	}
	_, err = apt(ctx, dir, "apt-get", append(options[:len(options):len(options)], "download", kernel, stubPackage)...)
	return err
}

var dependsOnKernel = regexp.MustCompile(`(?m)^ *Depends: (linux-image-[0-9][^ \n]*-cloud-amd64)$`)

// dependency finds the kernel in what `apt-cache depends` says.
func dependency(out string) string {
	m := dependsOnKernel.FindStringSubmatch(out)
	if m == nil {
		return ""
	}
	return m[1]
}

// apt runs one of apt's programs in dir and returns what it wrote.
func apt(ctx context.Context, dir, program string, args ...string) (string, error) {
	if os.Geteuid() == 0 {
		// Otherwise apt downloads as its own user, who may not write here.
		args = append([]string{"-o", "APT::Sandbox::User=root"}, args...)
	}
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// unpack reads a file for each pattern from a package, and the package's name and version.
func unpack(ctx context.Context, deb string, patterns ...string) (files [][]byte, version string, err error) {
	out, err := exec.CommandContext(ctx, "dpkg-deb", "--show", "--showformat=${Package} ${Version}", deb).Output()
	if err != nil {
		return nil, "", fmt.Errorf("%s: dpkg-deb: %w: remove the file, it is fetched again", deb, err)
	}
	c := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	pipe, err := c.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := c.Start(); err != nil {
		return nil, "", err
	}
	files, err = fromTar(pipe, patterns...)
	io.Copy(io.Discard, pipe) // so that it can end
	if waited := c.Wait(); err == nil && waited != nil {
		err = waited
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w: remove the file, it is fetched again", deb, err)
	}
	return files, string(out), nil
}

// fromTar returns the first regular file of each pattern.
func fromTar(r io.Reader, patterns ...string) ([][]byte, error) {
	files := make([][]byte, len(patterns))
	t := tar.NewReader(r)
	for missing := len(patterns); missing > 0; {
		h, err := t.Next()
		if err == io.EOF {
			for i, f := range files {
				if f == nil {
					return nil, fmt.Errorf("there is no %s in it", patterns[i])
				}
			}
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		for i, p := range patterns {
			if ok, _ := path.Match(p, strings.TrimPrefix(h.Name, "./")); !ok || files[i] != nil {
				continue
			}
			if files[i], err = io.ReadAll(t); err != nil {
				return nil, err
			}
			missing--
			break
		}
	}
	return files, nil
}
