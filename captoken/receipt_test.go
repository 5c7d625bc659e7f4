package captoken

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func testReceipt() Receipt {
	return Receipt{Host: testHost, Boot: testBoot, Agent: testAgent, Instance: 7, Cause: CauseCommand, Command: testID("command"),
		Frames: 16384, Handles: 9, Asked: 12 * time.Second, Gone: 12*time.Second + 3*time.Millisecond}
}

func TestReceipt(t *testing.T) {
	v := testReceipt()
	b, err := v.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseReceipt(b)
	if err != nil {
		t.Fatal(err)
	}
	if *got != v {
		t.Errorf("got  %+v\nwant %+v", *got, v)
	}
	t.Logf("%d bytes, hash %x", len(b), ReceiptHash(b))
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 1
		if got, err := ParseReceipt(bad); err == nil && (*got == v || ReceiptHash(bad) == ReceiptHash(b)) {
			t.Errorf("byte %d may be changed", i)
		}
	}
}

func TestReceiptRefuses(t *testing.T) {
	for name, change := range map[string]func(*Receipt){
		"no host":           func(v *Receipt) { v.Host = "" },
		"no agent":          func(v *Receipt) { v.Agent = "" },
		"no boot":           func(v *Receipt) { v.Boot.ID = ID{} },
		"no cause":          func(v *Receipt) { v.Cause = 0 },
		"unknown cause":     func(v *Receipt) { v.Cause = endOfCauses },
		"no command":        func(v *Receipt) { v.Command = ID{} },
		"command by itself": func(v *Receipt) { v.Cause = CauseLease },
		"gone before asked": func(v *Receipt) { v.Gone = v.Asked - 1 },
		"negative":          func(v *Receipt) { v.Asked = -1 },
	} {
		v := testReceipt()
		change(&v)
		if _, err := v.Encode(); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v, want ErrForm", name, err)
		}
	}
	if _, err := ParseReceipt(make([]byte, MaxReceipt+1)); !errors.Is(err, ErrForm) {
		t.Errorf("too long: %v", err)
	}
}

// No receipt is longer than its bound, which the kernel's ring is made for.
func TestReceiptFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := Receipt{Host: rapid.StringMatching(`[a-z]{64}`).Draw(t, "host"), Boot: Boot{testID("b"), 1<<32 - 1}, Agent: rapid.StringMatching(`[a-z]{64}`).Draw(t, "agent"),
			Instance: rapid.Uint64().Draw(t, "instance"), Cause: CauseCommand, Command: testID("c"), Frames: ^uint64(0), Handles: ^uint64(0), Asked: 1<<63 - 1, Gone: 1<<63 - 1}
		b, err := v.Encode()
		if err != nil || len(b) > MaxReceipt {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
	})
}
