package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"aios/kernel/abi/table"
)

// input is the table, found to be sound, and the operations of its calls.
type input struct {
	ops []operation
}

// operation is one that an argument of class Op can name.
type operation struct {
	name  string
	value uint64
	doc   string
}

// operationsFile holds the operations: they belong to the objects, and their requests
// and responses are described there.
const operationsFile = "kernel/abi/call.go"

func read(root string) (*input, error) {
	ops, err := operations(filepath.Join(root, operationsFile))
	if err != nil {
		return nil, err
	}
	in := &input{ops}
	return in, in.check()
}

// operations reads those constants of a Go file that an argument of class Op can name.
func operations(name string) ([]operation, error) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var out []operation
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if len(v.Values) != 1 || !isOperation(v.Names[0].Name) {
				continue
			}
			l, ok := v.Values[0].(*ast.BasicLit)
			if !ok || l.Kind != token.INT {
				continue
			}
			n, err := strconv.ParseUint(l.Value, 0, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", name, v.Names[0].Name, err)
			}
			out = append(out, operation{v.Names[0].Name, n, strings.Join(strings.Fields(v.Comment.Text()), " ")})
		}
	}
	return out, nil
}

func isOperation(name string) bool {
	for _, c := range table.Calls {
		for _, a := range c.Args {
			if a.Ops != "" && strings.HasPrefix(name, a.Ops) {
				return true
			}
		}
	}
	return false
}

// opsOf are the operations whose names begin with a prefix.
func (in *input) opsOf(prefix string) (out []operation) {
	for _, o := range in.ops {
		if strings.HasPrefix(o.name, prefix) {
			out = append(out, o)
		}
	}
	return out
}

// last is the highest of them.
func (in *input) last(prefix string) operation {
	return slices.MaxFunc(in.opsOf(prefix), func(a, b operation) int { return int(a.value) - int(b.value) })
}

// check refuses a table that says what cannot be.
func (in *input) check() error {
	if err := checkNames(); err != nil {
		return err
	}
	names := map[string]bool{}
	for i := range table.Calls {
		c := &table.Calls[i]
		if want := uint64(table.FirstCall + i); c.Number != want {
			return fmt.Errorf("%s has number %#x, expected %#x: calls stand in the order of their numbers, without a gap", c.Name, c.Number, want)
		}
		if names[c.Name] {
			return fmt.Errorf("%s is there twice", c.Name)
		}
		names[c.Name] = true
		if err := in.checkCall(c); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

func (in *input) checkCall(c *table.Call) error {
	switch {
	case c.Doc == "" || c.Result == "":
		return fmt.Errorf("it is not described")
	case len(c.Args) > 5:
		return fmt.Errorf("%d arguments do not fit the registers, at most 5 do", len(c.Args))
	case c.Type != "" && typeOf(c.Type) == nil:
		return fmt.Errorf("there is no type %q", c.Type)
	case c.Right != "" && rightOf(c.Right) == nil:
		return fmt.Errorf("there is no right %q", c.Right)
	case c.Quota == table.QuotaMessage && firstLength(c) < 0:
		return fmt.Errorf("it is to pay for bytes and has no length")
	}
	for i, a := range c.Args {
		follows := table.Class(0)
		if i+1 < len(c.Args) {
			follows = c.Args[i+1].Class
		}
		switch {
		case (a.Class == table.In || a.Class == table.Out) && follows != table.Length:
			return fmt.Errorf("%s has no length after it", a.Name)
		case a.Class == table.Handles && follows != table.Count:
			return fmt.Errorf("%s has no count after it", a.Name)
		case a.Class == table.Op && len(in.opsOf(a.Ops)) == 0:
			return fmt.Errorf("there are no operations %s* in %s", a.Ops, operationsFile)
		case a.Class >= table.FD:
			return fmt.Errorf("%s is of a class of the personality", a.Name)
		}
		for _, name := range []string{a.Min, a.Max} {
			if name != "" && boundOf(name) == nil {
				return fmt.Errorf("%s: there is no bound %q", a.Name, name)
			}
		}
	}
	seen := map[string]bool{}
	for _, e := range c.Errors {
		if errnoOf(e) == nil || seen[e] {
			return fmt.Errorf("error %q: no such error, or named twice", e)
		}
		seen[e] = true
	}
	return nil
}

func checkNames() error {
	for i, t := range table.Types {
		if int(t.Value) != i+1 {
			return fmt.Errorf("type %s has number %d, expected %d", t.Name, t.Value, i+1)
		}
	}
	for i, r := range table.AllRights {
		if int(r.Bit) != i || i >= 24 { // a table's record has 24 bits for them
			return fmt.Errorf("right %s is bit %d, expected %d, below 24", r.Name, r.Bit, i)
		}
	}
	last := uint16(0)
	for _, e := range table.Errnos {
		if e.Value <= last || e.Value > table.MaxErrno || e.Text == "" {
			return fmt.Errorf("error %s has number %d and text %q: expected a number above %d, and a text", e.Name, e.Value, e.Text, last)
		}
		last = e.Value
	}
	for _, c := range table.Capabilities {
		if typeOf(c.Type) == nil {
			return fmt.Errorf("capability %s: there is no type %q", c.Name, c.Type)
		}
	}
	return nil
}

func find[T any](list []T, is func(*T) bool) *T {
	for i := range list {
		if is(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

func typeOf(name string) *table.Type {
	return find(table.Types, func(t *table.Type) bool { return t.Name == name })
}

func rightOf(name string) *table.Right {
	return find(table.AllRights, func(r *table.Right) bool { return r.Name == name })
}

func boundOf(name string) *table.Bound {
	return find(table.Bounds, func(b *table.Bound) bool { return b.Name == name })
}

func errnoOf(name string) *table.Errno {
	return find(table.Errnos, func(e *table.Errno) bool { return e.Name == name })
}

// firstLength is where a call's first length is among its arguments, -1: nowhere.
func firstLength(c *table.Call) int {
	return slices.IndexFunc(c.Args, func(a table.Arg) bool { return a.Class == table.Length })
}

// typeIdent and rightIdent are the names of the constants in Go.
func typeIdent(name string) string {
	if name == "" {
		return "TypeNone"
	}
	return "Type" + typeOf(name).Ident
}

func rightIdent(name string) string { return "Right" + title(name) }

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
