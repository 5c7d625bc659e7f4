package main

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
	"time"

	"aios/captoken/mldsa"
	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/verifier/eventlog"

	second "filippo.io/mldsa"
	"github.com/google/go-attestation/attest"
)

// recorded is a log and the PCRs that it leads to.
type recorded struct {
	log  []byte
	ours map[eventlog.Algorithm]*eventlog.PCRs
	peer []attest.PCR
}

// hashes are the banks that both sides compute.
var hashes = map[eventlog.Algorithm]crypto.Hash{
	eventlog.SHA1: crypto.SHA1, eventlog.SHA256: crypto.SHA256, eventlog.SHA384: crypto.SHA384, eventlog.SHA512: crypto.SHA512,
}

// record replays a log once, for the values that the benchmarks compare with.
func record(log []byte) (r recorded, err error) {
	l, err := eventlog.Parse(log)
	if err != nil {
		return r, err
	}
	r = recorded{log: log, ours: l.Replay()}
	for a, pcrs := range r.ours {
		for i, v := range pcrs {
			if v != nil {
				r.peer = append(r.peer, attest.PCR{Index: i, Digest: v, DigestAlg: hashes[a]})
			}
		}
	}
	return r, nil
}

// replayOurs parses, replays and compares.
func (r *recorded) replayOurs() bool {
	l, err := eventlog.Parse(r.log)
	if err != nil {
		return false
	}
	for a, pcrs := range l.Replay() {
		for i, v := range pcrs {
			if !bytes.Equal(v, r.ours[a][i]) {
				return false
			}
		}
	}
	return true
}

// replayPeer has go-attestation do the same.
func (r *recorded) replayPeer() bool {
	l, err := attest.ParseEventLog(r.log)
	if err != nil {
		return false
	}
	_, err = l.Verify(r.peer)
	return err == nil
}

// recordedLogs are the logs of verifier/eventlog that both accept.
func recordedLogs(t testing.TB) []recorded {
	t.Helper()
	names, err := filepath.Glob("../../verifier/eventlog/testdata/logs/*")
	if err != nil {
		t.Fatal(err)
	}
	var out []recorded
	for _, name := range names {
		log, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := record(log); err == nil && len(r.peer) > 0 && r.replayPeer() {
			out = append(out, r)
		}
	}
	return out
}

// largeLog is a log such as a host writes that measures each file: 10,000
// events in two banks.
func largeLog(t testing.TB) recorded {
	t.Helper()
	b, err := eventlog.NewBuilder(eventlog.SHA256, eventlog.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		data := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		b.Add(uint32(i%16), eventlog.EVIPL, data[:], data[:])
	}
	r, err := record(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Both sides must have done the work: a benchmark that compares with the wrong
// values would measure a refusal.
func TestReplayComparesTheSame(t *testing.T) {
	logs := append(recordedLogs(t), largeLog(t))
	if len(logs) < 10 {
		t.Fatalf("only %d logs are accepted by both", len(logs))
	}
	for i, r := range logs {
		if !r.replayOurs() || !r.replayPeer() {
			t.Errorf("log %d: ours %v, go-attestation %v", i, r.replayOurs(), r.replayPeer())
		}
		wrong := r
		wrong.peer = []attest.PCR{{Index: r.peer[0].Index, DigestAlg: r.peer[0].DigestAlg, Digest: bytes.Repeat([]byte{7}, len(r.peer[0].Digest))}}
		if wrong.replayPeer() {
			t.Errorf("log %d: go-attestation accepts another PCR value", i)
		}
		wrong.ours = map[eventlog.Algorithm]*eventlog.PCRs{}
		for a := range r.ours {
			wrong.ours[a] = new(eventlog.PCRs)
		}
		if wrong.replayOurs() {
			t.Errorf("log %d: our side accepts other PCR values", i)
		}
	}
}

func BenchmarkReplayLogs(b *testing.B)  { replays(b, recordedLogs(b)) }
func BenchmarkReplayLarge(b *testing.B) { replays(b, []recorded{largeLog(b)}) }

// replays measures both sides on logs, one after the other.
func replays(b *testing.B, logs []recorded) {
	for _, side := range []struct {
		name   string
		replay func(*recorded) bool
	}{{"ours", (*recorded).replayOurs}, {"peer", (*recorded).replayPeer}} {
		b.Run(side.name, func(b *testing.B) {
			for b.Loop() {
				for i := range logs {
					if !side.replay(&logs[i]) {
						b.Fatal("not replayed")
					}
				}
			}
			b.ReportMetric(float64(len(logs)), "logs")
		})
	}
}

// signed is a message with a signature that both implementations verify.
type signed struct {
	raw, message, signature []byte
	context                 string
}

func sign(t testing.TB) signed {
	t.Helper()
	k, err := mldsa.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s := signed{raw: k.Public().Bytes(), message: bytes.Repeat([]byte("manifest"), 64), context: "bench"}
	if s.signature, err = k.Sign(s.message, []byte(s.context)); err != nil {
		t.Fatal(err)
	}
	return s
}

func BenchmarkVerify(b *testing.B) {
	s := sign(b)
	b.Run("ours", func(b *testing.B) {
		k, err := mldsa.NewPublicKey(s.raw)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if !k.Verify(s.message, []byte(s.context), s.signature) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("peer", func(b *testing.B) {
		k, err := second.NewPublicKey(second.MLDSA65(), s.raw)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := second.Verify(k, s.message, s.signature, &second.Options{Context: s.context}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseVerify(b *testing.B) {
	s := sign(b)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			k, err := mldsa.NewPublicKey(s.raw)
			if err != nil || !k.Verify(s.message, []byte(s.context), s.signature) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("peer", func(b *testing.B) {
		for b.Loop() {
			k, err := second.NewPublicKey(second.MLDSA65(), s.raw)
			if err == nil {
				err = second.Verify(k, s.message, s.signature, &second.Options{Context: s.context})
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	var lease cap.Lease
	lease.Begin(time.Hour)
	var t cap.Table
	t.Hang(lease.Gate(cap.Terms{Until: time.Hour, Messages: 1, Bytes: 1}), nil)
	h, err := t.Insert(new(int), abi.TypeEndpoint, abi.RightWrite)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() { // everything is looked at: an endpoint's use is metered
		if t.Check(h, abi.TypeEndpoint, abi.RightWrite, time.Minute) != 0 {
			b.Fatal("refused")
		}
	}
}
