package main

import (
	"fmt"
	"runtime"
)

// version and commit are set by the Makefile.
var (
	version = "dev"
	commit  = "unknown"
)

type versionCmd struct{}

func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintf(e.stdout, "aios %s (commit %s, %s)\n", version, commit, runtime.Version())
	return err
}
