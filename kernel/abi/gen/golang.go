package main

import (
	"bytes"
	"fmt"
	"go/format"
	"strings"

	"aios/kernel/abi/table"
)

// text is a file in the making.
type text struct{ bytes.Buffer }

func (t *text) line(format string, args ...any) {
	fmt.Fprintf(t, format, args...)
	t.WriteByte('\n')
}

// goFile formats Go code.
func (t *text) goFile() ([]byte, error) {
	b, err := format.Source(t.Bytes())
	if err != nil {
		return nil, fmt.Errorf("what was made is no Go: %w", err)
	}
	return b, nil
}

// abiGo is the part of package abi that is made: constants, and the description of
// each call.
func abiGo(in *input) ([]byte, error) {
	var t text
	t.line("// %s\n\npackage abi\n", generated)
	abiCalls(&t)
	abiNames(&t)
	t.line("// Calls is every AIOS call, in the order of their numbers.\nvar Calls = []Call{")
	for i := range table.Calls {
		abiCall(&t, &table.Calls[i])
	}
	t.line("}")
	return t.goFile()
}

func abiCalls(t *text) {
	t.line("// Numbers of the AIOS calls.\nconst (")
	for _, c := range table.Calls {
		t.line("Call%s Number = %#x", c.Name, c.Number)
	}
	t.line("callEnd Number = %#x\n)\n", table.FirstCall+len(table.Calls))
}

func abiNames(t *text) {
	t.line("const (\nTypeNone Type = 0 // a free slot")
	for _, y := range table.Types {
		t.line("Type%s Type = %d // %s", y.Ident, y.Value, y.Doc)
	}
	t.line("typeEnd Type = %d\n)\n", len(table.Types)+1)
	t.line("var typeNames = [...]string{\n\"none\",")
	for _, y := range table.Types {
		t.line("%q,", y.Name)
	}
	t.line("}\n\n// Derivable tells whether there may be more than one handle on an object of this type:")
	t.line("// whether one can be derived from another. Calls on one that is derivable do not wait,")
	t.line("// or end when the handle does, so that a revocation can wait for them.")
	t.line("func (t Type) Derivable() bool {\nswitch t {")
	var derivable []string
	for _, y := range table.Types {
		if y.Derivable {
			derivable = append(derivable, "Type"+y.Ident)
		}
	}
	t.line("case %s:\nreturn true\n}\nreturn false\n}\n\nconst (", strings.Join(derivable, ", "))
	var all []string
	for _, r := range table.AllRights {
		all = append(all, rightIdent(r.Name))
		t.line("%s Rights = 1 << %d // %s", rightIdent(r.Name), r.Bit, r.Doc)
	}
	t.line(")\n\n// AllRights is every right that exists.\nconst AllRights = %s\n", strings.Join(all, "|"))
	t.line("var rightNames = [...]string{")
	for _, r := range table.AllRights {
		t.line("%q,", r.Name)
	}
	t.line("}\n\nconst (")
	for _, e := range table.Errnos {
		t.line("%s Errno = %d // %s", e.Name, e.Value, e.Linux)
	}
	t.line(")\n\n// text says what an error means, \"\" if there is none of that number.\nfunc (e Errno) text() string {\nswitch e {")
	for _, e := range table.Errnos {
		t.line("case %s:\nreturn %q", e.Name, e.Text)
	}
	t.line("}\nreturn \"\"\n}\n\n// Bounds on one call.\nconst (")
	for _, b := range table.Bounds {
		expr := b.Expr
		if expr == "" {
			expr = fmt.Sprint(b.Value)
		}
		t.line("%s = %s // %s", b.Name, expr, b.Doc)
	}
	t.line(")\n\n// The handles that a process starts with reach it as environment variables,")
	t.line("// AIOS_CAP_<NAME>=0x<hex>, one for each capability that its manifest grants.\nconst (\nEnvPrefix = %q", table.EnvPrefix)
	for _, c := range table.Capabilities {
		t.line("Cap%s = %q // %s", c.Ident, c.Name, capabilityDoc(c))
	}
	t.line(")\n")
}

func capabilityDoc(c table.Capability) string {
	if c.Doc == "" {
		return c.Type
	}
	return c.Type + ": " + c.Doc
}

// kinds are the kinds of arguments in package abi, by class; the rest are values.
var kinds = map[table.Class]string{table.In: "In", table.Handles: "In", table.Out: "Out"}

func abiCall(t *text, c *table.Call) {
	t.line("{\nNumber: Call%s, Name: %q, Type: %s,", c.Name, c.Name, typeIdent(c.Type))
	if c.Right != "" {
		t.line("Right: %s,", rightIdent(c.Right))
	}
	if c.Bare {
		t.line("Bare: true,")
	}
	if len(c.Args) > 0 {
		t.WriteString("Args: []Arg{")
		for _, a := range c.Args {
			kind := kinds[a.Class]
			if kind == "" {
				kind = "Value"
			}
			fmt.Fprintf(t, "{%q, %s},", a.Name, kind)
		}
		t.line("},")
	}
	if c.Quota == table.QuotaMessage {
		t.line("Metered: %d,", 1+firstLength(c))
	}
	t.line("Audit: Audit%s,", title(table.AuditClasses[c.Audit].Name))
	if len(c.Errors) > 0 {
		t.line("Errors: []Errno{%s},", strings.Join(c.Errors, ", "))
	}
	t.line("Result: %q,\nDoc: %q,\n},", c.Result, c.Doc)
}

// classes are the names of the classes in package grammar.
var classes = map[table.Class]string{
	table.Number: "Number", table.In: "In", table.Out: "Out", table.Handles: "Handles", table.Length: "Length", table.Count: "Count",
	table.Timeout: "Timeout", table.Op: "Op", table.Offset: "Offset", table.Rights: "Rights", table.Code: "Code", table.FD: "FD", table.Region: "Region", table.Pick: "Pick",
}

// grammarGo is what the fuzzers know of each call.
func grammarGo(in *input) ([]byte, error) {
	var t text
	t.line("// %s\n\npackage grammar\n\nimport \"aios/kernel/abi\"\n", generated)
	t.line("// Calls are the AIOS calls, in the order of their numbers.\nvar Calls = []Call{")
	for i := range table.Calls {
		c := &table.Calls[i]
		t.line("{\nNumber: %#x, Name: %q, Type: abi.%s,", c.Number, c.Name, typeIdent(c.Type))
		if c.Right != "" {
			t.line("Right: abi.%s,", rightIdent(c.Right))
		}
		in.grammarArgs(&t, c.Args)
		if c.Handle {
			t.line("Handle: true,")
		}
		if c.Waits {
			t.line("Waits: true,")
		}
		if c.Quota == table.QuotaMessage {
			t.line("Metered: true,")
		}
		t.WriteString("Errors: []abi.Errno{")
		for _, e := range c.Errors {
			t.WriteString("abi." + e + ",")
		}
		t.line("},\n},")
	}
	t.line("}\n\n// Personality are the calls of the Linux personality, of which no argument is a handle.\nvar Personality = []Call{")
	for i := range table.Personality {
		c := &table.Personality[i]
		t.line("{\nNumber: %d, Name: %q,", c.Number, c.Name)
		in.grammarArgs(&t, c.Args)
		t.line("},")
	}
	t.line("}")
	return t.goFile()
}

func (in *input) grammarArgs(t *text, args []table.Arg) {
	if len(args) == 0 {
		return
	}
	t.line("Args: []Arg{")
	for _, a := range args {
		fmt.Fprintf(t, "{Name: %q, Class: %s", a.Name, classes[a.Class])
		if a.Min != "" {
			fmt.Fprintf(t, ", Min: abi.%s", a.Min)
		}
		switch {
		case a.Max != "":
			fmt.Fprintf(t, ", Max: abi.%s", a.Max)
		case a.Class == table.Op:
			fmt.Fprintf(t, ", Max: abi.%s", in.last(a.Ops).name)
		}
		if a.Cut {
			t.WriteString(", Cut: true")
		}
		if len(a.Values) > 0 {
			t.WriteString(", Values: []uint64{")
			for _, v := range a.Values {
				fmt.Fprintf(t, "%#x, ", v)
			}
			t.WriteString("}")
		}
		t.line("},")
	}
	t.line("},")
}
