package vm

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a child may take to end after SIGTERM. QEMU and swtpm
// need some milliseconds; the rest is for a busy machine.
const stopGrace = 5 * time.Second

// process is a child of ours that never outlives us.
type process struct {
	name   string
	pid    int
	done   chan struct{} // closed once the child was waited for
	state  *os.ProcessState
	stderr *tail
}

// startProcess starts c in a process group of its own, so that Ctrl-C in a
// terminal reaches only us and we take things down in order, and with SIGKILL
// as parent-death signal.
//
// The kernel sends that signal when the thread that forked the child ends, not
// the process; therefore the starting goroutine keeps its thread until the
// child has ended.
func startProcess(name string, c *exec.Cmd) (*process, error) {
	p := &process{name: name, done: make(chan struct{}), stderr: &tail{max: 8 << 10}}
	c.Stderr = p.stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err := c.Start(); err != nil {
			started <- fmt.Errorf("start %s: %w", name, err)
			return
		}
		p.pid = c.Process.Pid
		started <- nil
		c.Wait() // the outcome is in ProcessState
		p.state = c.ProcessState
		close(p.done)
	}()
	return p, <-started
}

// stop ends the child and returns once it is gone.
func (p *process) stop() {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-p.done:
			return
		default:
			// Safe from pid reuse: the child is waited for only by us, and
			// done was not yet closed; at worst the signal finds a zombie.
			syscall.Kill(p.pid, sig)
		}
		t := time.NewTimer(stopGrace)
		select {
		case <-p.done:
			t.Stop()
			return
		case <-t.C:
		}
	}
	<-p.done
}

// ended says how the child ended, with its last words.
func (p *process) ended() string {
	s := fmt.Sprintf("%s: %v", p.name, p.state)
	if e := strings.TrimSpace(p.stderr.String()); e != "" {
		s += ": " + e
	}
	return s
}

// tail is a writer that keeps the last max bytes.
type tail struct {
	mu  sync.Mutex
	buf []byte
	max int
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
