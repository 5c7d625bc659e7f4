package main

import (
	"fmt"
	"strings"

	"aios/kernel/abi/table"
)

// dispatchGo is the switch of package process: it holds lengths and operations to
// their bounds, gives each argument its type, and calls the method that does it.
func dispatchGo(in *input) ([]byte, error) {
	var t text
	t.line("// %s\n\npackage process\n\nimport (\n\"aios/kernel/abi\"\n\"aios/kernel/ipc\"\n)\n", generated)
	t.line("// invoke calls the method for a number. The object was looked up for it, and its type")
	t.line("// is what the call's description says: Start checked it. What is too long, or has too")
	t.line("// little room, is refused or cut before anything is touched.")
	t.line("func (t *thread) invoke(n abi.Number, object any, a [6]uint64) (uint64, abi.Errno) {\nswitch n {")
	for i := range table.Calls {
		in.dispatch(&t, &table.Calls[i])
	}
	t.line("}\nreturn 0, abi.NoCall\n}")
	return t.goFile()
}

func (in *input) dispatch(t *text, c *table.Call) {
	t.line("case abi.Call%s:", c.Name)
	var small, last []string
	for i, a := range c.Args {
		if a.Min != "" {
			small = append(small, fmt.Sprintf("a[%d] < abi.%s", i+1, a.Min))
		}
		if a.Max != "" && !a.Cut {
			small = append(small, fmt.Sprintf("a[%d] > abi.%s", i+1, a.Max))
		}
		if a.Class == table.Op {
			last = append(last, fmt.Sprintf("a[%d] == 0 || a[%d] > abi.%s", i+1, i+1, in.last(a.Ops).name))
		}
	}
	if len(small) > 0 {
		t.line("if %s {\nreturn 0, abi.MessageSize\n}", strings.Join(small, " || "))
	}
	if len(last) > 0 {
		t.line("if %s {\nreturn 0, abi.Invalid\n}", strings.Join(last, " || "))
	}
	t.line("return t.call%s(%s)", c.Name, strings.Join(arguments(c), ", "))
}

// arguments are what the method of a call is given: the object, or the handle where
// any will do, and then what the call's arguments are.
func arguments(c *table.Call) (out []string) {
	switch {
	case c.Type == "":
		out = append(out, "abi.Handle(a[0])")
	case typeOf(c.Type).Go != "":
		out = append(out, fmt.Sprintf("object.(%s)", typeOf(c.Type).Go))
	}
	for i := 0; i < len(c.Args); i++ {
		a := c.Args[i]
		switch a.Class {
		case table.In, table.Out, table.Handles:
			i++
			n := fmt.Sprintf("a[%d]", i+1)
			if l := c.Args[i]; l.Cut {
				n = fmt.Sprintf("min(%s, abi.%s)", n, l.Max)
			}
			out = append(out, fmt.Sprintf("span{a[%d], %s}", i, n))
		case table.Op:
			out = append(out, fmt.Sprintf("uint32(a[%d])", i+1))
		default:
			out = append(out, fmt.Sprintf("a[%d]", i+1))
		}
	}
	return out
}
