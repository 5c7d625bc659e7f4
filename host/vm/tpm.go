package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A TPM's folder holds the emulator's state, and beside it the CA that signed
// its endorsement key certificates:
//
//	tpm/state/tpm2-00.permall     NV memory, seeds, PCR allocation
//	tpm/ca/*.pem                  the CA that this TPM's "manufacturer" uses
const (
	tpmStateDir = "state"
	tpmCADir    = "ca"
)

// ManufactureTPM makes the TPM in dir if there is none yet: endorsement keys,
// their certificates and the sha256 and sha384 PCR banks. It reports whether
// it made one.
//
// The CA belongs to dir and to nothing else on the machine: /etc/swtpm and
// /var/lib/swtpm-localca are neither read nor written, so that two
// installations do not trust each other's TPMs.
func ManufactureTPM(ctx context.Context, p Programs, dir string) (made bool, err error) {
	if dir, err = filepath.Abs(dir); err != nil { // swtpm_setup changes its directory
		return false, err
	}
	state, ca := filepath.Join(dir, tpmStateDir), filepath.Join(dir, tpmCADir)
	if _, err := os.Stat(filepath.Join(state, "tpm2-00.permall")); err == nil {
		return false, nil
	}
	if strings.ContainsAny(dir, " \t\n#,") {
		return false, fmt.Errorf("make TPM: swtpm's configuration cannot name the folder %q: choose a state folder without blanks, commas and #", dir)
	}
	// A TPM that was made only in part is worth nothing: start over.
	if err := os.RemoveAll(dir); err != nil {
		return false, err
	}
	for _, d := range []string{state, ca} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return false, err
		}
	}
	conf := filepath.Join(ca, "swtpm_setup.conf")
	files := map[string]string{
		conf:                                 fmt.Sprintf("create_certs_tool = %s\ncreate_certs_tool_config = %s/localca.conf\ncreate_certs_tool_options = %s/localca.options\n", p.LocalCA, ca, ca),
		filepath.Join(ca, "localca.conf"):    fmt.Sprintf("statedir = %[1]s\nsigningkey = %[1]s/signkey.pem\nissuercert = %[1]s/issuercert.pem\ncertserial = %[1]s/certserial\n", ca),
		filepath.Join(ca, "localca.options"): "--platform-manufacturer AIOS\n--platform-version 1\n--platform-model QEMU\n",
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return false, err
		}
	}
	c := exec.CommandContext(ctx, p.SWTPMSetup, "--tpm2", "--tpm-state", state, "--config", conf,
		"--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--not-overwrite", "--pcr-banks", "sha256,sha384")
	if out, err := c.CombinedOutput(); err != nil {
		return false, errors.Join(fmt.Errorf("make TPM in %s: swtpm_setup: %w: %s", dir, err, lastLines(string(out), 5)), os.RemoveAll(dir))
	}
	return true, nil
}

// EKRoots names the certificates (PEM) of the CA that endorsed the TPM in dir:
// what a verifier has to trust to believe that its EK lives in a TPM.
func EKRoots(dir string) []string {
	return []string{filepath.Join(dir, tpmCADir, "swtpm-localca-rootca-cert.pem"), filepath.Join(dir, tpmCADir, "issuercert.pem")}
}

// startTPM runs the emulator over the state in dir. Its control socket is
// already listening when this returns, since we made it: QEMU may connect at
// once.
func startTPM(p Programs, dir, socket string) (*process, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		return nil, fmt.Errorf("socket of the TPM: %w", err)
	}
	l.SetUnlinkOnClose(false) // the emulator goes on with it
	defer l.Close()
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := exec.Command(p.SWTPM, "socket", "--tpm2", "--terminate",
		"--tpmstate", "dir="+filepath.Join(dir, tpmStateDir)+",mode=0600", "--ctrl", "type=unixio,fd=3")
	c.ExtraFiles = []*os.File{f} // becomes descriptor 3
	return startProcess("swtpm", c)
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
