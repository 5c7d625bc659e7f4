package main

import (
	"fmt"
	"slices"

	"aios/captoken"
	"aios/captoken/mldsa"
)

type tokenKeyCmd struct {
	File      string `arg:"" help:"New file for the private key; the public key goes beside it, with .pub appended." type:"path"`
	Algorithm string `help:"What it signs with: ${enum}. A host's issuer has ML-DSA-65; a host takes ML-DSA of any size from holders, and no hybrid." enum:"ML-DSA-44,ML-DSA-65,ML-DSA-87,ML-DSA-65-Ed25519" default:"ML-DSA-65"`
}

func (c tokenKeyCmd) Run(e *env) error {
	algorithms := captoken.Algorithms()
	i := slices.IndexFunc(algorithms, func(a captoken.Algorithm) bool { return a.String() == c.Algorithm })
	k, err := captoken.GenerateKey(algorithms[i])
	if err != nil {
		return err
	}
	if err := mldsa.CreateFile(c.File, captoken.EncodePrivateKey(k), 0o600); err != nil {
		return fmt.Errorf("store private key: %w", err)
	}
	if err := mldsa.CreateFile(c.File+".pub", captoken.EncodePublicKeys(k.Public()), 0o644); err != nil {
		return fmt.Errorf("store public key: %w", err)
	}
	_, err = fmt.Fprintf(e.stdout, "wrote %s and %s.pub, %s, thumbprint %s\n", c.File, c.File, c.Algorithm, k.Public().Thumbprint())
	return err
}
