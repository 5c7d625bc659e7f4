package eventlog

import "fmt"

// Builder writes a crypto-agile log. It hashes events into every bank that it
// was made for.
type Builder struct {
	banks []Algorithm
	out   []byte
}

// NewBuilder begins a log with its Spec ID event. Banks are those that can be
// computed here.
func NewBuilder(banks ...Algorithm) (*Builder, error) {
	d := append([]byte(specID03), 0, 0, 0, 0, 0, 2, 0, 2)
	d = le.AppendUint32(d, uint32(len(banks)))
	for _, a := range banks {
		if _, ok := a.appendHash(nil, nil); !ok {
			return nil, fmt.Errorf("bank %v cannot be computed", a)
		}
		d = le.AppendUint16(d, uint16(a))
		d = le.AppendUint16(d, uint16(a.Size()))
	}
	b := &Builder{banks: banks}
	b.out = appendLegacy(nil, &Event{Type: EVNoAction, Digests: []Digest{{SHA1, make([]byte, 20)}}, Data: append(d, 0)})
	return b, nil
}

// Add appends an event whose digests are the hashes of hashed.
func (b *Builder) Add(pcr uint32, t Type, hashed, data []byte) {
	e := Event{PCR: pcr, Type: t, Data: data}
	for _, a := range b.banks {
		h, _ := a.appendHash(nil, hashed)
		e.Digests = append(e.Digests, Digest{a, h})
	}
	b.AddEvent(e)
}

// AddEvent appends an event with the digests that it has.
func (b *Builder) AddEvent(e Event) { b.out = appendAgile(b.out, &e) }

// Bytes is the log so far.
func (b *Builder) Bytes() []byte { return b.out }

// Encode writes the log's events as they were read: for a log without padding
// or damage, Encode gives the bytes that Parse was given.
func (l *Log) Encode() []byte {
	var out []byte
	for i := range l.Events {
		if e := &l.Events[i]; e.Legacy {
			out = appendLegacy(out, e)
		} else {
			out = appendAgile(out, e)
		}
	}
	return out
}

func appendLegacy(out []byte, e *Event) []byte {
	out = le.AppendUint32(out, e.PCR)
	out = le.AppendUint32(out, uint32(e.Type))
	out = append(out, e.Digests[0].Bytes...)
	out = le.AppendUint32(out, uint32(len(e.Data)))
	return append(out, e.Data...)
}

func appendAgile(out []byte, e *Event) []byte {
	out = le.AppendUint32(out, e.PCR)
	out = le.AppendUint32(out, uint32(e.Type))
	out = le.AppendUint32(out, uint32(len(e.Digests)))
	for _, d := range e.Digests {
		out = le.AppendUint16(out, uint16(d.Algorithm))
		out = append(out, d.Bytes...)
	}
	out = le.AppendUint32(out, uint32(len(e.Data)))
	return append(out, e.Data...)
}
