package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"aios/kernel/abi"
	"aios/kernel/abi/table"
)

const root = "../../.."

// What is made from the table is what the table says now.
func TestFresh(t *testing.T) {
	files, err := render(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outputs {
		have, err := os.ReadFile(filepath.Join(root, o.name))
		if err != nil || !bytes.Equal(have, files[o.name]) {
			t.Errorf("%s is stale (%v): make generate, or go run ./kernel/abi/gen", o.name, err)
		}
		if !bytes.Contains(have[:min(len(have), 200)], []byte("Code generated ")) {
			t.Errorf("%s does not say that it is generated", o.name)
		}
	}
}

// Package abi, as it was compiled, says what the table says.
func TestCompiled(t *testing.T) {
	if len(abi.Calls) != len(table.Calls) {
		t.Fatalf("%d calls are compiled, %d in the table", len(abi.Calls), len(table.Calls))
	}
	for i, c := range table.Calls {
		a := abi.Calls[i]
		typ := "none"
		if c.Type != "" {
			typ = c.Type
		}
		right := "none"
		if c.Right != "" {
			right = c.Right
		}
		if uint64(a.Number) != c.Number || a.Name != c.Name || a.Type.String() != typ || a.Right.String() != right ||
			len(a.Args) != len(c.Args) || len(a.Errors) != len(c.Errors) || a.Bare != c.Bare || (a.Metered != 0) != (c.Quota == table.QuotaMessage) {
			t.Errorf("compiled %+v, in the table %+v", a, c)
		}
	}
	for _, e := range table.Errnos {
		if abi.Errno(e.Value).Error() != e.Text {
			t.Errorf("error %d says %q, expected %q", e.Value, abi.Errno(e.Value).Error(), e.Text)
		}
	}
	for _, y := range table.Types {
		if abi.Type(y.Value).Derivable() != y.Derivable {
			t.Errorf("%s: derivable %v, expected %v", y.Name, abi.Type(y.Value).Derivable(), y.Derivable)
		}
	}
	for i, a := range table.AuditClasses {
		if i > int(abi.AuditProcess) || a.Name == "" {
			t.Errorf("audit class %d %q has no constant in package abi", i, a.Name)
		}
	}
}

// constants are those of another language, read back by a pattern with a name and a
// number or a text.
var constants = map[string]*regexp.Regexp{
	"sdk/rust/src/abi.rs":    regexp.MustCompile(`(?m)^pub const ([A-Z0-9_]+): [&a-z0-9]+ = (?:"([^"]*)"|([0-9a-fx]+));$`),
	"sdk/typescript/abi.ts":  regexp.MustCompile(`(?m)^export const ([A-Z0-9_]+) = (?:"([^"]*)"|([0-9a-fx]+)n?);$`),
	"sdk/python/aios_abi.py": regexp.MustCompile(`(?m)^([A-Z0-9_]+) = (?:"([^"]*)"|([0-9a-fx]+))$`),
}

func TestLanguages(t *testing.T) {
	in, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"ENV_PREFIX": table.EnvPrefix}
	for _, s := range in.sections() {
		for _, c := range s.constants {
			value := strconv.FormatUint(c.value, 10)
			if s.rust == "&str" {
				value = c.text
			}
			if want[c.name] != "" {
				t.Errorf("%s is there twice", c.name)
			}
			want[c.name] = value
		}
	}
	if len(want) < 100 {
		t.Errorf("only %d constants", len(want))
	}
	// Some by hand, so that the names do not change unnoticed.
	for name, value := range map[string]string{"CALL_IPC_SEND": "4106", "CALL_NULL": "4096", "TYPE_BLOB": "6", "RIGHT_TRANSFER": "16",
		"ERR_BAD_HANDLE": "9", "ERR_IO": "5", "MAX_IPC": "65536", "ATTEST_QUOTE": "3", "CAP_SELF": "SELF", "CALL_CLOCK_READ": "4099"} {
		if want[name] != value {
			t.Errorf("%s is %q, want %s", name, want[name], value)
		}
	}
	for file, pattern := range constants {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]string{}
		for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
			have[m[1]] = m[2]
			if m[3] != "" {
				n, err := strconv.ParseUint(m[3], 0, 64)
				if err != nil {
					t.Errorf("%s: %s: %v", file, m[1], err)
				}
				have[m[1]] = strconv.FormatUint(n, 10)
			}
		}
		for name, value := range want {
			if have[name] != value {
				t.Errorf("%s: %s is %q, want %q", file, name, have[name], value)
			}
		}
		if len(have) != len(want) {
			t.Errorf("%s has %d constants, want %d", file, len(have), len(want))
		}
		for _, e := range table.Errnos {
			if !strings.Contains(string(text), strconv.Quote(e.Text)) {
				t.Errorf("%s does not say what %s means", file, e.Name)
			}
		}
	}
}

// Where a language's own tool is there, it takes the file. Nothing needs one.
func TestCompilers(t *testing.T) {
	dir := t.TempDir()
	for _, c := range [][]string{
		{"python3", "-c", "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, '../../../sdk/python'); import aios_abi as a; " +
			"assert a.decode(2**64 - a.ERR_DENIED) == (0, a.ERR_DENIED) and a.decode(7) == (7, 0) and a.ARGUMENTS[a.CALL_EXIT] == ('code',)"},
		{"rustc", "--edition", "2021", "--crate-type", "lib", "--emit", "metadata", "-D", "warnings", "-o", filepath.Join(dir, "abi"), root + "/sdk/rust/src/lib.rs"},
		{"groff", "-man", "-ww", "-z", root + "/docs/man/aios-syscalls.2"},
	} {
		if _, err := exec.LookPath(c[0]); err != nil {
			t.Logf("no %s here", c[0])
			continue
		}
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil || c[0] == "groff" && len(out) > 0 {
			t.Errorf("%s: %v\n%s", c[0], err, out)
		}
	}
}

// Every call has its place in the manual page, with its errors.
func TestManual(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/man/aios-syscalls.2"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range table.Calls {
		_, part, ok := strings.Cut(string(text), "\n.SS "+c.Name+"\n")
		part, _, _ = strings.Cut(part, "\n.S")
		if !ok || !strings.Contains(part, fmt.Sprintf("Number %#x.", c.Number)) || len(c.Errors) > 0 && !strings.Contains(part, strings.Join(c.Errors, ", ")) {
			t.Errorf("%s: %q", c.Name, part)
		}
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "'") {
			t.Errorf("%q would be taken for a macro", line)
		}
	}
}

// A table that says what cannot be is refused.
func TestCheck(t *testing.T) {
	in, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	good := table.Call{Name: "X", Result: "0", Doc: "Does."}
	for name, spoil := range map[string]func(*table.Call){
		"no text":       func(c *table.Call) { c.Doc = "" },
		"no type":       func(c *table.Call) { c.Type = "door" },
		"no right":      func(c *table.Call) { c.Right = "open" },
		"no error":      func(c *table.Call) { c.Errors = []string{"Nothing"} },
		"error twice":   func(c *table.Call) { c.Errors = []string{"IO", "IO"} },
		"six arguments": func(c *table.Call) { c.Args = make([]table.Arg, 6) },
		"no length":     func(c *table.Call) { c.Args = []table.Arg{{Name: "p", Class: table.In}} },
		"no count": func(c *table.Call) {
			c.Args = []table.Arg{{Name: "p", Class: table.Handles}, {Name: "n", Class: table.Length}}
		},
		"no bound":      func(c *table.Call) { c.Args = []table.Arg{{Name: "n", Max: "MaxNothing"}} },
		"no operations": func(c *table.Call) { c.Args = []table.Arg{{Name: "op", Class: table.Op, Ops: "Nothing"}} },
		"no bytes":      func(c *table.Call) { c.Quota = table.QuotaMessage },
		"personality":   func(c *table.Call) { c.Args = []table.Arg{{Name: "fd", Class: table.FD}} },
	} {
		c := good
		if err := in.checkCall(&c); err != nil {
			t.Fatal(err)
		}
		spoil(&c)
		if in.checkCall(&c) == nil {
			t.Errorf("%s: %+v was accepted", name, c)
		}
	}
}

func TestUpper(t *testing.T) {
	for name, want := range map[string]string{"IPCSend": "IPC_SEND", "ClockRead": "CLOCK_READ", "IO": "IO", "MaxIPC": "MAX_IPC", "IPCInfo": "IPC_INFO", "Null": "NULL"} {
		if got := upper(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
