package main

import (
	"crypto/sha256"
	"fmt"
	"go/ast"
	"reflect"
	"strconv"
	"strings"

	"aios/boot/handoff"
	"aios/boot/measure"
	"aios/kernel/abi"
)

// registers are those of the arguments behind the handle.
var registers = [...]string{"RSI", "RDX", "R10", "R8", "R9"}

// calls is the table of system calls, from abi.Calls.
func calls() string {
	var rows [][]string
	for _, c := range abi.Calls {
		handle := "any"
		if c.Type != abi.TypeNone {
			handle = c.Type.String()
		}
		right := "none"
		if c.Right != 0 {
			right = c.Right.String()
		}
		var args []string
		for i, a := range c.Args {
			arrow := ""
			switch a.Kind {
			case abi.In:
				arrow = " (in)"
			case abi.Out:
				arrow = " (out)"
			}
			args = append(args, registers[i]+" "+a.Name+arrow)
		}
		var errs []string
		for _, e := range c.Errors {
			errs = append(errs, errnoName(e))
		}
		rows = append(rows, []string{
			fmt.Sprintf("`%#x`", uint64(c.Number)), c.Name, handle, right, dash(strings.Join(args, ", ")),
			c.Result, dash(strings.Join(errs, ", ")), c.Doc,
		})
	}
	return table([]string{"number", "call", "handle (RDI)", "right", "further arguments", "result (RAX)", "errors besides", "what it does"}, rows)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// errnoNames are the identifiers of the constants in kernel/abi/errno.go;
// errnoTable holds them to that file.
var errnoNames = map[abi.Errno]string{
	abi.Permission: "Permission", abi.NoEntry: "NoEntry", abi.NoProcess: "NoProcess", abi.Interrupted: "Interrupted", abi.IO: "IO",
	abi.BadHandle: "BadHandle", abi.Again: "Again", abi.NoMemory: "NoMemory", abi.Denied: "Denied", abi.Fault: "Fault",
	abi.Exists: "Exists", abi.NoDevice: "NoDevice", abi.Invalid: "Invalid", abi.TooManyFiles: "TooManyFiles", abi.Pipe: "Pipe",
	abi.NoCall: "NoCall", abi.TooDeep: "TooDeep", abi.MessageSize: "MessageSize", abi.WrongType: "WrongType", abi.TimedOut: "TimedOut", abi.Canceled: "Canceled",
	abi.Quota: "Quota", abi.Lapsed: "Lapsed",
}

func errnoName(e abi.Errno) string {
	if n, ok := errnoNames[e]; ok {
		return n
	}
	return strconv.Itoa(int(e))
}

// errnos is the table of errors, from the constants and their texts.
func errnos(root string) (string, error) {
	f, err := parse(root, "kernel/abi/errno.go")
	if err != nil {
		return "", err
	}
	var rows [][]string
	for _, spec := range valueSpecs(f.file) {
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Errno" {
			continue
		}
		v, err := f.value(spec.Values[0])
		if err != nil {
			return "", err
		}
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			return "", fmt.Errorf("%s = %s: not an error number", spec.Names[0].Name, v)
		}
		e := abi.Errno(n)
		if errnoNames[e] != spec.Names[0].Name {
			return "", fmt.Errorf("error %d is %s in kernel/abi and %q here: correct errnoNames", n, spec.Names[0].Name, errnoNames[e])
		}
		rows = append(rows, []string{strconv.Itoa(int(e)), spec.Names[0].Name, comment(spec.Comment), e.Error()})
	}
	return table([]string{"number", "name", "Linux", "meaning"}, rows), nil
}

// rights is the table of object types and of what each right admits.
func rights() string {
	var rows [][]string
	for t := abi.Type(1); t.String() != "unknown"; t++ {
		var use []string
		for _, c := range abi.Calls {
			if c.Type != t {
				continue
			}
			right := "no right"
			if c.Right != 0 {
				right = c.Right.String()
			}
			use = append(use, c.Name+" ("+right+")")
		}
		rows = append(rows, []string{strconv.Itoa(int(t)), t.String(), strings.Join(use, ", ")})
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
