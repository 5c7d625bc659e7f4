package main

import (
	"crypto"
	"os"
	"testing"

	"aios/boot/predict"
	"aios/policy"
	"aios/verifier/appraisal"
	"aios/verifier/quote"

	"github.com/google/go-attestation/attest"
)

// thisHost is the evidence of the host that `make bench` booted.
func thisHost(b *testing.B) (exhibit, *predict.Reference) {
	b.Helper()
	file := os.Getenv(exhibitFile)
	if file == "" {
		b.Fatalf("%s is not set: run this benchmark by `make bench`", exhibitFile)
	}
	x, ref, err := load(file)
	if err != nil {
		b.Fatal(err)
	}
	return x, ref
}

// BenchmarkAppraise is what one verdict costs the verifier, without the signature
// over its result: quote, event log, predictions and policy.
func BenchmarkAppraise(b *testing.B) {
	x, ref := thisHost(b)
	engine, err := policy.Compile(b.Context(), policy.Default())
	if err != nil {
		b.Fatal(err)
	}
	in := appraisal.Input{Evidence: x.Evidence, Nonce: x.Nonce, Host: x.Host, Reference: ref, Policy: engine}
	for b.Loop() {
		v, err := appraisal.Appraise(b.Context(), in)
		if err != nil || !v.Affirming() {
			b.Fatalf("%v: %+v", err, v)
		}
	}
}

func BenchmarkQuote(b *testing.B) {
	x, _ := thisHost(b)
	q := &quote.Quote{Attest: x.Evidence.Attest, Signature: x.Evidence.Signature}
	copy(q.PCRs[:], x.Evidence.PCRs)
	b.Run("ours", func(b *testing.B) {
		key, err := quote.ParseKey(x.Host.AKPublic)
		if err != nil {
			b.Fatal(err)
		}
		want := quote.Policy{Nonce: x.Nonce, Banks: []crypto.Hash{crypto.SHA256}, All: true}
		for b.Loop() {
			if _, err := quote.Verify(key, q, want); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("peer", func(b *testing.B) {
		key, err := attest.ParseAKPublic(x.Host.AKPublic)
		if err != nil {
			b.Fatal(err)
		}
		var pcrs []attest.PCR
		for i, v := range x.Evidence.PCRs {
			pcrs = append(pcrs, attest.PCR{Index: i, Digest: v, DigestAlg: crypto.SHA256})
		}
		for b.Loop() {
			if err := key.Verify(attest.Quote{Quote: q.Attest, Signature: q.Signature}, pcrs, x.Nonce); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkReplayHost(b *testing.B) {
	x, _ := thisHost(b)
	r, err := record(x.Evidence.EventLog)
	if err != nil || !r.replayPeer() {
		b.Fatalf("this host's log: %v, or go-attestation refuses it", err)
	}
	replays(b, []recorded{r})
}
