package main

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"aios/boot/handoff"
	"aios/boot/measure"
	calltable "aios/kernel/abi/table"
)

// registers are those of the arguments behind the handle.
var registers = [...]string{"RSI", "RDX", "R10", "R8", "R9"}

// calls is the table of system calls, from the one that they are made from.
func calls() string {
	var rows [][]string
	for _, c := range calltable.Calls {
		var args []string
		for i, a := range c.Args {
			arrow := map[calltable.Class]string{calltable.In: " (in)", calltable.Handles: " (in)", calltable.Out: " (out)"}[a.Class]
			args = append(args, registers[i]+" "+a.Name+arrow)
		}
		rows = append(rows, []string{
			fmt.Sprintf("`%#x`", c.Number), c.Name, or(c.Type, "any"), or(c.Right, "none"), or(strings.Join(args, ", "), "-"),
			c.Result, or(strings.Join(c.Errors, ", "), "-"), calltable.AuditClasses[c.Audit].Name, c.Doc,
		})
	}
	return table([]string{"number", "call", "handle (RDI)", "right", "further arguments", "result (RAX)", "errors besides", "audit", "what it does"}, rows)
}

// audit is the table of audit classes.
func audit() string {
	var rows [][]string
	for _, a := range calltable.AuditClasses {
		rows = append(rows, []string{a.Name, a.Doc})
	}
	return table([]string{"audit class", "a call that was let through is"}, rows)
}

func or(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

// errnos is the table of errors.
func errnos() string {
	var rows [][]string
	for _, e := range calltable.Errnos {
		rows = append(rows, []string{strconv.Itoa(int(e.Value)), e.Name, e.Linux, e.Text})
	}
	return table([]string{"number", "name", "Linux", "meaning"}, rows)
}

// rights is the table of object types and of what each right admits.
func rights() string {
	var rows [][]string
	for _, t := range calltable.Types {
		var use []string
		for _, c := range calltable.Calls {
			if c.Type == t.Name {
				use = append(use, c.Name+" ("+or(c.Right, "no right")+")")
			}
		}
		rows = append(rows, []string{strconv.Itoa(int(t.Value)), t.Name, strings.Join(use, ", ")})
	}
	return table([]string{"type", "name", "calls that take it, and the right that each needs"}, rows)
}

// handoffLayout is the layout of the hand-over structure: the layout test of
// boot/handoff holds the Go structure to the bytes.
func handoffLayout(root string) (string, error) {
	f, err := parse(root, "boot/handoff/handoff.go")
	if err != nil {
		return "", err
	}
	comments, err := f.fields("Info")
	if err != nil {
		return "", err
	}
	var rows [][]string
	typ := reflect.TypeFor[handoff.Info]()
	for i := range typ.NumField() {
		field := typ.Field(i)
		kind := field.Type.String()
		switch kind {
		case "uint64":
			kind = "u64"
		case "[40]handoff.Blob":
			kind = fmt.Sprintf("%d x (name [32]byte, phys u64, size u64)", handoff.MaxBlobs)
		default:
			kind = strings.ReplaceAll(kind, "uint8", "byte")
		}
		rows = append(rows, []string{strconv.Itoa(int(field.Offset)), field.Name, kind, comments[i].comment})
	}
	if typ.Size() != handoff.EncodedSize {
		return "", fmt.Errorf("handoff.Info has %d bytes, encoded %d", typ.Size(), handoff.EncodedSize)
	}
	return table([]string{"offset", "field", "type", "meaning"}, rows), nil
}

// taggedExample shows one measurement, byte for byte.
func taggedExample(text string) string {
	data := measure.AppendTagged(nil, text)
	digest := sha256.Sum256(data)
	value := sha256.Sum256(append(make([]byte, sha256.Size), digest[:]...))
	return fmt.Sprintf("```\ntext                    %s\nevent data              % x\nsha256 digest           %x\nPCR, extended from zero %x\n```\n", text, data, digest, value)
}
