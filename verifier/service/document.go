package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrStore says that something could not be written. Nothing of it was done.
var ErrStore = errors.New("the verifier's state could not be written, nothing was done")

// document is a JSON file that is replaced in one step: after a crash there is the old
// content or the new one.
type document string

// read fills v; a file that is not there leaves it as it is.
func (d document) read(v any) error {
	b, err := os.ReadFile(string(d))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	r := json.NewDecoder(bytes.NewReader(b))
	r.DisallowUnknownFields()
	if err := r.Decode(v); err != nil {
		return fmt.Errorf("%s is damaged: %w; restore it from a backup, or remove it and enter again what was in it", d, err)
	}
	return nil
}

func (d document) write(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(string(d), append(b, '\n'))
}

// writeFile replaces a file of mode 0600 in one step and durably.
func writeFile(name string, content []byte) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return storeError(dir, err)
	}
	defer os.Remove(f.Name()) // fails once it was renamed
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return storeError(dir, err)
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func storeError(dir string, err error) error {
	remedy := "look at the disk under " + dir
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		remedy = "the disk is full: free space under " + dir + " and try again"
	}
	return fmt.Errorf("%w: %w; %s", ErrStore, err, remedy)
}
