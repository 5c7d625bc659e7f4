package authority

import (
	"bytes"
	"testing"
)

// Whatever is taken for a journal is one: its frames are written again to the same
// bytes, and the state that it leads to survives being written anew.
func FuzzJournal(f *testing.F) {
	whole, steps := history(f)
	f.Add(whole)
	f.Add(whole[:steps[0].size])
	f.Add(whole[:steps[1].size+11])
	f.Add(append(bytes.Clone(whole[:steps[2].size-3]), 0, 0, 0, 0))
	f.Add([]byte(journalMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		again := []byte(journalMagic)
		check := firstCheck()
		end, last, torn, err := replay(b, func(body []byte) error {
			again, check = appendFrame(again, int64(len(again)), check, body)
			return nil
		})
		if err != nil {
			return
		}
		if int(end)+torn != len(b) || !bytes.Equal(again, b[:end]) || check != last {
			t.Fatalf("%x was taken, and is written %x, %d bytes torn", b, again, torn)
		}
		w, err := openBytes(t, b)
		if err != nil {
			return
		}
		before := dump(t, w.a)
		if err := w.a.Compact(); err != nil {
			t.Fatal(err)
		}
		if w.reopen(w.disk); dump(t, w.a) != before {
			t.Fatalf("%x leads to a state that does not survive", b)
		}
	})
}

// Records under checks that are good: nothing that is in them may do harm.
func FuzzRecord(f *testing.F) {
	whole, _ := history(f)
	if _, _, _, err := replay(whole, func(body []byte) error { f.Add(bytes.Clone(body)); return nil }); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeRecord(body)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil || !bytes.Equal(again, body) {
			t.Fatalf("%x was taken, and is written %x, %v", body, again, err)
		}
		b, _ := appendFrame([]byte(journalMagic), int64(len(journalMagic)), firstCheck(), body)
		w, err := openBytes(t, b)
		if err != nil {
			return
		}
		w.a.Orders("host-1")
		w.host("host-1").request()
		before := dump(t, w.a)
		if err := w.a.Compact(); err != nil {
			t.Fatal(err)
		}
		if w.reopen(w.disk); dump(t, w.a) != before {
			t.Fatalf("%x leads to a state that does not survive", body)
		}
	})
}
