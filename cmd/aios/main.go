// Command aios builds, boots and judges AIOS hosts.
//
// `aios up` brings a virtual host up and proves what it booted; the other
// commands are its parts, one by one. `aios --help` lists them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"aios/host/state"

	"github.com/alecthomas/kong"
)

// Exit codes. Scripts depend on them.
const (
	exitOK      = 0 // it did; a command that judges a host: and the verdict is affirming; one that kills: and every end was proven
	exitFailed  = 1 // the command did not do what it was asked
	exitUsage   = 2 // no such command or flag, or a value out of bounds
	exitPartial = 3 // `verifier replay`: a log was read in part
)

// cli is the command line. One struct a command, with a Run method beside it.
type cli struct {
	State string `help:"Folder for keys, host and image (default: $$AIOS_STATE, else ~/.local/state/aios)." placeholder:"DIR" type:"path"`

	Up       upCmd       `cmd:"" help:"Bring a host up and prove what it booted; stay up and prove it again until Ctrl-C."`
	Keys     keysCmd     `cmd:"" help:"Make or show the installation's keys."`
	Image    imageCmd    `cmd:"" help:"Build and inspect the signed disk image."`
	Host     hostCmd     `cmd:"" help:"Manage the virtual host."`
	Verifier verifierCmd `cmd:"" help:"What the verifier does, by hand."`
	Enrol    enrolCmd    `cmd:"" help:"Say which hosts may be enrolled."`
	Agent    agentCmd    `cmd:"" help:"List, assign and kill agents."`
	Policy   policyCmd   `cmd:"" help:"Export and check the policy that decides on hosts."`
	Token    tokenCmd    `cmd:"" help:"Make and read capability tokens by hand."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// env is what commands get beside their own flags.
type env struct {
	ctx    context.Context
	state  string
	stdout io.Writer
}

// dir opens the state folder.
func (e *env) dir() (*state.Dir, error) { return state.Open(e.state) }

// lockedDir opens the state folder for a command that changes it.
func (e *env) lockedDir() (d *state.Dir, unlock func(), err error) {
	if d, err = e.dir(); err != nil {
		return nil, nil, err
	}
	unlock, err = d.Lock()
	return d, unlock, err
}

// exitError ends the program with a code and, if silent, says nothing more.
type exitError struct {
	code int
	err  error // nil: everything was said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	// The second Ctrl-C ends us at once; children die with us in any case.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)

	var c cli
	parser, err := kong.New(&c, kong.Name("aios"),
		kong.Description("An operating system for AI agents that proves what it booted."),
		kong.Writers(stdout, stderr), kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Exit(func(code int) { panic(kongExit(code)) }))
	if err != nil {
		panic(err) // a mistake in cli's tags
	}
	code, parsed, ok := parse(parser, args)
	switch {
	case !ok:
		return code // --help was shown
	case code != exitOK:
		return code
	}
	err = parsed.Run(&env{ctx: ctx, state: c.State, stdout: stdout})
	if err == nil {
		return exitOK
	}
	exit := &exitError{code: exitFailed, err: err}
	errors.As(err, &exit)
	if exit.err != nil {
		fmt.Fprintln(stderr, "aios:", err)
		if r := remedy(err); r != "" {
			fmt.Fprintln(stderr, "what to do:", r)
		}
	}
	return exit.code
}

// kongExit is what kong "exits" with after it showed help.
type kongExit int

func parse(parser *kong.Kong, args []string) (code int, parsed *kong.Context, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			exit, is := r.(kongExit)
			if !is {
				panic(r)
			}
			code, ok = int(exit), false
		}
	}()
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(parser.Stderr, "aios: %v\n(`aios --help` lists the commands)\n", err)
		return exitUsage, nil, true
	}
	return exitOK, parsed, true
}
