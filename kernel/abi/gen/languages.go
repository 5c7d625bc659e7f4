package main

import (
	"fmt"
	"strings"

	"aios/kernel/abi/table"
)

// Constants for other languages. All say the same: numbers of calls with their
// arguments, types, rights, errors with their texts, bounds, operations, and the
// names of what a process starts with.

// about is what each file says first.
var about = []string{
	"The system call ABI of AIOS, as docs/syscall-abi.md describes it.",
	"",
	"SYSCALL on x86-64: RAX holds the number, RDI the handle, RSI RDX R10 R8 R9 the",
	"further arguments. The result comes back in RAX; -4095 to -1 is a negated error.",
}

// signature says in one line what a call takes and gives.
func signature(c *table.Call) string {
	handle := "any handle"
	if c.Type != "" {
		handle = c.Type
	}
	if c.Right != "" {
		handle += " with " + c.Right
	}
	args := []string{handle}
	for _, a := range c.Args {
		args = append(args, a.Name+map[table.Class]string{table.In: " (in)", table.Handles: " (in)", table.Out: " (out)"}[a.Class])
	}
	return fmt.Sprintf("(%s) -> %s", strings.Join(args, ", "), c.Result)
}

// upper turns CamelCase into UPPER_CASE: IPCSend is IPC_SEND.
func upper(name string) string {
	var b strings.Builder
	is := func(i int) bool { return i < len(name) && name[i] >= 'A' && name[i] <= 'Z' }
	for i := range len(name) {
		if i > 0 && is(i) && (!is(i-1) || i+1 < len(name) && !is(i+1)) {
			b.WriteByte('_')
		}
		b.WriteByte(name[i])
	}
	return strings.ToUpper(b.String())
}

// constant is one of any language: section by section, the same everywhere.
type constant struct {
	name  string // in UPPER_CASE
	value uint64
	hex   bool
	text  string // the value, if it is a text
	doc   []string
}

// section is a group of constants under a headline.
type section struct {
	title     string
	rust      string // the type of its constants
	constants []constant
}

func (in *input) sections() []section {
	calls := section{title: "Numbers of the calls: (handle, arguments in their order) -> result", rust: "u64"}
	for i := range table.Calls {
		c := &table.Calls[i]
		calls.constants = append(calls.constants, constant{"CALL_" + upper(c.Name), c.Number, true, "", []string{signature(c), c.Doc}})
	}
	types := section{title: "Types of objects", rust: "u8"}
	for _, t := range table.Types {
		types.constants = append(types.constants, constant{"TYPE_" + upper(t.Ident), uint64(t.Value), false, "", []string{t.Doc}})
	}
	rights := section{title: "Rights of a handle", rust: "u32"}
	all := uint64(0)
	for _, r := range table.AllRights {
		all |= 1 << r.Bit
		rights.constants = append(rights.constants, constant{"RIGHT_" + strings.ToUpper(r.Name), 1 << r.Bit, false, "", []string{r.Doc}})
	}
	rights.constants = append(rights.constants, constant{"ALL_RIGHTS", all, false, "", []string{"every right that exists"}})
	errnos := section{title: "Errors", rust: "u16"}
	for _, e := range table.Errnos {
		errnos.constants = append(errnos.constants, constant{"ERR_" + upper(e.Name), uint64(e.Value), false, "", []string{e.Linux + ": " + e.Text}})
	}
	bounds := section{title: "Bounds on one call", rust: "usize"}
	for _, b := range table.Bounds {
		bounds.constants = append(bounds.constants, constant{upper(b.Name), b.Value, false, "", []string{b.Doc}})
	}
	ops := section{title: "Operations: (fields of the request) -> fields of the response", rust: "u64"}
	for _, o := range in.ops {
		ops.constants = append(ops.constants, constant{upper(o.name), o.value, false, "", []string{o.doc}})
	}
	caps := section{title: "Names of what a process may start with, behind " + table.EnvPrefix, rust: "&str"}
	for _, c := range table.Capabilities {
		caps.constants = append(caps.constants, constant{"CAP_" + upper(c.Ident), 0, false, c.Name, []string{capabilityDoc(c)}})
	}
	general := section{title: "General", rust: "u64", constants: []constant{
		{"FIRST_CALL", table.FirstCall, true, "", []string{"lowest number of an AIOS call; below it lies the Linux personality"}},
		{"MAX_ERRNO", table.MaxErrno, false, "", []string{"a result of -MAX_ERRNO to -1 is an error"}},
		{"FOREVER", ^uint64(0), true, "", []string{"a timeout that waits as long as it takes; others are nanoseconds, 0 does not wait"}},
	}}
	return []section{general, calls, types, rights, errnos, bounds, ops, caps}
}

func (c *constant) number() string {
	if c.hex {
		return fmt.Sprintf("%#x", c.value)
	}
	return fmt.Sprint(c.value)
}

func rust(in *input) ([]byte, error) {
	var t text
	t.line("// %s\n", generated)
	for _, l := range about {
		t.line("%s", strings.TrimSpace("//! "+l))
	}
	for _, s := range in.sections() {
		t.line("\n// %s.", s.title)
		for _, c := range s.constants {
			t.line("")
			for _, d := range c.doc {
				t.line("/// %s", strings.ReplaceAll(strings.ReplaceAll(d, "[", `\[`), "<", `\<`))
			}
			if s.rust == "&str" {
				t.line("pub const %s: &str = %q;", c.name, c.text)
			} else {
				t.line("pub const %s: %s = %s;", c.name, s.rust, c.number())
			}
		}
	}
	t.line("\n/// Begins the names of the environment variables that tell the handles a process starts with.\npub const ENV_PREFIX: &str = %q;", table.EnvPrefix)
	t.line("\n/// What an error means.\npub const fn errno_text(errno: u16) -> &'static str {\n    match errno {")
	for _, e := range table.Errnos {
		t.line("        ERR_%s => %q,", upper(e.Name), e.Text)
	}
	t.line("        _ => \"unknown error\",\n    }\n}")
	t.line("\n/// Splits the result in RAX into value and error.\npub const fn decode(rax: u64) -> Result<u64, u16> {")
	t.line("    let errno = rax.wrapping_neg();\n    if errno >= 1 && errno <= MAX_ERRNO {\n        return Err(errno as u16);\n    }\n    Ok(rax)\n}")
	return t.Bytes(), nil
}

func typescript(in *input) ([]byte, error) {
	var t text
	t.line("// %s\n\n/**", generated)
	for _, l := range about {
		t.line("%s", strings.TrimRight(" * "+l, " "))
	}
	t.line(" *\n * Handles, results and timeouts have 64 bits: they are bigint.\n */\n")
	for _, s := range in.sections() {
		t.line("// %s.", s.title)
		for _, c := range s.constants {
			t.line("/** %s */", strings.Join(c.doc, ". "))
			switch {
			case s.rust == "&str":
				t.line("export const %s = %q;", c.name, c.text)
			case c.value >= 1<<53:
				t.line("export const %s = %sn;", c.name, c.number())
			default:
				t.line("export const %s = %s;", c.name, c.number())
			}
		}
		t.line("")
	}
	t.line("/** Begins the names of the environment variables that tell the handles a process starts with. */\nexport const ENV_PREFIX = %q;\n", table.EnvPrefix)
	t.line("/** What each error means. */\nexport const ERRNO_TEXT: Readonly<Record<number, string>> = {")
	for _, e := range table.Errnos {
		t.line("  %d: %q,", e.Value, e.Text)
	}
	t.line("};\n\n/** The order of each call's arguments behind the handle. */\nexport const ARGUMENTS: Readonly<Record<number, readonly string[]>> = {")
	for i := range table.Calls {
		t.line("  %#x: [%s],", table.Calls[i].Number, quotedArgs(&table.Calls[i]))
	}
	t.line("};\n\n/** The error of a result in RAX, 0 if it is a value. */\nexport function errnoOf(rax: bigint): number {")
	t.line("  const errno = BigInt.asUintN(64, -rax);\n  return errno >= 1n && errno <= BigInt(MAX_ERRNO) ? Number(errno) : 0;\n}")
	return t.Bytes(), nil
}

func quotedArgs(c *table.Call) string {
	var out []string
	for _, a := range c.Args {
		out = append(out, fmt.Sprintf("%q", a.Name))
	}
	return strings.Join(out, ", ")
}

func python(in *input) ([]byte, error) {
	var t text
	t.line("# %s", generated)
	t.line("\"\"\"%s\n\"\"\"", strings.Join(about, "\n"))
	for _, s := range in.sections() {
		t.line("\n# %s.", s.title)
		for _, c := range s.constants {
			for _, d := range c.doc {
				t.line("#: %s", d)
			}
			if s.rust == "&str" {
				t.line("%s = %q", c.name, c.text)
			} else {
				t.line("%s = %s", c.name, c.number())
			}
		}
	}
	t.line("\n#: Begins the names of the environment variables that tell the handles a process starts with.\nENV_PREFIX = %q", table.EnvPrefix)
	t.line("\n#: What each error means.\nERRNO_TEXT = {")
	for _, e := range table.Errnos {
		t.line("    %d: %q,", e.Value, e.Text)
	}
	t.line("}\n\n#: The order of each call's arguments behind the handle.\nARGUMENTS = {")
	for i := range table.Calls {
		args := quotedArgs(&table.Calls[i])
		if len(table.Calls[i].Args) == 1 {
			args += ","
		}
		t.line("    %#x: (%s),", table.Calls[i].Number, args)
	}
	t.line("}\n\n\ndef decode(rax):\n    \"\"\"Split the result in RAX, an unsigned number, into value and error (0: none).\"\"\"")
	t.line("    errno = -rax & 0xFFFFFFFFFFFFFFFF\n    if 1 <= errno <= MAX_ERRNO:\n        return 0, errno\n    return rax, 0")
	return t.Bytes(), nil
}
