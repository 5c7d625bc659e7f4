package main

import (
	"errors"
	"testing"

	"aios/kernel/abi"
)

func TestBounded(t *testing.T) {
	const header = "\x00asm\x01\x00\x00\x00"
	for _, c := range []struct {
		name   string
		module string
		good   bool
	}{
		{"nothing but the header", "", true},
		{"a section that is cut off", "\x01\x05\x01\x60", false},
		{"a section without a length", "\x01", false},
		{"a length without an end", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", false},
		{"types", "\x01\x04\x01\x60\x00\x00", true},
		{"more types than bytes", "\x01\x05\xff\xff\xff\x7f\x60", false},
		{"more parameters than bytes", "\x01\x06\x01\x60\xff\xff\x7f\x00", false},
		{"more results than bytes", "\x01\x06\x01\x60\x00\xff\xff\x7f", false},
		{"an import", "\x02\x07\x01\x01a\x01b\x00\x00", true},
		{"244 million imports", "\x02\x26\xb1\xb1\xb1t_prep", false},
		{"an import with a long name", "\x02\x07\x01\x01a\x7fb\x00\x00", false},
		{"functions", "\x03\x02\x01\x00", true},
		{"more functions than bytes", "\x03\x02\x7f\x00", false},
		{"an export", "\x07\x05\x01\x01a\x00\x00", true},
		{"an export with a long name", "\x07\x05\x01\x7fa\x00\x00", false},
		{"an element", "\x09\x06\x01\x00\x41\x00\x0b\x00", true},
		{"an element with more functions than bytes", "\x09\x06\x01\x00\x41\x00\x0b\x7f", false},
		{"an element without an end of its place", "\x09\x05\x01\x00\x41\x00\x41", false},
		{"code", "\x0a\x04\x01\x02\x00\x0b", true},
		{"data", "\x0b\x08\x01\x00\x41\x00\x0b\x02ab", true},
		{"more data than there is", "\x0b\x08\x01\x00\x41\x00\x0b\x7fab", false},
		{"passive data", "\x0b\x05\x01\x01\x02ab", true},
		{"a count of data segments", "\x0c\x01\x7f", true},
		{"a custom section", "\x00\x03\x01ax", true},
		{"a custom section with a long name", "\x00\x03\x7fax", false},
	} {
		err := bounded([]byte(header + c.module))
		if (err == nil) != c.good || err != nil && !errors.Is(err, errBounds) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// What is run is bounded.
	for _, m := range [][]byte{
		assemble("_start", 1, 1, unreachable),
		assemble("_start", 1, 2, selfCall, imported(hostModule, "log")),
		assemble("_start", 1, uint32(abi.MaxHandles), nothing),
	} {
		if err := bounded(m); err != nil {
			t.Error(err)
		}
	}
}
