package main

import "errors"

// upCmd is the whole story: keys, image, boot, proof.
type upCmd struct{}

func (upCmd) Run(*env) error {
	return errors.New("up: the verifier is not there yet; `aios host start` boots the host")
}
