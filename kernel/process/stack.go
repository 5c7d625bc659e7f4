package process

import (
	"encoding/binary"
	"fmt"
)

// Auxiliary vector entries (psABI 3.4.3).
const (
	auxNull   = 0
	auxPageSz = 6
	auxSecure = 23
	auxRandom = 25
	auxVDSO   = 33 // AT_SYSINFO_EHDR
)

// maxStrings bounds arguments and environment together.
const maxStrings = 64 << 10

// initialStack maps the first thread's stack, writes argc, argv, envp and auxv
// to it (psABI 3.4.1) and returns the stack pointer.
func (m *memory) initialStack(args, env []string, random [16]byte) (uint64, error) {
	m.mu.Lock()
	m.regions.set(stackStart, stackEnd, Read|Write)
	m.mu.Unlock()

	var text []byte
	var offsets []uint64
	for _, s := range append(append([]string{}, args...), env...) {
		offsets = append(offsets, uint64(len(text)))
		text = append(append(text, s...), 0)
	}
	if len(text) > maxStrings {
		return 0, fmt.Errorf("arguments and environment take %d bytes, at most %d", len(text), maxStrings)
	}
	base := uint64(stackEnd) - 16 - uint64(len(text))
	at := base &^ 15
	randomAt := at - 16

	le := binary.LittleEndian
	words := le.AppendUint64(nil, uint64(len(args)))
	for i := range args {
		words = le.AppendUint64(words, base+offsets[i])
	}
	words = le.AppendUint64(words, 0)
	for i := range env {
		words = le.AppendUint64(words, base+offsets[len(args)+i])
	}
	words = le.AppendUint64(words, 0)
	for _, w := range [...]uint64{auxPageSz, pageSize, auxRandom, randomAt, auxSecure, 0, auxVDSO, clockAt, auxNull, 0} {
		words = le.AppendUint64(words, w)
	}
	sp := (randomAt - uint64(len(words))) &^ 15
	for _, part := range []struct {
		va uint64
		b  []byte
	}{{base, text}, {randomAt, random[:]}, {sp, words}} {
		if err := m.copyOut(part.va, part.b); err != nil {
			return 0, fmt.Errorf("write the initial stack: %w", err)
		}
	}
	return sp, nil
}
