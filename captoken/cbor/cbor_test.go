package cbor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	second "github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

var (
	secondEncoder, _ = second.CoreDetEncOptions().EncMode()
	secondDecoder, _ = second.DecOptions{DupMapKey: second.DupMapKeyEnforcedAPF, IndefLength: second.IndefLengthForbidden, UTF8: second.UTF8RejectInvalid}.DecMode()
)

// What we write is what the second implementation writes, and we read it back.
func TestAgreesWithSecondImplementation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, v := range []any{
			rapid.Uint64().Draw(t, "uint"), rapid.Int64().Draw(t, "int"),
			rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes"), rapid.StringN(0, 100, 300).Draw(t, "text"),
		} {
			var ours []byte
			switch v := v.(type) {
			case uint64:
				ours = AppendUint(nil, v)
			case int64:
				ours = AppendInt(nil, v)
			case []byte:
				ours = AppendBytes(nil, v)
			case string:
				ours = AppendText(nil, v)
			}
			theirs, err := secondEncoder.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(ours, theirs) {
				t.Fatalf("%v: %x, the second implementation writes %x", v, ours, theirs)
			}
			r := NewReader(ours)
			switch v := v.(type) {
			case uint64:
				if got := r.Uint(); got != v {
					t.Fatalf("%d was read as %d", v, got)
				}
			case int64:
				if got := r.Int(); got != v {
					t.Fatalf("%d was read as %d", v, got)
				}
			case []byte:
				if got := r.Bytes(0, 300); !bytes.Equal(got, v) {
					t.Fatalf("%x was read as %x", v, got)
				}
			case string:
				if got := r.Text(0, 300); string(got) != v {
					t.Fatalf("%q was read as %q", v, got)
				}
			}
			if err := r.End(); err != nil {
				t.Fatal(err)
			}
		}
		m := rapid.MapOfN(rapid.Int64(), rapid.Uint64(), 0, 40).Draw(t, "map")
		theirs, err := secondEncoder.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(theirs)
		pairs := r.Map(0, 40)
		again := AppendMap(nil, len(m))
		for key, ok := pairs.Next(); ok; key, ok = pairs.Next() {
			v := r.Uint()
			if v != m[key] {
				t.Fatalf("key %d: %d, want %d", key, v, m[key])
			}
			again = AppendUint(AppendInt(again, key), v)
		}
		if err := r.End(); err != nil || !bytes.Equal(again, theirs) {
			t.Fatalf("a map of the second implementation: %v, written again %x, was %x", err, again, theirs)
		}
	})
}

func TestReaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		read      func(*Reader)
		want      string
	}{
		{"nothing", "", func(r *Reader) { r.Uint() }, "found the end"},
		{"not shortest, one byte", "1817", func(r *Reader) { r.Uint() }, "shortest"},
		{"not shortest, two bytes", "1900ff", func(r *Reader) { r.Uint() }, "shortest"},
		{"not shortest, four bytes", "1a0000ffff", func(r *Reader) { r.Uint() }, "shortest"},
		{"not shortest, eight bytes", "1b00000000ffffffff", func(r *Reader) { r.Uint() }, "shortest"},
		{"not shortest length", "580100", func(r *Reader) { r.Bytes(0, 9) }, "shortest"},
		{"argument cut", "1901", func(r *Reader) { r.Uint() }, "2 bytes of argument"},
		{"reserved", "1c", func(r *Reader) { r.Uint() }, "additional information 28"},
		{"indefinite bytes", "5f4100ff", func(r *Reader) { r.Bytes(0, 9) }, "definite"},
		{"indefinite array", "9fff", func(r *Reader) { r.Array(0, 9) }, "definite"},
		{"indefinite map", "bfff", func(r *Reader) { r.Map(0, 9) }, "definite"},
		{"bytes cut", "4200", func(r *Reader) { r.Bytes(0, 9) }, "expected 2 bytes, found 1"},
		{"bytes of 2^64-1", "5bffffffffffffffff", func(r *Reader) { r.Bytes(0, 9) }, "0 to 9"},
		{"bytes too short", "41ff", func(r *Reader) { r.Bytes(2, 9) }, "2 to 9"},
		{"array too long", "8a", func(r *Reader) { r.Array(0, 9) }, "0 to 9"},
		{"map of 2^64-1", "bbffffffffffffffff", func(r *Reader) { r.Map(0, 9) }, "0 to 9"},
		{"other type", "6161", func(r *Reader) { r.Bytes(0, 9) }, "a byte string, found a text"},
		{"float", "f90000", func(r *Reader) { r.Int() }, "simple value or float"},
		{"int too large", "3bffffffffffffffff", func(r *Reader) { r.Int() }, "larger"},
		{"other tag", "d3", func(r *Reader) { r.Tag(18) }, "tag 18, found 19"},
		{"not UTF-8", "61ff", func(r *Reader) { r.Text(0, 9) }, "UTF-8"},
		{"keys descending", "a202000100", readMap, "ascending"},
		{"key twice", "a201000100", readMap, "ascending"},
		{"negative key before", "a220000100", readMap, "ascending"},
		{"text as key", "a1616100", readMap, "integer"},
		{"more after", "0000", func(r *Reader) { r.Uint() }, "1 more bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := hex.DecodeString(c.hex)
			if err != nil {
				t.Fatal(err)
			}
			r := NewReader(b)
			c.read(r)
			var e *Error
			if err := r.End(); !errors.As(err, &e) || !strings.Contains(e.Reason, c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func readMap(r *Reader) {
	m := r.Map(0, 9)
	for _, ok := m.Next(); ok; _, ok = m.Next() {
		r.Uint()
	}
}

// After the first error nothing is read any more.
func TestErrorStays(t *testing.T) {
	r := NewReader([]byte{0x41, 0x07, 0x05})
	if v := r.Uint(); v != 0 || r.Err() == nil {
		t.Fatal("a byte string was read as an integer")
	}
	first := r.Err()
	if r.Uint() != 0 || r.Int() != 0 || r.Bytes(0, 9) != nil || r.Array(0, 9) != 0 || r.Err() != first {
		t.Error("the reader went on after an error")
	}
	if _, ok := r.Map(0, 9).Next(); ok || r.End() != first {
		t.Error("the reader went on after an error")
	}
}

func TestReaderAllocatesNothing(t *testing.T) {
	b := AppendMap(nil, 2)
	b = AppendBytes(AppendInt(b, 1), make([]byte, 200))
	b = AppendUint(AppendInt(b, math.MinInt64), 7)
	if n := testing.AllocsPerRun(100, func() {
		r := Reader{b: b}
		m := Map{r: &r, left: r.count(majorMap, "pairs", 0, 2)}
		for key, ok := m.Next(); ok; key, ok = m.Next() {
			if key == 1 {
				r.Bytes(0, 200)
			} else {
				r.Uint()
			}
		}
		if r.End() != nil {
			t.Fatal(r.Err())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// walk reads any item of the subset and writes it again.
func walk(r *Reader, out []byte, depth int) []byte {
	major, n, _ := r.head()
	if r.Err() != nil {
		return out
	}
	switch major {
	case majorUint:
		return AppendUint(out, r.Uint())
	case majorNint:
		return AppendInt(out, r.Int())
	case majorBytes:
		return AppendBytes(out, r.Bytes(0, 1<<16))
	case majorText:
		return AppendText(out, string(r.Text(0, 1<<16)))
	case majorArray:
		count := r.Array(0, 64)
		out = AppendArray(out, count)
		for range count {
			if depth == 0 {
				r.Fail(r.Offset(), "too deep")
			}
			if r.Err() != nil {
				break
			}
			out = walk(r, out, depth-1)
		}
		return out
	case majorMap:
		if depth == 0 {
			r.Fail(r.Offset(), "too deep")
			return out
		}
		out = AppendMap(out, int(min(n, 64)))
		m := r.Map(0, 64)
		for key, ok := m.Next(); ok; key, ok = m.Next() {
			out = walk(r, AppendInt(out, key), depth-1)
		}
		return out
	}
	r.Fail(r.Offset(), "not of the subset")
	return out
}

// What is accepted has one encoding, and the second implementation agrees that it is
// well-formed and deterministic.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"00", "3903e7", "43010203", "63616263", "8301020343000102", "a3010203410020f6", "a201020381000a", "d28443a10126a0f640", "1bffffffffffffffff"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		again := walk(r, nil, 8)
		if r.End() != nil {
			return
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x was accepted and is written %x", b, again)
		}
		var v any
		if err := secondDecoder.Unmarshal(b, &v); err != nil {
			t.Fatalf("%x was accepted; the second implementation: %v", b, err)
		}
		theirs, err := secondEncoder.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(theirs, b) {
			t.Fatalf("%x was accepted; the second implementation writes %x", b, theirs)
		}
	})
}
