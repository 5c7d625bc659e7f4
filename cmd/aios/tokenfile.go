package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"aios/captoken"
	"aios/captoken/mldsa"
)

func readSigner(file string) (*captoken.PrivateKey, error) {
	if private, public := strings.CutSuffix(file, ".pub"); public {
		return nil, usageError("--key %s: expected a private key, found the name of a public one; try %s", file, private)
	}
	text, err := mldsa.ReadSecretFile(file)
	if err != nil {
		return nil, err
	}
	k, err := captoken.ParsePrivateKeyText(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

func readPublicKeys(file string) ([]*captoken.PublicKey, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load public key: %s is not there: check the name; `aios token key FILE` makes a key and FILE.pub", file)
	}
	if err != nil {
		return nil, fmt.Errorf("load public key: %w", err)
	}
	keys, err := captoken.ParsePublicKeys(text)
	if err != nil && bytes.Contains(text, []byte("PRIVATE SEED-----")) {
		return nil, fmt.Errorf("%s holds a private key, which is nobody else's to read: give %s.pub", file, file)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

func readThumbprint(file string) (t captoken.Thumbprint, err error) {
	keys, err := readPublicKeys(file)
	if err != nil {
		return t, err
	}
	if len(keys) != 1 {
		return t, fmt.Errorf("%s holds %d keys, expected one", file, len(keys))
	}
	return keys[0].Thumbprint(), nil
}

func parseID(flag, text string) (id captoken.ID, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) {
		return id, usageError("%s %s: expected %d hex digits", flag, text, 2*len(id))
	}
	return captoken.ID(b), nil
}

// readToken reads a token, or another object, as bytes or as the text that writeToken prints.
func readToken(file string) (captoken.Token, error) {
	f := os.Stdin
	if file != "-" {
		var err error
		if f, err = os.Open(file); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not there: check the name; `aios token mint --out FILE` makes a token", file)
		} else if err != nil {
			return nil, err
		}
		defer f.Close()
	}
	b, err := io.ReadAll(io.LimitReader(f, 2*captoken.MaxToken))
	if err != nil {
		return nil, err
	}
	if text := bytes.TrimSuffix(b, []byte("\n")); len(text) > 0 {
		if raw, err := base64.RawURLEncoding.Strict().DecodeString(string(text)); err == nil {
			return raw, nil
		}
	}
	return b, nil
}

func writeToken(e *env, file string, t captoken.Token) error {
	if file == "" {
		_, err := fmt.Fprintln(e.stdout, base64.RawURLEncoding.EncodeToString(t))
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: give --out another name, or remove it", file)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(t); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
