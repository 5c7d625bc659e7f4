package vm

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/google/go-tpm/tpm2/transport"
)

// UseTPM runs f with the TPM in dir while its machine is off, started anew as
// the firmware would start it.
func UseTPM(p Programs, dir string, f func(transport.TPM) error) error {
	sock, err := socketDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(sock)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(sock, "tpm")})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	lf, err := l.File()
	if err != nil {
		return err
	}
	defer lf.Close()
	c := exec.Command(p.SWTPM, "socket", "--tpm2", "--flags", "not-need-init,startup-clear",
		"--tpmstate", "dir="+filepath.Join(dir, tpmStateDir)+",mode=0600",
		"--server", "type=unixio,fd=3")
	c.ExtraFiles = []*os.File{lf}
	proc, err := startProcess("swtpm", c)
	if err != nil {
		return err
	}
	defer proc.stop()
	conn, err := net.Dial("unix", filepath.Join(sock, "tpm"))
	if err != nil {
		return err
	}
	tpm := transport.FromReadWriteCloser(conn)
	defer tpm.Close()
	err = f(tpm)
	select {
	case <-proc.done:
		return errors.Join(err, errors.New(proc.ended()))
	default:
		return err
	}
}
