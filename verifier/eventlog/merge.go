package eventlog

import (
	"errors"
	"fmt"
)

// Merge appends the entries of an EFI_TCG2_FINAL_EVENTS_TABLE (TCG EFI Protocol
// 2.0, 7) to a crypto-agile log. The table holds what was measured after the
// log was first asked for, so its first entries may be in the log already:
// the longest run of them that ends the log is left out.
func Merge(log, table []byte) ([]byte, error) {
	l, err := Parse(log)
	if err != nil {
		return nil, err
	}
	if !l.Agile {
		return nil, fmt.Errorf("%w: a legacy log has no final events", ErrFormat)
	}
	if len(table) < 16 {
		return nil, fmt.Errorf("%w: final events table of %d bytes, want at least 16", ErrTruncated, len(table))
	}
	if v := le.Uint64(table); v != 1 {
		return nil, fmt.Errorf("%w: final events table of version %d, want 1", ErrFormat, v)
	}
	count := le.Uint64(table[8:])
	if count > maxEvents {
		return nil, fmt.Errorf("%w: final events table of %d entries, at most %d", ErrFormat, count, maxEvents)
	}
	p := parser{b: table, off: 16, log: &Log{Agile: true, Banks: l.Banks}}
	for range count {
		e, n, err := p.agile()
		if err != nil {
			return nil, errors.Join(errors.New("final events table"), err)
		}
		p.add(e, n)
	}
	final := p.log.Events
	skip := min(len(final), len(l.Events))
	for ; skip > 0; skip-- {
		if sameEvents(l.Events[len(l.Events)-skip:], final[:skip]) {
			break
		}
	}
	out := append([]byte(nil), log[:l.Size]...)
	for i := range final[skip:] {
		out = appendAgile(out, &final[skip+i])
	}
	return out, nil
}

func sameEvents(a, b []Event) bool {
	for i := range a {
		if string(appendAgile(nil, &a[i])) != string(appendAgile(nil, &b[i])) {
			return false
		}
	}
	return true
}
