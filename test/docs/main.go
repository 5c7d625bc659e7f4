// Command docs writes the parts of the documentation that are made from the
// code: tables of system calls, messages, structures, events and bounds.
//
//	go run ./test/docs
//
// A page says where such a part goes and what it is made from:
//
//	<!-- generate struct evidence/message.go Request -->
//	...
//	<!-- /generate -->
//
// What stands between the two lines is replaced. The tests of this package fail
// when a page is stale, and when it names a file, a make target, a command, a
// flag or a heading that does not exist.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:generate go run aios/test/docs

func main() {
	root, err := moduleRoot()
	if err == nil {
		err = writePages(root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

// moduleRoot is the folder of go.mod, from wherever this is run.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above this folder: run it inside the source tree")
		}
		dir = up
	}
}

// benchmarks is written by `make bench`, from measurements.
const benchmarks = "docs/BENCHMARKS.md"

// pages lists the documentation, relative to root.
func pages(root string) ([]string, error) {
	list := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if rel = filepath.ToSlash(rel); err == nil && rel != benchmarks {
			list = append(list, rel)
		}
		return err
	})
	slices.Sort(list)
	return list, err
}

func writePages(root string) error {
	list, err := pages(root)
	if err != nil {
		return err
	}
	for _, page := range list {
		name := filepath.Join(root, page)
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		fresh, err := render(root, text)
		if err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		if bytes.Equal(text, fresh) {
			continue
		}
		if err := os.WriteFile(name, fresh, 0o644); err != nil {
			return err
		}
		fmt.Println("wrote", page)
	}
	return nil
}

const (
	beginPrefix = "<!-- generate "
	beginSuffix = " -->"
	endLine     = "<!-- /generate -->"
)

// render replaces every generated part of a page.
func render(root string, text []byte) ([]byte, error) {
	var out []string
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		out = append(out, lines[i])
		args, ok := strings.CutPrefix(lines[i], beginPrefix)
		if !ok {
			continue
		}
		args, ok = strings.CutSuffix(args, beginSuffix)
		n := slices.Index(lines[i:], endLine)
		if !ok || n < 0 {
			return nil, fmt.Errorf("line %d: %q has no end, expected the line %q", i+1, lines[i], endLine)
		}
		part, err := generate(root, strings.Fields(args))
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", i+1, lines[i], err)
		}
		out = append(out, "", strings.TrimRight(part, "\n"), "", endLine)
		i += n
	}
	return []byte(strings.Join(out, "\n")), nil
}

// generate makes one part.
func generate(root string, args []string) (string, error) {
	kind := ""
	if len(args) > 0 {
		kind, args = args[0], args[1:]
	}
	switch {
	case kind == "calls" && len(args) == 0:
		return calls(), nil
	case kind == "errors" && len(args) == 0:
		return errnos(), nil
	case kind == "audit" && len(args) == 0:
		return audit(), nil
	case kind == "rights" && len(args) == 0:
		return rights(), nil
	case kind == "handoff" && len(args) == 0:
		return handoffLayout(root)
	case kind == "struct" && len(args) == 2:
		return structTable(root, args[0], args[1])
	case kind == "consts" && len(args) >= 2:
		return constTable(root, args[0], args[1:])
	case kind == "tagged" && len(args) >= 1:
		return taggedExample(strings.Join(args, " ")), nil
	case kind == "events" && len(args) == 1:
		return eventTables(root, args[0])
	}
	return "", errors.New("unknown part: expected calls, audit, errors, rights, handoff, struct FILE TYPE, consts FILE NAME..., tagged TEXT, or events FILE")
}

// table is a Markdown table. Cells may hold anything but line ends.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) {
		b.WriteString("|")
		for _, c := range cells {
			b.WriteString(" " + strings.ReplaceAll(c, "|", `\|`) + " |")
		}
		b.WriteString("\n")
	}
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---"
	}
	line(rule)
	for _, r := range rows {
		line(r)
	}
	return b.String()
}
