// Command mkmetal builds what a host boots from the packages of this tree:
//
//	mkmetal -kind efi     -pkg ./boot/cmd/bootx64 -trusted-keys keys.pem -o bootx64.efi
//	mkmetal -kind kernel  -pkg ./kernel/cmd/kernel -o kernel.elf
//	mkmetal -kind service -pkg ./services/attestd -o attestd.elf
//
// The first two are linked for kernel/metal with the overlay of
// kernel/metal/overlay and passed through boot/link; a service is a plain
// static executable. It runs in the root of the module, with the toolchain
// that go.mod names, and writes the same bytes for the same tree and keys.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"aios/boot/link"
)

func main() {
	kind := flag.String("kind", "", "efi, kernel or service")
	pkg := flag.String("pkg", "", "package to build, as ./path")
	out := flag.String("o", "", "output file")
	keys := flag.String("trusted-keys", "", "PEM file of the manifest keys that the boot stage trusts (kind efi)")
	version := flag.String("version", "", "version string, linked into main.version")
	tags := flag.String("tags", "", "build tags of a test's service, with commas (kind service)")
	flag.Parse()
	if err := run(*kind, *pkg, *out, *keys, *version, *tags); err != nil {
		fmt.Fprintln(os.Stderr, "mkmetal:", err)
		os.Exit(1)
	}
}

func run(kind, pkg, out, keys, version, tags string) error {
	if pkg == "" || out == "" {
		return fmt.Errorf("-pkg and -o are required")
	}
	if tags != "" && kind != "service" {
		return fmt.Errorf("-tags: only a service is built with tags of its own")
	}
	temp, err := os.MkdirTemp("", "mkmetal")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	elf := filepath.Join(temp, "out.elf")
	ldflags := "-s -w -buildid="
	if version != "" {
		ldflags += " -X main.version=" + version
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-o", elf}
	var post func([]byte) ([]byte, error)
	switch kind {
	case "efi", "kernel":
		text := uint64(link.KernelText)
		post = link.Kernel
		replace := map[string]string{}
		if kind == "efi" {
			if keys == "" {
				return fmt.Errorf("-kind efi needs -trusted-keys: the boot stage must know whose manifests it takes")
			}
			text, post = link.EFIText, link.EFI
			replace["boot/cmd/bootx64/trusted.keys"] = keys
		}
		overlay, err := writeOverlay(temp, replace)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay, "-tags", "aios,linkramstart,linkcpuinit")
		ldflags += fmt.Sprintf(" -T %#x -E aios/kernel/metal.entry64", text)
	case "service":
		post = func(b []byte) ([]byte, error) { return b, nil }
		if tags != "" {
			args = append(args, "-tags", tags)
		}
	default:
		return fmt.Errorf("-kind %q: want efi, kernel or service", kind)
	}
	c := exec.Command("go", append(args, "-ldflags", ldflags, pkg)...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("go %s %s: %w", strings.Join(args[:1], " "), pkg, err)
	}
	b, err := os.ReadFile(elf)
	if err != nil {
		return err
	}
	if b, err = post(b); err != nil {
		return fmt.Errorf("%s: %w", pkg, err)
	}
	return write(out, b)
}

// writeOverlay maps the additions to the standard library, and replace (paths
// within the module), for go build.
func writeOverlay(dir string, replace map[string]string) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	std := filepath.Join(strings.TrimSpace(string(goroot)), "src")
	add := filepath.Join(root, "kernel/metal/overlay")
	m := map[string]string{
		filepath.Join(std, "runtime/goos/goos.go"): filepath.Join(add, "goos.go.txt"),
		filepath.Join(std, "runtime/zz_aios.go"):   filepath.Join(add, "runtime.go.txt"),
		filepath.Join(std, "os/signal/zz_aios.go"): filepath.Join(add, "signal.go.txt"),
	}
	for at, file := range replace {
		abs, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(abs); err != nil {
			return "", err
		}
		m[filepath.Join(root, at)] = abs
	}
	b, err := json.Marshal(map[string]any{"Replace": m})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, b, 0o600)
}

// write replaces out in one step.
func write(out string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	temp := out + ".new"
	if err := os.WriteFile(temp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, out)
}
