package eventlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

var le = binary.LittleEndian

// Bounds on what a log may hold; real ones stay far below.
const (
	MaxSize   = 16 << 20
	maxEvents = 65536
	maxBanks  = 16
)

const (
	legacyHeader = 4 + 4 + 20 + 4
	specIDSize   = 16
	specID03     = "Spec ID Event03\x00"
	specID02     = "Spec ID Event02\x00"
	specID00     = "Spec ID Event00\x00"
)

// Parse reads a log to its end. The Log is never nil and holds the events that
// could be read; the error, a *ParseError, says why there are no more.
// Slices in the Log alias b.
func Parse(b []byte) (*Log, error) {
	p := parser{b: b, log: &Log{}}
	if len(b) > MaxSize {
		return p.log, &ParseError{Reason: fmt.Sprintf("log of %d bytes, at most %d", len(b), MaxSize), Kind: ErrFormat}
	}
	err := p.parse()
	p.log.Size = p.off
	return p.log, err
}

type parser struct {
	b   []byte
	off int
	log *Log
	pad int // where the run of equal bytes begins that b ends with
	// digests is where events take their digest lists from: one allocation for many.
	digests []Digest
}

func (p *parser) fail(kind error, format string, a ...any) error {
	return &ParseError{Offset: p.off, Event: len(p.log.Events), Reason: fmt.Sprintf(format, a...), Kind: kind}
}

func (p *parser) parse() error {
	for p.pad = len(p.b); p.pad > 0 && p.b[p.pad-1] == p.b[len(p.b)-1]; {
		p.pad--
	}
	first, n, err := p.legacy()
	if err != nil {
		return err
	}
	p.log.Banks = []Bank{{SHA1, SHA1.Size()}}
	if first.Type == EVNoAction && bytes.HasPrefix(first.Data, []byte(specID03)) {
		if err := p.specID(first.Data); err != nil {
			return err
		}
		p.log.Agile = true
	} else if first.Type == EVNoAction && len(first.Data) >= specIDSize &&
		(bytes.HasPrefix(first.Data, []byte(specID02)) || bytes.HasPrefix(first.Data, []byte(specID00))) {
		p.log.Spec.Signature = string(first.Data[:specIDSize-1])
	}
	// An event of a log from the field takes about 200 bytes.
	p.log.Events = make([]Event, 0, min(len(p.b)/200+8, maxEvents))
	p.digests = make([]Digest, 0, cap(p.log.Events)*len(p.log.Banks))
	p.add(first, n)
	for !p.atEnd() {
		if len(p.log.Events) == maxEvents {
			return p.fail(ErrFormat, "more than %d events", maxEvents)
		}
		next := p.legacy
		if p.log.Agile {
			next = p.agile
		}
		e, n, err := next()
		if err != nil {
			return err
		}
		p.add(e, n)
	}
	return nil
}

func (p *parser) add(e Event, n int) {
	e.Index, e.Offset = len(p.log.Events), p.off
	p.log.Events = append(p.log.Events, e)
	p.off += n
}

// minPadding is how many equal bytes are taken for padding and not for the start
// of an event that was cut off.
const minPadding = 8

// atEnd tells whether nothing but padding is left: firmware fills a log's area
// with 0xff or zero. It is asked at every event, so it must not look at all that
// is left.
func (p *parser) atEnd() bool {
	left := len(p.b) - p.off
	if left == 0 {
		return true
	}
	fill := p.b[p.off]
	return left >= minPadding && p.off >= p.pad && (fill == 0xff || fill == 0)
}

// legacy reads one TCG_PCR_EVENT (PFP 10.2.1) without taking it.
func (p *parser) legacy() (Event, int, error) {
	b := p.b[p.off:]
	if len(b) < legacyHeader {
		return Event{}, 0, p.short(len(b), legacyHeader)
	}
	size := le.Uint32(b[28:])
	if uint64(size) > uint64(len(b)-legacyHeader) {
		return Event{}, 0, p.fail(ErrTruncated, "event data of %d bytes, %d are left", size, len(b)-legacyHeader)
	}
	e := Event{PCR: le.Uint32(b), Type: Type(le.Uint32(b[4:])), Legacy: true, Data: b[legacyHeader : legacyHeader+size : legacyHeader+size]}
	e.Digests = p.take(1)
	e.Digests[0] = Digest{SHA1, b[8:28:28]}
	return e, legacyHeader + int(size), nil
}

// short is the error for an event whose header is cut.
func (p *parser) short(have, want int) error {
	kind := ErrTruncated
	if have < 8 {
		kind = ErrTrailing
	}
	return p.fail(kind, "%d bytes are left, an event takes at least %d", have, want)
}

// agile reads one TCG_PCR_EVENT2 (PFP 10.2.2) without taking it.
func (p *parser) agile() (Event, int, error) {
	b := p.b[p.off:]
	if len(b) < 12 {
		return Event{}, 0, p.short(len(b), 16)
	}
	e := Event{PCR: le.Uint32(b), Type: Type(le.Uint32(b[4:]))}
	count := le.Uint32(b[8:])
	if count > uint32(len(p.log.Banks)) {
		return Event{}, 0, p.fail(ErrFormat, "%d digests, the log's header declares %d banks", count, len(p.log.Banks))
	}
	n := 12
	e.Digests = p.take(int(count))
	for i := range e.Digests {
		if len(b)-n < 2 {
			return Event{}, 0, p.fail(ErrTruncated, "digest %d is cut", i)
		}
		a := Algorithm(le.Uint16(b[n:]))
		size := p.log.size(a)
		if size < 0 {
			return Event{}, 0, p.fail(ErrFormat, "digest %d is of algorithm %v, which the log's header does not declare", i, a)
		}
		n += 2
		if len(b)-n < size {
			return Event{}, 0, p.fail(ErrTruncated, "digest %d (%v) takes %d bytes, %d are left", i, a, size, len(b)-n)
		}
		e.Digests[i] = Digest{a, b[n : n+size : n+size]}
		n += size
	}
	if len(b)-n < 4 {
		return Event{}, 0, p.fail(ErrTruncated, "size of the event data is cut")
	}
	size := le.Uint32(b[n:])
	n += 4
	if uint64(size) > uint64(len(b)-n) {
		return Event{}, 0, p.fail(ErrTruncated, "event data of %d bytes, %d are left", size, len(b)-n)
	}
	e.Data = b[n : n+int(size) : n+int(size)]
	return e, n + int(size), nil
}

func (p *parser) take(n int) []Digest {
	if cap(p.digests)-len(p.digests) < n {
		p.digests = make([]Digest, 0, 64+n)
	}
	at := len(p.digests)
	p.digests = p.digests[:at+n]
	return p.digests[at : at+n : at+n]
}

// size is the digest size that the log declares for a, -1 if it does not.
func (l *Log) size(a Algorithm) int {
	for _, b := range l.Banks {
		if b.Algorithm == a {
			return b.Size
		}
	}
	return -1
}

// specID reads TCG_EfiSpecIDEvent (PFP 10.4.5.1).
func (p *parser) specID(d []byte) error {
	const fixed = specIDSize + 4 + 4 + 4
	if len(d) < fixed {
		return p.fail(ErrTruncated, "Spec ID event of %d bytes, want at least %d", len(d), fixed)
	}
	count := le.Uint32(d[specIDSize+8:])
	if count == 0 || count > maxBanks {
		return p.fail(ErrFormat, "Spec ID event declares %d banks, want 1 to %d", count, maxBanks)
	}
	if len(d) < fixed+4*int(count) {
		return p.fail(ErrTruncated, "Spec ID event of %d bytes cannot hold %d banks", len(d), count)
	}
	var banks []Bank
	for i := range int(count) {
		a, size := Algorithm(le.Uint16(d[fixed+4*i:])), int(le.Uint16(d[fixed+4*i+2:]))
		if known := a.Size(); known != 0 && size != known {
			return p.fail(ErrFormat, "Spec ID event gives %v %d bytes, it has %d", a, size, known)
		}
		if size == 0 || size > 128 {
			return p.fail(ErrFormat, "Spec ID event gives %v %d bytes", a, size)
		}
		for _, b := range banks {
			if b.Algorithm == a {
				return p.fail(ErrFormat, "Spec ID event declares %v twice", a)
			}
		}
		banks = append(banks, Bank{a, size})
	}
	p.log.Banks = banks
	p.log.Spec = Spec{
		Signature: string(d[:specIDSize-1]),
		Minor:     d[specIDSize+4], Major: d[specIDSize+5], Errata: d[specIDSize+6],
	}
	if v := d[fixed+4*int(count):]; len(v) > 0 {
		n := int(v[0])
		if n > len(v)-1 {
			p.log.Warnings = append(p.log.Warnings, fmt.Sprintf("Spec ID event: vendor information of %d bytes, %d are there", n, len(v)-1))
			n = len(v) - 1
		}
		p.log.Spec.VendorInfo = v[1 : 1+n]
	}
	return nil
}
