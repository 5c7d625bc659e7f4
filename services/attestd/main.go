// Command attestd is the service that proves what its host booted, and that
// brings the host what the proof is worth. It runs in ring 3. It dials the verifier
// that the signed system manifest names, checks that it is the one, and answers its
// requests (package evidence): who the host's TPM is, that the attestation key lives
// in it, and, for each nonce, a quote with the event log that explains it. What the
// verifier grants and orders it hands to the kernel, and the kernel's receipts to
// the verifier.
//
// It is trusted by neither. What it sends is signed by the TPM or replayed against
// what is; leases and tokens are signed by the verifier, and receipts are quoted by
// the kernel. A broken or evil attestd can fail to prove, and can end agents; it can
// neither start one without a token nor keep one alive without a lease.
package main

import (
	"context"
	"fmt"
	"os"

	"aios/boot/manifest"
	"aios/captoken"
	"aios/evidence"
	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// maxEventLog bounds what is read of the event log: a response must fit a frame
// of package evidence with room for the rest.
const maxEventLog = evidence.MaxResponse - (128 << 10)

// version is set by the build.
var version = "dev"

func main() {
	log, err := aios.OpenLog()
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		os.Exit(1)
	}
	if err := run(log); err != nil {
		// The kernel starts the service again if the manifest says so.
		fmt.Fprintf(log, "FAILED reason=%q", err)
		os.Exit(1)
	}
}

func run(log aios.Log) error {
	a, m, err := open()
	if err != nil {
		return err
	}
	channel, err := aios.OpenStream(abi.CapChannel)
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "ready version=%s manifest_version=%d event_log=%d", version, a.manifestVersion, len(a.eventLog))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- evidence.Serve(ctx, channel, console{a}) }()
	if m.Verifier != nil {
		go func() { ended <- a.attest(ctx, log, m.Verifier) }()
	} else {
		fmt.Fprintf(log, "no verifier remedy=%q", "the system manifest names none: this host answers on its console alone, gets no lease and runs no agent")
	}
	return <-ended
}

// open collects what the manifest grants.
func open() (*attester, *manifest.Manifest, error) {
	attestor, err := aios.OpenAttestor()
	if err != nil {
		return nil, nil, err
	}
	clock, err := aios.Cap(abi.CapClock)
	if err != nil {
		return nil, nil, err
	}
	a := &attester{tpm: attestor, admitted: make(chan struct{}, 1)}
	a.uptime = func() uint64 {
		d, err := aios.Uptime(clock)
		if err != nil {
			return 0 // for people only
		}
		return uint64(d)
	}
	if a.eventLog, err = blob(abi.CapEventLog, maxEventLog); err != nil {
		return nil, nil, err
	}
	if a.manifest, err = blob(abi.CapManifest, manifest.MaxSize); err != nil {
		return nil, nil, err
	}
	m, err := manifest.Parse(a.manifest)
	if err != nil {
		return nil, nil, err
	}
	a.manifestVersion = m.Version
	if m.Verifier != nil {
		authority, err := aios.OpenAuthority()
		if err != nil {
			return nil, nil, err
		}
		a.authority = authority
		// A new one with each start, of the kernel's random numbers, and in memory alone:
		// the tokens that the kernel has taken go on, and the next ones are for this key.
		if a.holder, err = captoken.GenerateKey(captoken.MLDSA65); err != nil {
			return nil, nil, err
		}
	}
	return a, m, nil
}

func blob(name string, limit int64) ([]byte, error) {
	b, err := aios.OpenBlob(name)
	if err != nil {
		return nil, err
	}
	return b.ReadAll(limit)
}
