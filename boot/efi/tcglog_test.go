package efi

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// testLog is a log with a SHA-256 bank and n events, and the offset of the last one.
func testLog(n int) (log []byte, last int) {
	data := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 106, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0)
	log = make([]byte, 28)
	log[4] = 3
	log = binary.LittleEndian.AppendUint32(log, uint32(len(data)))
	log = append(log, data...)
	for i := range n {
		last = len(log)
		log = append(log, testEvent(i)...)
	}
	return log, last
}

func testEvent(i int) []byte {
	e := []byte{byte(i), 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0x0b, 0}
	e = append(e, bytes.Repeat([]byte{byte(i)}, 32)...)
	e = binary.LittleEndian.AppendUint32(e, uint32(i))
	return append(e, make([]byte, i)...)
}

func TestLogSize(t *testing.T) {
	for n := range 5 {
		log, last := testLog(n)
		size, algs, err := logSize(append(bytes.Clone(log), 0xee, 0xee, 0xee), last)
		if err != nil || size != len(log) || algs[0x0b] != 32 {
			t.Errorf("%d events: size %d, want %d: %v", n, size, len(log), err)
		}
	}
}

func TestLogSizeRefuses(t *testing.T) {
	good, last := testLog(3)
	first := 32 + 33
	for _, c := range []struct {
		name  string
		spoil func(b []byte) ([]byte, int)
	}{
		{"empty", func(b []byte) ([]byte, int) { return nil, 0 }},
		{"SHA-1 format", func(b []byte) ([]byte, int) { b[32] = 'X'; return b, last }},
		{"no event at last", func(b []byte) ([]byte, int) { return b, last + 1 }},
		{"last before the second event", func(b []byte) ([]byte, int) { return b, 4 }},
		{"cut in the last event", func(b []byte) ([]byte, int) { return b[:len(b)-1], last }},
		{"cut in a digest", func(b []byte) ([]byte, int) { return b[:first+20], first }},
		{"unknown algorithm", func(b []byte) ([]byte, int) { b[first+12] = 0x0c; return b, last }},
		{"no digest", func(b []byte) ([]byte, int) { b[first+8] = 0; return b, last }},
		{"more digests than banks", func(b []byte) ([]byte, int) { b[first+8] = 2; return b, last }},
		{"huge event", func(b []byte) ([]byte, int) { b[first+12+2+32+3] = 0xff; return b, last }},
		{"huge first event", func(b []byte) ([]byte, int) { b[31] = 0xff; return b, last }},
		{"no algorithms", func(b []byte) ([]byte, int) { b[32+24] = 0; return b, last }},
		{"algorithm without digest", func(b []byte) ([]byte, int) { b[32+30] = 0; return b, last }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, last := c.spoil(bytes.Clone(good))
			if n, _, err := logSize(b, last); err == nil {
				t.Errorf("accepted, size %d", n)
			}
		})
	}
}

func TestAppendFinalEvents(t *testing.T) {
	algs := algorithms{0x0b: 32}
	table := func(version, count uint64, events ...int) []byte {
		b := binary.LittleEndian.AppendUint64(nil, version)
		b = binary.LittleEndian.AppendUint64(b, count)
		for _, e := range events {
			b = append(b, testEvent(e)...)
		}
		return append(b, 0xee, 0xee)
	}
	for _, c := range []struct {
		name  string
		table []byte
		skip  uint64
		want  []int
		bad   bool
	}{
		{"none", table(1, 0), 0, nil, false},
		{"all new", table(1, 2, 1, 2), 0, []int{1, 2}, false},
		{"one was in the log", table(1, 3, 1, 2, 3), 1, []int{2, 3}, false},
		{"all were in the log", table(1, 2, 1, 2), 2, nil, false},
		{"fewer than before", table(1, 1, 1), 2, nil, true},
		{"version", table(2, 1, 1), 0, nil, true},
		{"count beyond the events", table(1, 2, 1), 0, nil, true},
		{"absurd count", table(1, 1<<60, 1), 0, nil, true},
		{"too short", []byte{1}, 0, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := []byte("log")
			for _, e := range c.want {
				want = append(want, testEvent(e)...)
			}
			got, err := appendFinalEvents([]byte("log"), c.table, algs, c.skip)
			if (err != nil) != c.bad || !bytes.Equal(got, want) {
				t.Errorf("got %x %v, want %x", got, err, want)
			}
		})
	}
}

// Whatever bytes firmware leaves, walking them ends and stays inside them.
func FuzzLog(f *testing.F) {
	log, last := testLog(4)
	f.Add(log, last)
	f.Add(log[:50], 0)
	f.Fuzz(func(t *testing.T, b []byte, last int) {
		if last < 0 {
			return
		}
		size, algs, err := logSize(b, last)
		if err != nil {
			return
		}
		if size > len(b) || size < last {
			t.Fatalf("size %d of %d bytes, last event at %d", size, len(b), last)
		}
		// A log is its own Final Events Table when it is shifted behind a header.
		if out, err := appendFinalEvents(nil, b, algs, 0); err == nil && len(out) > len(b) {
			t.Fatalf("%d bytes out of %d", len(out), len(b))
		}
	})
}

func FuzzParseTime(f *testing.F) {
	f.Add([]byte{0xea, 7, 11, 23, 8, 30, 15, 0, 0, 0, 0, 0, 0xff, 7, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 16 {
			return
		}
		if got, err := parseTime(b); err == nil && (got.Year() < 1969 || got.Year() > 10000) {
			t.Fatalf("%x is %v", b, got)
		}
	})
}
