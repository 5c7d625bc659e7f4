package authority

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"aios/captoken"
	"aios/verifier/quote"
)

// BenchmarkGrant is what a renewal costs: with a lease alone, and with a token too, in
// memory and on the disk, where the sync is nearly all of it.
func BenchmarkGrant(b *testing.B) {
	for _, c := range []struct {
		name   string
		agents []string
		folder bool
	}{{"lease", nil, false}, {"lease and token", []string{"a"}, false}, {"lease, on the disk", nil, true}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b)
			if c.folder {
				d, err := OpenFolder(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				defer d.Close()
				w.config.Create = true
				if w.a, err = Open(d, w.config); err != nil {
					b.Fatal(err)
				}
				defer w.a.Close()
			}
			h := w.host("host-1")
			b.ReportAllocs()
			for b.Loop() {
				if len(c.agents) > 0 {
					w.tick(DefaultTokenLife) // so that each time a token is due
				}
				if _, err := w.a.Grant(w.verdict("host-1"), h.request(c.agents...)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCommand is verifying an operator's command and carrying it out.
func BenchmarkCommand(b *testing.B) {
	w := newWorld(b)
	w.host("host-1").attest("a")
	for b.Loop() {
		b.StopTimer()
		raw := w.command(captoken.Target{Agent: "z", Host: "host-1"})
		b.StartTimer()
		if _, err := w.a.Command(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReceipt is verifying a receipt and its quote, up to the last check.
func BenchmarkReceipt(b *testing.B) {
	w := newWorld(b)
	tpm, ak, measured := newTPM(b, 1)
	h := w.host("host-1")
	v := w.verdict("host-1")
	v.Measured = measured
	if _, err := w.a.Grant(v, h.request("a")); err != nil {
		b.Fatal(err)
	}
	k := w.kill(captoken.Target{Host: "host-1"}).Push[0].Kills[0]
	encoded, err := (&captoken.Receipt{Host: "host-1", Boot: h.boot, Agent: "a", Cause: captoken.CauseCommand, Command: k.Command, Gone: time.Second}).Encode()
	if err != nil {
		b.Fatal(err)
	}
	want := captoken.ReceiptQuote(k.Nonce, captoken.ReceiptHash(encoded))
	attest, sig, err := tpm.Quote(want[:])
	if err != nil {
		b.Fatal(err)
	}
	w.disk.room = 0 // so that it is never taken for done
	for b.Loop() {
		if _, err := w.a.Receipt("host-1", ak, encoded, &quote.Quote{Attest: attest, Signature: sig, PCRs: tpm.PCRs}); !errors.Is(err, ErrStore) {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is a start with a journal of a thousand hosts, each with a token.
func BenchmarkOpen(b *testing.B) {
	w := newWorld(b)
	for i := range 1000 {
		w.host(fmt.Sprintf("host-%d", i)).attest("a")
	}
	whole := w.disk.files[journalName].data
	b.SetBytes(int64(len(whole)))
	for b.Loop() {
		if _, err := openBytes(b, whole); err != nil {
			b.Fatal(err)
		}
	}
}
