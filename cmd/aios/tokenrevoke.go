package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"aios/captoken"
)

type tokenRevokeCmd struct {
	File  string   `arg:"" help:"Revocation list; a new one is begun if there is none." type:"path"`
	Key   string   `help:"Private key of the issuer." required:"" placeholder:"FILE" type:"path"`
	Token []string `help:"Id of a token or a delegation (may be given several times)." placeholder:"HEX"`
	Lease []string `help:"Id of a lease, with all tokens that hang from it." placeholder:"HEX"`
	Agent []string `help:"Agent, with everything that it holds or passed on." placeholder:"NAME"`
	Epoch uint64   `help:"Lowest epoch that is accepted from now on; a higher one than before drops the ids of tokens and leases from the list."`
}

func (c tokenRevokeCmd) Run(e *env) error {
	issuer, err := readSigner(c.Key)
	if err != nil {
		return err
	}
	state := captoken.NewRevocationState(issuer.Public())
	var list captoken.RevocationList
	old, err := os.ReadFile(c.File)
	if err == nil {
		known, err := state.Take(old)
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		list = *known
		if len(c.Token)+len(c.Lease)+len(c.Agent) == 0 && c.Epoch <= list.Epoch {
			return usageError("%s is there already: name what to revoke with --token, --lease, --agent or an --epoch above %d", c.File, list.Epoch)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if c.Epoch > list.Epoch {
		list.Epoch, list.Tokens, list.Leases = c.Epoch, nil, nil
	} else if c.Epoch != 0 && c.Epoch < list.Epoch {
		return usageError("--epoch %d: expected at least %d, that of the list", c.Epoch, list.Epoch)
	}
	tokens, err := parseIDs("--token", c.Token)
	if err != nil {
		return err
	}
	leases, err := parseIDs("--lease", c.Lease)
	if err != nil {
		return err
	}
	list.Revoke(tokens, leases, c.Agent)
	list.Sequence++
	list.IssuedAt = time.Now().UTC().Truncate(time.Second)
	raw, err := captoken.MintRevocations(issuer, list)
	if err != nil {
		return err
	}
	if _, err := state.Take(raw); err != nil { // what others would refuse is not written
		return err
	}
	if err := replaceFile(c.File, raw); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "wrote %s: list %d, %d tokens, %d leases, %d agents, epoch %d\n", c.File, list.Sequence, len(list.Tokens), len(list.Leases), len(list.Subjects), list.Epoch)
	return err
}

func parseIDs(flag string, texts []string) (ids []captoken.ID, err error) {
	for _, text := range texts {
		id, err := parseID(flag, text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// replaceFile writes a file in whole or leaves the old one.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
