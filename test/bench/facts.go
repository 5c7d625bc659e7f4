package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"

	"aios/host/vm"
)

// machine is what the figures were measured on.
type machine struct {
	CPU         string `json:"cpu"`
	Cores       int    `json:"cores"`
	Accelerator string `json:"accelerator"`
	Reason      string `json:"accelerator_reason"`
	QEMU        string `json:"qemu"`
	Go          string `json:"go"`
	CPUs        int    `json:"virtual_cpus"`
	Memory      string `json:"virtual_memory"`

	accelerator vm.Accelerator
}

// String is the machine in one line.
func (m machine) String() string {
	return fmt.Sprintf("QEMU %s, %s, on %d cores of %s; virtual machines of %d CPUs and %s; %s",
		m.QEMU, strings.ToUpper(m.Accelerator), m.Cores, m.CPU, m.CPUs, m.Memory, m.Go)
}

func look(ctx context.Context, p vm.Programs) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPUs: machineCPUs, Memory: machineMemory}
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	m.CPU = cpuModel(string(cpuinfo))
	out, err := exec.CommandContext(ctx, p.QEMU, "--version").Output()
	if err != nil {
		return m, fmt.Errorf("%s --version: %w", p.QEMU, err)
	}
	m.QEMU = qemuVersion(string(out))
	m.accelerator, m.Reason = vm.ChooseAccelerator(ctx, p)
	m.Accelerator = string(m.accelerator)
	return m, ctx.Err()
}

// cpuModel is the model name in /proc/cpuinfo.
func cpuModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

var version = regexp.MustCompile(`version (\d+(\.\d+)+)`)

// qemuVersion is the number in what `qemu --version` says.
func qemuVersion(out string) string {
	if m := version.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	return "unknown"
}

// sourceCommit is the commit with a note if the tree has changes on top.
func sourceCommit() string {
	out, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no").Output()
	if err == nil && len(out) > 0 {
		return commit + " with changes"
	}
	return commit
}

// peers are the versions of what we are compared with.
type peers struct {
	Kernel        string `json:"debian_kernel"`
	Stub          string `json:"efi_stub"`
	GoAttestation string `json:"go_attestation"`
	SecondMLDSA   string `json:"filippo_mldsa"`
	JWX           string `json:"jwx"`
	Biscuit       string `json:"biscuit_go"`
	Macaroon      string `json:"macaroon"`
}

// peerVersions asks the module for its dependencies' versions.
func peerVersions(ctx context.Context, d *debian) (peers, error) {
	p := peers{Kernel: d.kernelPackage, Stub: d.stubPackage}
	for path, into := range map[string]*string{
		"github.com/google/go-attestation": &p.GoAttestation, "filippo.io/mldsa": &p.SecondMLDSA,
		"github.com/lestrrat-go/jwx/v3": &p.JWX, "github.com/biscuit-auth/biscuit-go/v2": &p.Biscuit, "gopkg.in/macaroon.v2": &p.Macaroon,
	} {
		out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", path).Output()
		if err != nil {
			return p, fmt.Errorf("go list -m %s: %w", path, err)
		}
		*into = strings.TrimSpace(string(out))
	}
	return p, nil
}
