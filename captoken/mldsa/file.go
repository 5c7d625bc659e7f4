package mldsa

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// EncodePrivateKey returns the key's seed as a PEM block.
func EncodePrivateKey(k *PrivateKey) []byte { return EncodeBlock(privateBlock, k.seed[:]) }

// ParsePrivateKey reads exactly what EncodePrivateKey writes.
func ParsePrivateKey(text []byte) (*PrivateKey, error) {
	seed, rest, err := NextBlock(text, privateBlock)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("private key: %w: %d bytes after the key", ErrPEM, len(rest))
	}
	k, err := NewPrivateKey(seed)
	if err != nil {
		return nil, fmt.Errorf("private key: %w: %w", ErrPEM, err)
	}
	return k, nil
}

// CreatePrivateKeyFile stores a private key in a new file of mode 0600. An existing
// file is never touched: the error then is fs.ErrExist.
func CreatePrivateKeyFile(path string, k *PrivateKey) error {
	if err := CreateFile(path, EncodePrivateKey(k), 0o600); err != nil {
		return fmt.Errorf("store private key: %w", err)
	}
	return nil
}

// CreatePublicKeyFile stores public keys in a new file of mode 0644, under the same
// promise as CreatePrivateKeyFile.
func CreatePublicKeyFile(path string, keys ...*PublicKey) error {
	if err := CreateFile(path, EncodePublicKeys(keys...), 0o644); err != nil {
		return fmt.Errorf("store public key: %w", err)
	}
	return nil
}

// ReadPrivateKeyFile loads a private key and refuses a file that others may read.
func ReadPrivateKeyFile(path string) (*PrivateKey, error) {
	text, err := ReadSecretFile(path)
	if err != nil {
		return nil, err
	}
	k, err := ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ReadSecretFile loads the text of a private key, of at most 4096 bytes, and refuses a
// file that others may read.
func ReadSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load private key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("load private key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("load private key %s: its mode is %04o, so others may read or change it; run chmod 600 %s, and replace the key if it was exposed", path, mode, path)
	}
	// A key file has about a hundred bytes; the bound keeps a wrong path from being read in whole.
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, fmt.Errorf("load private key %s: %w", path, err)
	}
	return text, nil
}

// ReadPublicKeyFile loads one or more public keys.
func ReadPublicKeyFile(path string) ([]*PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load public key: %w", err)
	}
	keys, err := ParsePublicKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// CreateFile makes path with exactly this content, or not at all. The content is
// written and synced under a temporary name first, and link(2) then fails if path
// exists, so neither a crash nor a second process can leave half a key or replace one.
func CreateFile(path string, content []byte, mode fs.FileMode) error {
	var tag [8]byte
	if _, err := rand.Read(tag[:]); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+hex.EncodeToString(tag[:]))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	_, err = f.Write(content)
	// The umask may have narrowed the mode; it must be the one that is documented.
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a new directory entry durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
