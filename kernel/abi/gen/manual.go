package main

import (
	"fmt"
	"strings"

	"aios/kernel/abi/table"
)

// registers are those of the arguments behind the handle.
var registers = [...]string{"RSI", "RDX", "R10", "R8", "R9"}

// roff makes text safe for a line of a manual page.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "ipc.md", "docs/ipc.md").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// manual is the page of section 2, in the macros of man(7).
func manual(in *input) ([]byte, error) {
	var t text
	t.line(`.\" %s`, generated)
	t.line(".TH AIOS\\-SYSCALLS 2 \"\" AIOS \"AIOS system calls\"\n.SH NAME\naios\\-syscalls \\- the system calls of the AIOS kernel")
	t.line(".SH DESCRIPTION\nThe SYSCALL instruction on x86\\-64.\n.B RAX\nholds the number,\n.B RDI\nthe handle,\n.BR RSI ,\n.BR RDX ,\n.BR R10 ,\n.B R8\nand\n.B R9\nthe further arguments.")
	t.line("The result comes back in\n.BR RAX ;\n\\-%d to \\-1 is a negated error number.\n.B RCX\nand\n.B R11\nare lost.", table.MaxErrno)
	t.line(".PP\nEvery call names a handle first. The kernel checks that it is one of this process, that its object is of the right type, and that it carries the right, before it looks at any other argument.")
	t.line("Numbers below %#x belong to the Linux personality, which serves the program's runtime.", table.FirstCall)
	t.line(".SH CALLS")
	for i := range table.Calls {
		manualCall(&t, in, &table.Calls[i])
	}
	t.line(".SH TYPES")
	for _, y := range table.Types {
		t.line(".TP\n%d\\ \\ \\fB%s\\fR\n%s", y.Value, y.Name, roff(y.Doc))
	}
	t.line(".SH RIGHTS")
	for _, r := range table.AllRights {
		t.line(".TP\n%d\\ \\ \\fB%s\\fR\n%s", 1<<r.Bit, r.Name, roff(r.Doc))
	}
	t.line(".SH BOUNDS")
	for _, b := range table.Bounds {
		t.line(".TP\n\\fB%s\\fR = %d\n%s", b.Name, b.Value, roff(b.Doc))
	}
	t.line(".SH ERRORS\nEvery call can give\n%s; the last two only where the process hangs from a token. A call that waits gives Canceled when the process is ending.", roff(strings.Join(table.CommonErrors, ", ")))
	for _, e := range table.Errnos {
		t.line(".TP\n%d\\ \\ \\fB%s\\fR (%s)\n%s", e.Value, e.Name, e.Linux, roff(e.Text))
	}
	t.line(".SH AUDIT\nA call that was refused at its handle is recorded in any case. One that was let through is, by its class,")
	for _, a := range table.AuditClasses {
		t.line(".TP\n\\fB%s\\fR\n%s", a.Name, roff(a.Doc))
	}
	t.line(".SH ENVIRONMENT\nThe handles that a process starts with, as hexadecimal numbers:")
	for _, c := range table.Capabilities {
		name := table.EnvPrefix + c.Name
		if strings.HasSuffix(name, "_") {
			name += "\\fINAME\\fB"
		}
		t.line(".TP\n\\fB%s\\fR\n%s", name, roff(capabilityDoc(c)))
	}
	return t.Bytes(), nil
}

func manualCall(t *text, in *input, c *table.Call) {
	t.line(".SS %s", c.Name)
	handle := "any"
	if c.Type != "" {
		handle = c.Type
	}
	if c.Right != "" {
		handle += ", with the right " + c.Right
	}
	t.line("Number %#x. Handle: %s.\n.br\n%s", c.Number, handle, roff(c.Doc))
	for i, a := range c.Args {
		t.line(".TP\n\\fB%s\\fR \\fI%s\\fR\n%s", registers[i], a.Name, roff(in.argDoc(a)))
	}
	t.line(".PP\nResult: %s.\n.br\nAudit: %s.", roff(c.Result), table.AuditClasses[c.Audit].Name)
	if c.Quota == table.QuotaMessage {
		t.line(".br\nQuota: one message, and the bytes of %s.", c.Args[firstLength(c)].Name)
	}
	if len(c.Errors) > 0 {
		t.line(".br\nErrors besides: %s.", strings.Join(c.Errors, ", "))
	}
}

// argDoc says what an argument is.
func (in *input) argDoc(a table.Arg) string {
	s := map[table.Class]string{
		table.Number: "a number", table.In: "address of bytes that the kernel reads", table.Out: "address of bytes that the kernel writes",
		table.Handles: "address of handles, 8 bytes each", table.Length: "bytes there", table.Count: "handles there",
		table.Timeout: "nanoseconds; all bits set: as long as it takes; 0: not at all", table.Offset: "in bytes",
		table.Rights: "rights, added up", table.Code: "exit status",
	}[a.Class]
	if a.Class == table.Op {
		var names []string
		for _, o := range in.opsOf(a.Ops) {
			names = append(names, fmt.Sprintf("%d %s", o.value, strings.TrimPrefix(o.name, a.Ops)))
		}
		return "operation: " + strings.Join(names, ", ")
	}
	if a.Min != "" {
		s += fmt.Sprintf(", at least %d", boundOf(a.Min).Value)
	}
	switch {
	case a.Max != "" && a.Cut:
		s += fmt.Sprintf("; more than %d is cut to it", boundOf(a.Max).Value)
	case a.Max != "":
		s += fmt.Sprintf(", at most %d", boundOf(a.Max).Value)
	}
	return s
}
