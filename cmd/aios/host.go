package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"aios/boot/rollback"
	"aios/host/state"
	"aios/host/vm"

	"github.com/google/go-tpm/tpm2/transport"
)

// hostCmd manages hosts; most of it is about the installation's own virtual one.
type hostCmd struct {
	Floor struct {
		Show  floorShowCmd  `cmd:"" help:"Print the lowest manifest version that the host still boots."`
		Raise floorRaiseCmd `cmd:"" help:"Raise it. It can never be lowered."`
	} `cmd:"" help:"The rollback floor in the host's TPM."`
	Start hostStartCmd `cmd:"" help:"Start the host and leave the proving to a verifier that is run by itself."`
	Link  struct {
		Cut     linkCutCmd     `cmd:"" help:"Pull the network cable of the running host."`
		Restore linkRestoreCmd `cmd:"" help:"Put it back."`
	} `cmd:"" help:"The running host's network cable."`
	Admit hostAdmitCmd `cmd:"" help:"Give the running host an enrolment token (read from standard input) on its console."`
	Label hostLabelCmd `cmd:"" help:"Set the labels by which the verifier's kills and assignments find a host."`
	Reset hostResetCmd `cmd:"" help:"Forget the host: its TPM, firmware variables and enrolment. Keys and image stay."`
}

type floorShowCmd struct{}

func (floorShowCmd) Run(e *env) error {
	return withTPM(e, func(tpm transport.TPM) error {
		floor, defined, err := rollback.Read(tpm)
		if err != nil {
			return err
		}
		if !defined {
			fmt.Fprintln(e.stdout, "no floor yet (0)")
			return nil
		}
		fmt.Fprintln(e.stdout, floor)
		return nil
	})
}

type floorRaiseCmd struct {
	To uint64 `arg:"" help:"Manifest version."`
}

func (c floorRaiseCmd) Run(e *env) error {
	return withTPM(e, func(tpm transport.TPM) error {
		if err := rollback.Provision(tpm, c.To); err != nil {
			return err
		}
		floor, _, err := rollback.Read(tpm)
		if err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "the host boots no manifest below version %d any more\n", floor)
		return nil
	})
}

// withTPM runs f with the host's TPM; the host must be off.
func withTPM(e *env, f func(transport.TPM) error) error {
	d, unlock, err := e.lockedDir()
	if err != nil {
		return err
	}
	defer unlock()
	p, err := vm.FindPrograms()
	if err != nil {
		return err
	}
	if _, err := vm.ManufactureTPM(e.ctx, p, d.TPM()); err != nil {
		return err
	}
	return vm.UseTPM(p, d.TPM(), f)
}

type hostResetCmd struct{}

func (hostResetCmd) Run(e *env) error {
	d, unlock, err := e.lockedDir()
	if err != nil {
		return err
	}
	defer unlock()
	if err := resetHost(d); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "the host is forgotten; the next `aios up` makes and enrols a new one")
	return nil
}

// resetHost removes what makes the host this host.
func resetHost(d *state.Dir) error {
	entries, err := os.ReadDir(d.Host())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(d.Host(), entry.Name())))
	}
	return err
}
