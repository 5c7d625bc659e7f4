package enrol

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Store keeps host records as files in a folder, one JSON file each.
type Store struct{ dir string }

// ErrUnknownHost reports that no record exists.
var ErrUnknownHost = errors.New("host is not enrolled")

// OpenStore makes the folder if it is missing.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("host records: %w", err)
	}
	return &Store{dir}, nil
}

var validID = regexp.MustCompile(`^host-[0-9a-f]{16}$`)

func (s *Store) file(id string) (string, error) {
	if !validID.MatchString(id) {
		return "", fmt.Errorf("host id %q is malformed", id)
	}
	return filepath.Join(s.dir, id+".json"), nil
}

// Put writes a record in one step, mode 0600.
func (s *Store) Put(h *Host) error {
	name, err := s.file(h.ID)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("host record %s: %w", h.ID, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("host record %s: %w", h.ID, err)
	}
	return nil
}

// Get reads a record; ErrUnknownHost if there is none.
func (s *Store) Get(id string) (*Host, error) {
	name, err := s.file(id)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", id, ErrUnknownHost)
	}
	if err != nil {
		return nil, err
	}
	var h Host
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("host record %s is damaged: %w; remove it and enrol the host again", name, err)
	}
	if h.ID != id {
		return nil, fmt.Errorf("host record %s is of %q; remove it and enrol the host again", name, h.ID)
	}
	return &h, nil
}

// Remove forgets a host; ErrUnknownHost if there is no record.
func (s *Store) Remove(id string) error {
	name, err := s.file(id)
	if err != nil {
		return err
	}
	if err := os.Remove(name); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", id, ErrUnknownHost)
	} else if err != nil {
		return fmt.Errorf("host record %s: %w", id, err)
	}
	return nil
}

// List reads all records, in the order of their ids.
func (s *Store) List() ([]*Host, error) {
	names, err := filepath.Glob(filepath.Join(s.dir, "host-*.json"))
	if err != nil {
		return nil, err
	}
	var out []*Host
	for _, n := range names {
		h, err := s.Get(filepath.Base(n[:len(n)-len(".json")]))
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}
