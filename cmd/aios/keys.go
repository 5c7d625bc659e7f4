package main

import "fmt"

// keysCmd makes and shows the installation's keys.
type keysCmd struct {
	Init keysInitCmd `cmd:"" help:"Make the keys that are missing."`
	Path keysPathCmd `cmd:"" help:"Print the file of the manifest keys that the boot stage is built to trust."`
}

type keysInitCmd struct {
	Quiet bool `help:"Say something only when keys were made."`
}

func (c keysInitCmd) Run(e *env) error {
	d, unlock, err := e.lockedDir()
	if err != nil {
		return err
	}
	defer unlock()
	k, _, err := ensureKeys(d)
	if err != nil {
		return err
	}
	if c.Quiet && !k.Made {
		return nil
	}
	for _, l := range keysEvent(d, k).Lines() {
		fmt.Fprintln(e.stdout, l)
	}
	return nil
}

type keysPathCmd struct{}

func (keysPathCmd) Run(e *env) error {
	d, err := e.dir()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, d.ManifestPublic())
	return err
}
