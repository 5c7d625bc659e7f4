package main

import "slices"

// A module by hand: WebAssembly 2.0 section 5.5, with just what the tests need.

func leb(n uint32) (b []byte) {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func vec(items ...[]byte) []byte { return append(leb(uint32(len(items))), slices.Concat(items...)...) }

func name(s string) []byte { return append(leb(uint32(len(s))), s...) }

func section(id byte, body []byte) []byte {
	return append(append([]byte{id}, leb(uint32(len(body)))...), body...)
}

// assemble makes a module whose one function is exported under that name.
func assemble(export string, pages, most uint32, code []byte, imports ...[]byte) []byte {
	body := append(append([]byte{0}, code...), 0x0b) // no locals; end
	parts := [][]byte{
		{0, 'a', 's', 'm', 1, 0, 0, 0},
		section(1, vec([]byte{0x60, 0, 0})), // type 0: no parameters, no result
		section(2, vec(imports...)),
		section(3, vec([]byte{0})),
		section(5, vec(slices.Concat([]byte{1}, leb(pages), leb(most)))),
		section(7, vec(slices.Concat(name(export), []byte{0}, leb(uint32(len(imports)))), slices.Concat(name("memory"), []byte{2, 0}))),
		section(10, vec(append(leb(uint32(len(body))), body...))),
	}
	return slices.Concat(parts...)
}

// imported is the import of a function of type 0.
func imported(module, function string) []byte {
	return slices.Concat(name(module), name(function), []byte{0, 0})
}
