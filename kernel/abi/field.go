package abi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrField reports a message that does not consist of whole fields.
var ErrField = errors.New("malformed message")

// AppendField appends one field: its length as u32 little endian, then its bytes.
func AppendField(dst, field []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(field)))
	return append(dst, field...)
}

// NextField takes the first field off a message. The field aliases msg.
func NextField(msg []byte) (field, rest []byte, err error) {
	if len(msg) < 4 {
		return nil, nil, fmt.Errorf("%w: %d bytes left, a field needs 4 for its length", ErrField, len(msg))
	}
	n := binary.LittleEndian.Uint32(msg)
	if n > MaxOrder || int(n) > len(msg)-4 {
		return nil, nil, fmt.Errorf("%w: field of %d bytes, but %d are left", ErrField, n, len(msg)-4)
	}
	return msg[4 : 4+n : 4+n], msg[4+n:], nil
}

// Fields splits a message that must hold exactly n fields.
func Fields(msg []byte, n int) ([][]byte, error) {
	if len(msg) > MaxOrder {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrField, len(msg), MaxOrder)
	}
	out := make([][]byte, 0, n)
	for len(out) < n {
		f, rest, err := NextField(msg)
		if err != nil {
			return nil, fmt.Errorf("field %d of %d: %w", len(out)+1, n, err)
		}
		out, msg = append(out, f), rest
	}
	if len(msg) != 0 {
		return nil, fmt.Errorf("%w: %d bytes after field %d", ErrField, len(msg), n)
	}
	return out, nil
}

// Message puts fields together.
func Message(fields ...[]byte) []byte {
	var b []byte
	for _, f := range fields {
		b = AppendField(b, f)
	}
	return b
}
