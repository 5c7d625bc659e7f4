package enrol

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Store keeps host records as files in a folder, one JSON file each.
type Store struct {
	dir string

	mu sync.Mutex // held while a record is replaced
}

// ErrUnknownHost reports that no record exists.
var ErrUnknownHost = errors.New("host is not enrolled")

// OpenStore makes the folder if it is missing.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("host records: %w", err)
	}
	return &Store{dir: dir}, nil
}

var (
	validID   = regexp.MustCompile(`^host-[0-9a-f]{16}$`)
	validHash = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func (s *Store) file(id string) (string, error) {
	if !validID.MatchString(id) {
		return "", fmt.Errorf("host id %q is malformed", id)
	}
	return filepath.Join(s.dir, id+".json"), nil
}

// Put writes a record in one step, mode 0600. The floor on record is never lowered, also
// by who read the record before it was raised.
func (s *Store) Put(h *Host) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, err := s.Get(h.ID); err == nil && old.Floor > h.Floor {
		raised := *h
		raised.Floor = old.Floor
		h = &raised
	}
	return s.put(h)
}

// Raise sets the lowest manifest version of a host that is still accepted. It can never
// be lowered, as the one in the host's TPM cannot.
func (s *Store) Raise(id string, floor uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.Get(id)
	switch {
	case err != nil:
		return err
	case floor < h.Floor:
		return fmt.Errorf("rollback floor of %s: %w: expected at least %d, found %d: it can never be lowered", id, ErrRequest, h.Floor, floor)
	}
	h.Floor = floor
	return s.put(h)
}

func (s *Store) put(h *Host) error {
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
	if err == nil {
		err = syncDir(s.dir) // or a power cut takes the record back, and with it the rollback floor
	}
	if err != nil {
		return fmt.Errorf("host record %s: %w", h.ID, err)
	}
	return nil
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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
	if err := h.check(id); err != nil {
		return nil, fmt.Errorf("host record %s is damaged: %w; remove it and enrol the host again", name, err)
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

// check insists that a record belongs to its name and agrees with itself: what
// is in it was proven once, and is believed without proof from then on.
func (h *Host) check(id string) error {
	if h.ID != id {
		return fmt.Errorf("id: expected %s, found %q", id, h.ID)
	}
	if !validHash.MatchString(h.EKHash) || hostID(h.EKHash) != id {
		return fmt.Errorf("ek_sha256: expected a hash that begins with the digits of %s, found %q", id, h.EKHash)
	}
	name, err := attestationKey(h.AKPublic)
	if err != nil {
		return fmt.Errorf("ak_public: %w", err)
	}
	if name != h.AKName {
		return fmt.Errorf("ak_name: expected %s, the name of ak_public, found %q", name, h.AKName)
	}
	return nil
}

// List reads all records, in the order of their ids. Records that cannot be read
// are left out, and the error names each.
func (s *Store) List() ([]*Host, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("host records: %w", err)
	}
	var out []*Host
	var bad []error
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !strings.HasPrefix(id, "host-") {
			continue
		}
		h, err := s.Get(id)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		out = append(out, h)
	}
	return out, errors.Join(bad...)
}
