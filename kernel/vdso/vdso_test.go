package vdso

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// find looks the function up as Go's runtime does (runtime/vdso_linux.go), and
// returns its address, 0 if there is none of that name and version.
func find(page []byte, name, wantVersion string, wantHash uint32) uint64 {
	le := binary.LittleEndian
	str := func(strings, at uint64) string {
		s := page[strings+at:]
		return string(s[:bytes.IndexByte(s, 0)])
	}
	var dyn uint64
	loaded := false
	for i := range uint64(le.Uint16(page[56:])) {
		p := le.Uint64(page[32:]) + i*56
		switch le.Uint32(page[p:]) {
		case 1:
			loaded = le.Uint64(page[p+8:]) == 0 && le.Uint64(page[p+16:]) == 0
		case 2:
			dyn = le.Uint64(page[p+8:])
		}
	}
	if !loaded || dyn == 0 {
		return 0
	}
	at := map[uint64]uint64{}
	for ; le.Uint64(page[dyn:]) != 0; dyn += 16 {
		at[le.Uint64(page[dyn:])] = le.Uint64(page[dyn+8:])
	}
	hash, strings, symbols, versym, verdef := at[4], at[5], at[6], at[0x6ffffff0], at[0x6ffffffc]
	index := -1
	for d := verdef; ; d += uint64(le.Uint32(page[d+16:])) {
		aux := d + uint64(le.Uint32(page[d+12:]))
		if le.Uint16(page[d+2:])&1 == 0 && le.Uint32(page[d+8:]) == wantHash && str(strings, uint64(le.Uint32(page[aux:]))) == wantVersion {
			index = int(le.Uint16(page[d+4:]) & 0x7fff)
		}
		if le.Uint32(page[d+16:]) == 0 {
			break
		}
	}
	buckets := uint64(le.Uint32(page[hash:]))
	for i := uint64(le.Uint32(page[hash+8:])); i != 0; i = uint64(le.Uint32(page[hash+8+4*buckets+4*i:])) {
		s := symbols + 24*i
		if page[s+4] == 1<<4|2 && le.Uint16(page[s+6:]) != 0 && str(strings, uint64(le.Uint32(page[s:]))) == name &&
			int(le.Uint16(page[versym+2*i:])) == index {
			return le.Uint64(page[s+8:])
		}
	}
	return 0
}

func TestLookup(t *testing.T) {
	var page [PageSize]byte
	Fill(&page, Clock{Start: 0x1122334455667788, Hz: 3e9, Wall: -5})
	for _, c := range []struct {
		what, name, version string
		hash                uint32
		found               bool
	}{
		{"the function", "__vdso_clock_gettime", "LINUX_2.6", 0x3ae75f6, true},
		{"another function", "__vdso_gettimeofday", "LINUX_2.6", 0x3ae75f6, false},
		{"another version", "__vdso_clock_gettime", "LINUX_2.7", 0x3ae75f7, false},
	} {
		at := find(page[:], c.name, c.version, c.hash)
		if (at != 0) != c.found {
			t.Errorf("%s: found at %#x", c.what, at)
		}
	}
	at := find(page[:], symbol, version, versionHash)
	le := binary.LittleEndian
	f := page[at : at+uint64(len(code))]
	for _, c := range []struct {
		name   string
		at     int
		opcode []byte // that the number belongs to: mov rcx, imm64
		want   uint64
	}{
		{"Start", startAt, []byte{0x48, 0xb9}, 0x1122334455667788},
		{"Hz", hzAt, []byte{0x48, 0xb9}, 3e9},
		{"Wall", wallAt, []byte{0x48, 0xb9}, 1<<64 - 5},
	} {
		if !bytes.Equal(f[c.at-2:c.at], c.opcode) || le.Uint64(f[c.at:]) != c.want {
			t.Errorf("%s: % x", c.name, f[c.at-2:c.at+8])
		}
	}
	if f[0x03] != 0x77 || int(f[0x04])+5 != len(code)-8 || !bytes.Equal(f[len(f)-8:], []byte{0xb8, 228, 0, 0, 0, 0x0f, 0x05, 0xc3}) {
		t.Error("what the function does not know does not end in the system call")
	}
}

func TestNoAllocation(t *testing.T) {
	var page [PageSize]byte
	if n := testing.AllocsPerRun(10, func() { Fill(&page, Clock{Hz: 1}) }); n != 0 {
		t.Errorf("Fill allocates %v times; there is no heap when the kernel calls it", n)
	}
}
