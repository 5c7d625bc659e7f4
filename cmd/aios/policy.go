package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"aios/policy"
)

// policyFlag chooses the appraisal policy.
type policyFlag struct {
	Policy string `help:"Folder of Rego files to use instead of the policy that this program ships." placeholder:"DIR" type:"path"`
}

// policySet is a policy that compiles.
type policySet struct {
	engine *policy.Engine
	bundle []byte // what goes into the image
}

// id names the policy in results.
func (p *policySet) id() string { return fmt.Sprintf("sha256:%x", sha256.Sum256(p.bundle)) }

func (f policyFlag) load(ctx context.Context) (*policySet, error) {
	modules := policy.Default()
	if f.Policy != "" {
		var err error
		if modules, err = readModules(f.Policy); err != nil {
			return nil, err
		}
	}
	engine, err := policy.Compile(ctx, modules)
	if err != nil {
		return nil, err
	}
	bundle, err := policy.Bundle(modules)
	if err != nil {
		return nil, err
	}
	return &policySet{engine, bundle}, nil
}

// readModules reads the Rego files of a folder; tests stay where they are.
func readModules(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	modules := map[string]string{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".rego") || strings.HasSuffix(e.Name(), "_test.rego") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		modules[e.Name()] = string(b)
	}
	return modules, nil
}

// policyCmd shows the policy that decides on hosts.
type policyCmd struct {
	Export policyExportCmd `cmd:"" help:"Write the policy that this program ships into a folder, to change it there."`
	Check  policyCheckCmd  `cmd:"" help:"Compile a policy and say what is wrong with it."`
}

type policyExportCmd struct {
	Dir string `arg:"" help:"Folder; files in it are not overwritten." type:"path"`
}

func (c policyExportCmd) Run(e *env) error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	for name, text := range policy.Default() {
		f, err := os.OpenFile(filepath.Join(c.Dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already: choose another folder", filepath.Join(c.Dir, name))
		} else if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(e.stdout, "wrote %d files; change them, then: aios policy check --policy %s\n", len(policy.Default()), c.Dir)
	return err
}

type policyCheckCmd struct{ policyFlag }

func (c policyCheckCmd) Run(e *env) error {
	p, err := c.load(e.ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "the policy compiles: %s, %d bytes\n", p.id(), len(p.bundle))
	return err
}
