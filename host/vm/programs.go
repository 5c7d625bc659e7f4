package vm

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Programs are the external programs and firmware files that a virtual host
// needs. Where each comes from is named so that an error can say what to do.
type Programs struct {
	QEMU, SWTPM, SWTPMSetup, LocalCA string
	FirmwareCode, FirmwareVars       string
}

// requirement says which Debian package brings a program or a file.
type requirement struct {
	name, pkg string
	into      *string
	file      bool
}

// FindPrograms locates everything, or says everything that is missing at once.
func FindPrograms() (Programs, error) {
	var p Programs
	var missing, pkgs []string
	for _, r := range []requirement{
		{"qemu-system-x86_64", "qemu-system-x86", &p.QEMU, false},
		{"swtpm", "swtpm", &p.SWTPM, false},
		{"swtpm_setup", "swtpm-tools", &p.SWTPMSetup, false},
		{"swtpm_localca", "swtpm-tools", &p.LocalCA, false},
		{"/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "ovmf", &p.FirmwareCode, true},
		{"/usr/share/OVMF/OVMF_VARS_4M.fd", "ovmf", &p.FirmwareVars, true},
	} {
		path, err := r.find()
		if err != nil {
			missing = append(missing, r.name)
			if !strings.Contains(strings.Join(pkgs, " ")+" ", r.pkg+" ") {
				pkgs = append(pkgs, r.pkg)
			}
			continue
		}
		*r.into = path
	}
	if len(missing) > 0 {
		return p, &MissingError{Missing: missing, Packages: pkgs}
	}
	return p, nil
}

func (r requirement) find() (string, error) {
	if r.file {
		_, err := os.Stat(r.name)
		return r.name, err
	}
	return exec.LookPath(r.name)
}

// MissingError lists what is not installed and the Debian packages that bring it.
type MissingError struct {
	Missing, Packages []string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("not installed: %s; on Debian: apt-get install %s (`make run` does this)",
		strings.Join(e.Missing, ", "), strings.Join(e.Packages, " "))
}
