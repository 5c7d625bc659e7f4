package main

import (
	"encoding/hex"

	"aios/captoken"
)

type tokenProveCmd struct {
	File  string `arg:"" help:"Token, or - for standard input." type:"path"`
	Key   string `help:"Private key of the present holder." required:"" placeholder:"FILE" type:"path"`
	Nonce string `help:"The nonce that the host made up." required:"" placeholder:"HEX"`
	Out   string `help:"Write the proof's bytes to a new file (default: text on standard output)." placeholder:"FILE" type:"path"`
}

func (c tokenProveCmd) Run(e *env) error {
	holder, err := readSigner(c.Key)
	if err != nil {
		return err
	}
	token, err := readToken(c.File)
	if err != nil {
		return err
	}
	nonce, err := parseNonce(c.Nonce)
	if err != nil {
		return err
	}
	proof, err := captoken.Prove(holder, token, nonce)
	if err != nil {
		return err
	}
	return writeToken(e, c.Out, proof)
}

func parseNonce(text string) (nonce [captoken.NonceSize]byte, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(nonce) {
		return nonce, usageError("--nonce %s: expected %d hex digits", text, 2*len(nonce))
	}
	return [captoken.NonceSize]byte(b), nil
}
