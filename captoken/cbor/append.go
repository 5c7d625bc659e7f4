// Package cbor reads and writes the part of CBOR (RFC 8949) that AIOS signs:
// integers, byte strings, texts, arrays, maps with integer keys and tags, in
// core deterministic encoding (section 4.2.1) and in no other.
//
// Capability tokens are parsed in ring 0, from bytes that an agent chose. So the
// reader takes no value before its length was compared with a bound of the caller
// and with what is there, never allocates, never recurses, and uses no reflection:
// the caller asks for one item after the other and states which one it expects.
// One value has one encoding, so whatever is accepted re-encodes to the same bytes.
package cbor

// The major types of RFC 8949 section 3.1.
const (
	majorUint   = 0 << 5
	majorNint   = 1 << 5
	majorBytes  = 2 << 5
	majorText   = 3 << 5
	majorArray  = 4 << 5
	majorMap    = 5 << 5
	majorTag    = 6 << 5
	majorSimple = 7 << 5
)

// appendHead writes a major type and its argument in the shortest form.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return append(b, major|25, byte(n>>8), byte(n))
	case n < 1<<32:
		return append(b, major|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, major|27, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32),
		byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// AppendUint writes an unsigned integer.
func AppendUint(b []byte, v uint64) []byte { return appendHead(b, majorUint, v) }

// AppendInt writes an integer of either sign.
func AppendInt(b []byte, v int64) []byte {
	if v < 0 {
		return appendHead(b, majorNint, uint64(-1-v))
	}
	return appendHead(b, majorUint, uint64(v))
}

// AppendBytes writes a byte string.
func AppendBytes(b, v []byte) []byte { return append(appendHead(b, majorBytes, uint64(len(v))), v...) }

// AppendText writes a text. Precondition: v is valid UTF-8.
func AppendText(b []byte, v string) []byte {
	return append(appendHead(b, majorText, uint64(len(v))), v...)
}

// AppendArray writes the head of an array; its n items follow.
func AppendArray(b []byte, n int) []byte { return appendHead(b, majorArray, uint64(n)) }

// AppendMap writes the head of a map; its n pairs follow, ascending by encoded key.
func AppendMap(b []byte, n int) []byte { return appendHead(b, majorMap, uint64(n)) }

// AppendTag writes a tag; the tagged item follows.
func AppendTag(b []byte, tag uint64) []byte { return appendHead(b, majorTag, tag) }
