package evidence

import (
	"encoding/binary"
	"fmt"
	"io"
)

// magic opens a session. Its first byte is beyond any frame's length.
var magic = [16]byte{0xff, 'A', 'I', 'O', 'S', '-', 'E', 'V', 'I', 'D', 'E', 'N', 'C', 'E', '/', '1'}

const markerSize = 32

type marker [markerSize]byte

func newMarker(nonce [16]byte) marker {
	var m marker
	copy(m[:], magic[:])
	copy(m[16:], nonce[:])
	return m
}

func frame(body []byte) []byte {
	b := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(b, uint32(len(body)))
	return append(b, body...)
}

func writeFrame(w io.Writer, body []byte) error {
	_, err := w.Write(frame(body))
	return err
}

// readFrame reads one frame of at most limit bytes. If a marker stands in its
// place, that is returned instead.
func readFrame(r io.Reader, limit int) (body []byte, m *marker, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, nil, err
	}
	if head[0] == magic[0] {
		var m marker
		copy(m[:], head[:])
		if _, err := io.ReadFull(r, m[4:]); err != nil {
			return nil, nil, err
		}
		if [16]byte(m[:16]) != magic {
			return nil, nil, fmt.Errorf("%w: neither a frame nor a marker", ErrMessage)
		}
		return nil, &m, nil
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > uint32(limit) {
		return nil, nil, fmt.Errorf("%w: frame of %d bytes, at most %d", ErrMessage, n, limit)
	}
	// Grow with what arrives: the length alone makes nobody allocate.
	body, err = io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(body) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	return body, nil, err
}

// scan discards bytes up to the first marker that want accepts.
func scan(r io.Reader, want func(m *marker) bool) error {
	var window marker
	if _, err := io.ReadFull(r, window[:]); err != nil {
		return err
	}
	for {
		if [16]byte(window[:16]) == magic && want(&window) {
			return nil
		}
		copy(window[:], window[1:])
		if _, err := io.ReadFull(r, window[markerSize-1:]); err != nil {
			return err
		}
	}
}
