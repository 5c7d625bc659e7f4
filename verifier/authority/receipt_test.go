package authority

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"aios/captoken"
	"aios/verifier/quote"
	"aios/verifier/quote/tpmtest"
)

// killed is a host with a TPM of which two agents are to be gone.
type killed struct {
	*world
	h    *host
	tpm  *tpmtest.TPM
	ak   *quote.Key
	kill Kill
}

func newKilled(t *testing.T) *killed {
	w := newWorld(t)
	k := &killed{world: w, h: w.host("host-1")}
	var m Measurement
	k.tpm, k.ak, m = newTPM(t, 1)
	v := w.verdict("host-1")
	v.Measured = m
	g, err := w.a.Grant(v, k.h.request("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	k.h.take(g)
	out := w.kill(captoken.Target{Host: "host-1"})
	k.kill = out.Push[0].Kills[0]
	return k
}

func (k *killed) receipt(agent string) captoken.Receipt {
	return captoken.Receipt{Host: "host-1", Boot: k.h.boot, Agent: agent, Instance: 1, Cause: captoken.CauseCommand, Command: k.kill.Command,
		Frames: 7, Handles: 3, Asked: time.Second, Gone: 2 * time.Second}
}

// prove quotes over a receipt as the kernel does.
func (k *killed) prove(t *testing.T, v captoken.Receipt, nonce Nonce) ([]byte, *quote.Quote) {
	t.Helper()
	encoded, err := v.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := captoken.ReceiptQuote(nonce, captoken.ReceiptHash(encoded))
	return encoded, k.quote(t, want[:])
}

func (k *killed) quote(t *testing.T, data []byte) *quote.Quote {
	t.Helper()
	attest, sig, err := k.tpm.Quote(data)
	if err != nil {
		t.Fatal(err)
	}
	return &quote.Quote{Attest: attest, Signature: sig, PCRs: k.tpm.PCRs}
}

func TestReceipt(t *testing.T) {
	k := newKilled(t)
	for i, agent := range []string{"a", "b"} {
		k.tick(20 * time.Millisecond)
		if err := k.tpm.Extend(13, make([]byte, 32)); err != nil { // grows while the host runs
			t.Fatal(err)
		}
		encoded, q := k.prove(t, k.receipt(agent), k.kill.Nonce)
		p, err := k.a.Receipt("host-1", k.ak, encoded, q)
		if err != nil {
			t.Fatal(err)
		}
		if p.Awaited != 1-i || p.Took != time.Duration(i+1)*20*time.Millisecond || p.Receipt.Agent != agent {
			t.Errorf("%s: %+v", agent, p)
		}
		k.reopen(k.disk)
		if p, err := k.a.Receipt("host-1", k.ak, encoded, q); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s a second time: %v, %v", agent, p, err)
		}
	}
	if o := k.a.Orders("host-1"); len(o.Kills) != 0 || !o.All || len(k.a.state.commands) != 0 {
		t.Errorf("after all receipts: %+v, commands %v", o, k.a.state.commands)
	}
	if out := k.world.kill(captoken.Target{Host: "host-1"}); out.Awaited != 0 {
		t.Errorf("%d receipts awaited of agents that are proven to be gone", out.Awaited)
	}
}

// An agent that was let run again before its receipt came can be killed again.
func TestReceiptAfterLift(t *testing.T) {
	k := newKilled(t)
	if err := k.a.Lift(Stop{Host: "host-1"}, "test"); err != nil {
		t.Fatal(err)
	}
	encoded, q := k.prove(t, k.receipt("a"), k.kill.Nonce)
	if _, err := k.a.Receipt("host-1", k.ak, encoded, q); err != nil {
		t.Fatal(err)
	}
	if out := k.world.kill(captoken.Target{Agent: "a", Host: "host-1"}); out.Awaited != 1 {
		t.Errorf("%d receipts awaited, want 1", out.Awaited)
	}
}

func TestReceiptRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		prove func(*killed) ([]byte, *quote.Quote)
		host  string
		want  error
		text  string
	}{
		{"good", nil, "host-1", nil, ""},
		{"another host", nil, "host-2", ErrReceipt, "no lease"},
		{"not a receipt", func(k *killed) ([]byte, *quote.Quote) { return []byte{1}, nil }, "host-1", captoken.ErrForm, ""},
		{"no quote", func(k *killed) ([]byte, *quote.Quote) {
			e, _ := k.prove(t, k.receipt("a"), k.kill.Nonce)
			return e, nil
		}, "host-1", ErrReceipt, "a quote"},
		{"other host in it", func(k *killed) ([]byte, *quote.Quote) {
			v := k.receipt("a")
			v.Host = "host-2"
			return k.prove(t, v, k.kill.Nonce)
		}, "host-1", ErrReceipt, `found "host-2"`},
		{"other boot", func(k *killed) ([]byte, *quote.Quote) {
			v := k.receipt("a")
			v.Boot.ID[0]++
			return k.prove(t, v, k.kill.Nonce)
		}, "host-1", ErrReceipt, "boot expected"},
		{"reset since", func(k *killed) ([]byte, *quote.Quote) {
			k.tpm.ResetCount++
			return k.prove(t, k.receipt("a"), k.kill.Nonce)
		}, "host-1", ErrReceipt, "reset since"},
		{"another cause", func(k *killed) ([]byte, *quote.Quote) {
			v := k.receipt("a")
			v.Cause, v.Command = captoken.CauseExit, captoken.ID{}
			return k.prove(t, v, k.kill.Nonce)
		}, "host-1", ErrReceipt, "cause expected"},
		{"another command", func(k *killed) ([]byte, *quote.Quote) {
			v := k.receipt("a")
			v.Command[0]++
			return k.prove(t, v, k.kill.Nonce)
		}, "host-1", ErrReceipt, "no receipt is due"},
		{"another agent", func(k *killed) ([]byte, *quote.Quote) {
			return k.prove(t, k.receipt("c"), k.kill.Nonce)
		}, "host-1", ErrReceipt, "no receipt is due"},
		{"another nonce", func(k *killed) ([]byte, *quote.Quote) {
			return k.prove(t, k.receipt("a"), Nonce{1})
		}, "host-1", quote.ErrNonce, ""},
		{"the hash without domain and nonce", func(k *killed) ([]byte, *quote.Quote) {
			e, _ := k.prove(t, k.receipt("a"), k.kill.Nonce)
			h := captoken.ReceiptHash(e)
			return e, k.quote(t, h[:])
		}, "host-1", quote.ErrNonce, ""},
		{"quote of another receipt", func(k *killed) ([]byte, *quote.Quote) {
			_, q := k.prove(t, k.receipt("b"), k.kill.Nonce)
			e, _ := k.prove(t, k.receipt("a"), k.kill.Nonce)
			return e, q
		}, "host-1", quote.ErrNonce, ""},
		{"another TPM", func(k *killed) ([]byte, *quote.Quote) {
			k.tpm, _, _ = newTPM(t, 1)
			return k.prove(t, k.receipt("a"), k.kill.Nonce)
		}, "host-1", quote.ErrSignature, ""},
		{"another system", func(k *killed) ([]byte, *quote.Quote) {
			if err := k.tpm.Extend(9, bytes.Repeat([]byte{1}, 32)); err != nil {
				t.Fatal(err)
			}
			return k.prove(t, k.receipt("a"), k.kill.Nonce)
		}, "host-1", ErrReceipt, "another system"},
		{"PCR values altered", func(k *killed) ([]byte, *quote.Quote) {
			e, q := k.prove(t, k.receipt("a"), k.kill.Nonce)
			q.PCRs[9] = bytes.Repeat([]byte{1}, 32)
			return e, q
		}, "host-1", quote.ErrPCRs, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKilled(t)
			if c.prove == nil {
				c.prove = func(k *killed) ([]byte, *quote.Quote) { return k.prove(t, k.receipt("a"), k.kill.Nonce) }
			}
			encoded, q := c.prove(k)
			p, err := k.a.Receipt(c.host, k.ak, encoded, q)
			if (p == nil) != (c.want != nil) || !errors.Is(err, c.want) || err != nil && (!errors.Is(err, ErrReceipt) || !strings.Contains(err.Error(), c.text)) {
				t.Errorf("%v, %v, want %v that says %q", p, err, c.want, c.text)
			}
			if due := len(k.a.Orders("host-1").Kills[0].Agents); due != 2 && c.want != nil {
				t.Errorf("%d receipts are due, want 2", due)
			}
		})
	}
}

// A boot ends what was to be proven of the one before.
func TestReceiptAfterBoot(t *testing.T) {
	for name, reboot := range map[string]func(*host){
		"of the TPM too":     func(h *host) { h.reboot(2) },
		"of the kernel":      func(h *host) { h.boot.ID[0]++; h.state = leaseState(h) },
		"as the TPM says it": func(h *host) { h.boot.ResetCount++; h.state = leaseState(h) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKilled(t)
			encoded, q := k.prove(t, k.receipt("a"), k.kill.Nonce)
			k.tick(time.Second)
			reboot(k.h)
			if g := k.h.attest("a"); len(g.Orders.Kills) != 0 || !g.Orders.All || len(g.Tokens) != 0 {
				t.Errorf("after a boot: %+v", g.Orders)
			}
			if _, err := k.a.Receipt("host-1", k.ak, encoded, q); !errors.Is(err, ErrReceipt) {
				t.Errorf("a receipt of the boot before: %v", err)
			}
		})
	}
}
