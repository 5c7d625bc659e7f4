package cbor

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

// Reader takes a message apart, item by item. The first thing that is not as the
// caller expects it ends the reading: every later call returns a zero value, and
// Err says what it was, so that a caller looks once, at the end. Until then it must
// not act on what it has read.
type Reader struct {
	b   []byte
	off int
	err error
}

// NewReader reads b. Strings of bytes that it returns are parts of b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Error says where a message is not what was expected.
type Error struct {
	Offset int
	Reason string
}

func (e *Error) Error() string { return "byte " + strconv.Itoa(e.Offset) + ": " + e.Reason }

// Err is the first thing that was wrong, or nil.
func (r *Reader) Err() error { return r.err }

// Offset is where the next item begins.
func (r *Reader) Offset() int { return r.off }

// Len is how many bytes are left.
func (r *Reader) Len() int { return len(r.b) - r.off }

// End is the last call: it refuses bytes that nobody asked for.
func (r *Reader) End() error {
	if r.err == nil && r.Len() > 0 {
		r.Fail(r.off, "expected the end, found "+strconv.Itoa(r.Len())+" more bytes")
	}
	return r.err
}

// Fail ends the reading for a reason of the caller's.
func (r *Reader) Fail(offset int, reason string) {
	if r.err == nil {
		r.err = &Error{offset, reason}
	}
}

var majors = [8]string{"an unsigned integer", "a negative integer", "a byte string", "a text", "an array", "a map", "a tag", "a simple value or float"}

// head reads the head of an item without moving past it.
func (r *Reader) head() (major byte, n uint64, size int) {
	if r.err != nil {
		return 0, 0, 0
	}
	if r.Len() == 0 {
		r.Fail(r.off, "expected another item, found the end")
		return 0, 0, 0
	}
	first := r.b[r.off]
	major, info := first&0xe0, first&0x1f
	if info < 24 || major == majorSimple { // nobody asks for a simple value, so its argument does not matter
		return major, uint64(info), 1
	}
	if info > 27 {
		r.Fail(r.off, "expected a definite length, found additional information "+strconv.Itoa(int(info)))
		return 0, 0, 0
	}
	size = 1 << (info - 24)
	if r.Len() < 1+size {
		r.Fail(r.off, "expected "+strconv.Itoa(size)+" bytes of argument, found "+strconv.Itoa(r.Len()-1))
		return 0, 0, 0
	}
	for _, c := range r.b[r.off+1 : r.off+1+size] {
		n = n<<8 | uint64(c)
	}
	// The least value that needs so many bytes.
	if least := [...]uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24]; n < least {
		r.Fail(r.off, "expected the shortest form of "+strconv.FormatUint(n, 10)+", found it in "+strconv.Itoa(size)+" bytes")
		return 0, 0, 0
	}
	return major, n, 1 + size
}

// take reads the head of an item of a major type and moves past it.
func (r *Reader) take(major byte) (n uint64, ok bool) {
	found, n, size := r.head()
	if r.err != nil {
		return 0, false
	}
	if found != major {
		r.Fail(r.off, "expected "+majors[major>>5]+", found "+majors[found>>5])
		return 0, false
	}
	r.off += size
	return n, true
}

// Uint reads an unsigned integer.
func (r *Reader) Uint() uint64 {
	n, _ := r.take(majorUint)
	return n
}

// Int reads an integer that an int64 can hold.
func (r *Reader) Int() int64 {
	major, n, size := r.head()
	switch {
	case r.err != nil:
		return 0
	case major != majorUint && major != majorNint:
		r.Fail(r.off, "expected an integer, found "+majors[major>>5])
		return 0
	case n > math.MaxInt64:
		r.Fail(r.off, "expected an integer of 64 bits with a sign, found a larger one")
		return 0
	}
	r.off += size
	if major == majorNint {
		return -1 - int64(n)
	}
	return int64(n)
}

// Bytes reads a byte string of min to max bytes. It is a part of the message.
func (r *Reader) Bytes(min, max int) []byte { return r.str(majorBytes, min, max) }

// Text reads a text of min to max bytes. It is a part of the message.
func (r *Reader) Text(min, max int) []byte {
	at := r.off
	s := r.str(majorText, min, max)
	if !utf8.Valid(s) {
		r.Fail(at, "expected a text in UTF-8")
		return nil
	}
	return s
}

func (r *Reader) str(major byte, min, max int) []byte {
	at := r.off
	n, ok := r.take(major)
	switch {
	case !ok:
		return nil
	case n < uint64(min) || n > uint64(max):
		r.Fail(at, "expected "+majors[major>>5]+" of "+span(min, max)+" bytes, found "+strconv.FormatUint(n, 10))
		return nil
	case n > uint64(r.Len()):
		r.Fail(at, "expected "+strconv.FormatUint(n, 10)+" bytes, found "+strconv.Itoa(r.Len()))
		return nil
	}
	s := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return s
}

// Array reads the head of an array of min to max items.
func (r *Reader) Array(min, max int) int { return r.count(majorArray, "items", min, max) }

func (r *Reader) count(major byte, of string, min, max int) int {
	at := r.off
	n, ok := r.take(major)
	if !ok {
		return 0
	}
	if n < uint64(min) || n > uint64(max) {
		r.Fail(at, "expected "+majors[major>>5]+" of "+span(min, max)+" "+of+", found "+strconv.FormatUint(n, 10))
		return 0
	}
	return int(n)
}

// Tag reads the tag want.
func (r *Reader) Tag(want uint64) {
	at := r.off
	if n, ok := r.take(majorTag); ok && n != want {
		r.Fail(at, "expected tag "+strconv.FormatUint(want, 10)+", found "+strconv.FormatUint(n, 10))
	}
}

// Map is a map that is being read.
type Map struct {
	r    *Reader
	left int
	last []byte // the encoded key before
}

// Map reads the head of a map of min to max pairs.
func (r *Reader) Map(min, max int) *Map {
	return &Map{r: r, left: r.count(majorMap, "pairs", min, max)}
}

// Next reads a key and tells whether there was one. Its value is the next item. The
// keys have to be integers in ascending order of their encodings, so none comes twice.
func (m *Map) Next() (key int64, ok bool) {
	if m.r.err != nil || m.left == 0 {
		return 0, false
	}
	m.left--
	at := m.r.off
	key = m.r.Int()
	if m.r.err != nil {
		return 0, false
	}
	encoded := m.r.b[at:m.r.off]
	if m.last != nil && bytes.Compare(m.last, encoded) >= 0 {
		m.r.Fail(at, "expected keys in ascending order, each once, found "+strconv.FormatInt(key, 10)+" out of place")
		return 0, false
	}
	m.last = encoded
	return key, true
}

func span(min, max int) string {
	if min == max {
		return strconv.Itoa(min)
	}
	return strconv.Itoa(min) + " to " + strconv.Itoa(max)
}
