//go:build swtpm

package rollback

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-tpm/tpm2/transport"
)

// swtpm runs a software TPM in a process of its own.
type swtpm struct {
	transport.TPM
	t    *testing.T
	dir  string
	stop func()
}

// start runs swtpm on one end of a socket pair, so there is nothing to wait for: what
// is sent before the TPM is up stays in the socket.
func (s *swtpm) start() {
	server, client := socketPair(s.t)
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+s.dir, "--fd", "3",
		"--flags", "not-need-init,startup-clear", "--log", "file="+filepath.Join(s.dir, "log"))
	cmd.ExtraFiles = []*os.File{server}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	server.Close()
	s.TPM = transport.FromReadWriter(client)
	s.stop = func() {
		client.Close() // swtpm ends with its connection
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("swtpm: %v", err)
		}
	}
}

func (s *swtpm) reset() {
	s.stop()
	s.start()
}

func TestLifeSWTPM(t *testing.T) {
	s := &swtpm{t: t, dir: t.TempDir()}
	s.start()
	defer func() { s.stop() }()
	life(t, s)
}

func socketPair(t *testing.T) (server *os.File, client io.ReadWriteCloser) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	server = os.NewFile(uintptr(fds[0]), "swtpm")
	f := os.NewFile(uintptr(fds[1]), "client")
	defer f.Close()
	client, err = net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}
