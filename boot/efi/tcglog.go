package efi

import (
	"encoding/binary"
	"fmt"
)

// Bounds of a log that is worth handing over. Firmware logs are some tens of kilobytes.
const (
	maxLog      = 4 << 20
	maxLogEvent = 1 << 20
)

// algorithms is the digest size of each bank, from the log's first event.
type algorithms map[uint16]int

// specID reads the first event of a crypto-agile log: a TCG_PCClientPCREvent with a TCG_EfiSpecIdEvent (PFP 10.4.5.1).
// It returns its size and the digest sizes.
func specID(b []byte) (int, algorithms, error) {
	const header = 32 // pcrIndex, eventType, SHA-1 digest, eventDataSize
	const signature = "Spec ID Event03\x00"
	if len(b) < header+28 {
		return 0, nil, fmt.Errorf("event log: %d bytes, too short for its first event", len(b))
	}
	size := uint64(binary.LittleEndian.Uint32(b[28:]))
	if size < 28 || size > uint64(len(b)-header) || size > maxLogEvent {
		return 0, nil, fmt.Errorf("event log: first event of %d bytes", size)
	}
	data := b[header : header+size]
	if string(data[:16]) != signature {
		return 0, nil, fmt.Errorf("event log: starts with %q, expected %q of a crypto-agile log", data[:16], signature)
	}
	n := uint64(binary.LittleEndian.Uint32(data[24:]))
	if n == 0 || n > 16 || 28+4*n > size {
		return 0, nil, fmt.Errorf("event log: %d digest algorithms in a first event of %d bytes", n, size)
	}
	algs := algorithms{}
	for i := range n {
		a := data[28+4*i:]
		id, length := binary.LittleEndian.Uint16(a), int(binary.LittleEndian.Uint16(a[2:]))
		if _, twice := algs[id]; twice || length == 0 || length > 64 {
			return 0, nil, fmt.Errorf("event log: digest algorithm %#x of %d bytes", id, length)
		}
		algs[id] = length
	}
	return header + int(size), algs, nil
}

// size tells the length of the TCG_PCR_EVENT2 (PFP 10.2.2) that starts b.
func (a algorithms) size(b []byte) (int, error) {
	if len(b) < 12 {
		return 0, fmt.Errorf("event log: ends within an event header")
	}
	count := binary.LittleEndian.Uint32(b[8:])
	if count == 0 || count > uint32(len(a)) {
		return 0, fmt.Errorf("event log: event with %d digests, the log has %d banks", count, len(a))
	}
	at := 12
	for range count {
		if len(b)-at < 2 {
			return 0, fmt.Errorf("event log: ends within a digest")
		}
		id := binary.LittleEndian.Uint16(b[at:])
		n, ok := a[id]
		if !ok {
			return 0, fmt.Errorf("event log: digest algorithm %#x, which its first event does not list", id)
		}
		at += 2 + n
		if at > len(b) {
			return 0, fmt.Errorf("event log: ends within a digest")
		}
	}
	if len(b)-at < 4 {
		return 0, fmt.Errorf("event log: ends before an event's size")
	}
	size := binary.LittleEndian.Uint32(b[at:])
	at += 4
	if size > maxLogEvent || uint64(size) > uint64(len(b)-at) {
		return 0, fmt.Errorf("event log: event of %d bytes, %d are left", size, len(b)-at)
	}
	return at + int(size), nil
}

// logSize walks the log to the event at offset last, which is its last one, and returns where that ends.
func logSize(b []byte, last int) (int, algorithms, error) {
	at, algs, err := specID(b)
	if err != nil || last == 0 {
		return at, algs, err
	}
	for {
		if at > last {
			return 0, nil, fmt.Errorf("event log: no event starts at %#x, where firmware says the last one is", last)
		}
		n, err := algs.size(b[at:])
		if err != nil {
			return 0, nil, fmt.Errorf("at %#x: %w", at, err)
		}
		if at == last {
			return at + n, algs, nil
		}
		at += n
	}
}

// appendFinalEvents appends the events of the Final Events Table (TCG EFI 7) from number skip on.
func appendFinalEvents(log, table []byte, algs algorithms, skip uint64) ([]byte, error) {
	if len(table) < 16 {
		return log, fmt.Errorf("Final Events Table: %d bytes, expected at least 16", len(table))
	}
	version, count := binary.LittleEndian.Uint64(table), binary.LittleEndian.Uint64(table[8:])
	if version != 1 {
		return log, fmt.Errorf("Final Events Table: version %d, expected 1", version)
	}
	if count < skip || count > maxLog/12 {
		return log, fmt.Errorf("Final Events Table: %d events, expected at least the %d that were there before", count, skip)
	}
	at, from := 16, 16
	for i := range count {
		n, err := algs.size(table[at:])
		if err != nil {
			return log, fmt.Errorf("Final Events Table: event %d: %w", i, err)
		}
		at += n
		if i+1 == skip {
			from = at
		}
	}
	return append(log, table[from:at]...), nil
}
