// Package state is the folder that holds what one installation keeps: its keys,
// its virtual host and its image. It lies outside the source tree, belongs to
// one user, and one command at a time changes it.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Dir is an opened state folder.
type Dir struct {
	Root string // absolute
}

// ErrBusy is returned by Lock while another command holds the folder.
var ErrBusy = errors.New("the state folder is in use by another aios command")

// DefaultPath is $AIOS_STATE, else aios in $XDG_STATE_HOME, else in
// ~/.local/state (XDG Base Directory Specification 0.8).
func DefaultPath() (string, error) {
	if p := os.Getenv("AIOS_STATE"); p != "" {
		return p, nil
	}
	// A relative path there is to be ignored, says the specification.
	if p := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(p) {
		return filepath.Join(p, "aios"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("state folder: %w: set AIOS_STATE to a folder of your own", err)
	}
	return filepath.Join(home, ".local", "state", "aios"), nil
}

// Open makes the folder and its parts where they are missing. An empty path
// means DefaultPath.
func Open(path string) (*Dir, error) {
	if path == "" {
		p, err := DefaultPath()
		if err != nil {
			return nil, err
		}
		path = p
	}
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{Root: root}
	for _, p := range []string{d.Root, d.Keys(), d.Host(), d.Image()} {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return nil, fmt.Errorf("state folder: %w", err)
		}
	}
	return d, d.checkPrivate()
}

// checkPrivate refuses a folder that others could write: whoever changes the
// keys in it decides what the host boots.
func (d *Dir) checkPrivate() error {
	for _, p := range []string{d.Root, d.Keys()} {
		fi, err := os.Stat(p)
		if err != nil {
			return err
		}
		if fi.Mode().Perm()&0o022 != 0 {
			return fmt.Errorf("state folder %s has mode %#o: others may change its keys: chmod go-w %s", p, fi.Mode().Perm(), p)
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("state folder %s belongs to user %d, you are %d: set AIOS_STATE to a folder of your own", p, st.Uid, os.Geteuid())
		}
	}
	return nil
}

// Keys holds the installation's private keys and certificates.
func (d *Dir) Keys() string { return filepath.Join(d.Root, "keys") }

// Host holds the virtual host: its TPM, its variable store, what enrolment
// recorded about it.
func (d *Dir) Host() string { return filepath.Join(d.Root, "host") }

// Image holds the disk image and what was predicted of it.
func (d *Dir) Image() string { return filepath.Join(d.Root, "image") }

// Lock takes the folder for this process until unlock is called or the process
// ends, however it ends.
func (d *Dir) Lock() (unlock func(), err error) {
	name := filepath.Join(d.Root, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			who := make([]byte, 32)
			n, _ := f.ReadAt(who, 0)
			return nil, fmt.Errorf("%w (%s, process %s): wait for it, or give --state another folder", ErrBusy, d.Root, strings.TrimSpace(string(who[:n])))
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	f.Truncate(0)
	fmt.Fprintln(f, os.Getpid()) // only for the message above
	return func() { f.Close() }, nil
}

// WriteFile replaces a file in one step: after a crash there is the old content
// or the new one, never a part.
func WriteFile(name string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once the file was renamed
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
