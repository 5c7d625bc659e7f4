package authority

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Disk is where the journal lies: one folder. Tests put one in its place that is full,
// breaks, or loses what was not synced.
type Disk interface {
	Read(name string) ([]byte, error) // fs.ErrNotExist if there is none
	Append(name string) (File, error) // an existing file, written at its end
	Create(name string) (File, error) // empty, of mode 0600
	Rename(from, to string) error     // in one step, over what is there
	Remove(name string) error
	Sync() error // the folder: names are as durable as they should be
	Close() error
}

// File is an open file of a Disk.
type File interface {
	io.Writer
	Sync() error
	Truncate(size int64) error
	Close() error
}

// Folder is a Disk in a folder of the file system.
type Folder struct {
	path string
	lock *os.File
}

// OpenFolder makes the folder if it is missing, and keeps every other process out of
// it until Close: two writers would each overwrite what the other has acknowledged.
func OpenFolder(path string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("authority state: %w", err)
	}
	name := filepath.Join(path, "lock")
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("authority state: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("authority state: %s is locked (%w): another verifier uses this folder; stop it, or give this one a folder of its own", name, err), lock.Close())
	}
	return &Folder{path, lock}, nil
}

func (d *Folder) file(name string) string { return filepath.Join(d.path, name) }

// Read refuses a file that others may read or change: it says which tokens are good.
func (d *Folder) Read(name string) ([]byte, error) {
	f, err := os.Open(d.file(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: its mode is %04o, expected 0600, so others may have changed it; look whether somebody did, then run chmod 600 %s", f.Name(), mode, f.Name())
	}
	return io.ReadAll(f)
}

// Append opens an existing file.
func (d *Folder) Append(name string) (File, error) {
	return openFile(d.file(name), os.O_WRONLY|os.O_APPEND)
}

// Create makes a file, over one that is there.
func (d *Folder) Create(name string) (File, error) {
	return openFile(d.file(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC)
}

// openFile keeps a nil *os.File from becoming a File that is not nil.
func openFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Rename puts a file in the place of another.
func (d *Folder) Rename(from, to string) error { return os.Rename(d.file(from), d.file(to)) }

// Remove takes a file away; one that is not there is no error.
func (d *Folder) Remove(name string) error {
	if err := os.Remove(d.file(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sync makes names durable.
func (d *Folder) Sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Close lets other processes in.
func (d *Folder) Close() error { return d.lock.Close() }

// String is the folder, for messages.
func (d *Folder) String() string { return d.path }
