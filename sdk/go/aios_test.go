package aios

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"aios/kernel/abi"
)

func TestCap(t *testing.T) {
	t.Setenv("AIOS_CAP_GOOD", "0x300000007")
	t.Setenv("AIOS_CAP_BAD", "seven")
	t.Setenv("AIOS_CAP_DECIMAL", "7")
	t.Setenv("AIOS_CAP_LONG", "0x10000000000000000")
	if h, err := Cap("GOOD"); err != nil || h != abi.MakeHandle(7, 3) {
		t.Errorf("%#x, %v", h, err)
	}
	for _, name := range []string{"BAD", "DECIMAL", "LONG"} {
		if _, err := Cap(name); err == nil || !strings.Contains(err.Error(), "is not a handle") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Cap("EVENTLOG"); !errors.Is(err, ErrNotGranted) || !strings.Contains(err.Error(), "caps=eventlog") {
		t.Errorf("%v", err)
	}
}

// On a kernel that is not ours every call fails with NoCall, and says so.
func TestOnAnotherKernel(t *testing.T) {
	var (
		h   abi.Handle = 1
		buf [8]byte
	)
	_, errLog := Log{h}.Write([]byte("x"))
	_, errRead := Stream{h}.Read(buf[:])
	_, errWrite := Stream{h}.Write(buf[:])
	_, errBlob := Blob{h}.ReadAll(10)
	_, errClock := Uptime(h)
	_, errIdentity := Attestor{h}.Identity()
	_, errActivate := Attestor{h}.Activate(nil, nil)
	_, errQuote := Attestor{h}.Quote(buf[:])
	_, errRandom := Attestor{h}.Random(8)
	_, errRaw := Raw(uint64(abi.CallNull), h, 1, 2, 3, 4, 5)
	_, errSend := Endpoint{h}.Send(buf[:], 0, h)
	_, errReceive := Mailbox{h}.Receive(buf[:], Forever)
	for i, err := range []error{errSend, errReceive, Mailbox{h}.Wait(time.Second), Close(h), Null(h), Yield(h), Exit(h, 0), errLog, errRead, errWrite, errBlob, errClock, errIdentity, errActivate, errQuote, errRandom, errRaw} {
		if !errors.Is(err, abi.NoCall) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if n, err := (Stream{h}).Read(nil); n != 0 || err != nil {
		t.Error("an empty read asks nobody")
	}
}

// A call that a signal interrupts is made again, with what is left of its time.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			timeout time.Duration
			want    []uint64
		}{
			{0, []uint64{0, 0, 0}},
			{-1, []uint64{0, 0, 0}},
			{3 * time.Second, []uint64{3e9, 1e9, 0}},
			{Forever, []uint64{abi.Forever, abi.Forever, abi.Forever}},
		} {
			var got []uint64
			err := again(c.timeout, func(ns uint64) error {
				got = append(got, ns)
				if len(got) == len(c.want) {
					return abi.TimedOut
				}
				time.Sleep(2 * time.Second)
				return abi.Interrupted
			})
			if err != abi.TimedOut || !slices.Equal(got, c.want) {
				t.Errorf("%v: %v, %v; want %v", c.timeout, got, err, c.want)
			}
		}
	})
}

func TestOpenEndpoint(t *testing.T) {
	t.Setenv("AIOS_CAP_SEND_JOURNAL_D", "0x100000002")
	if e, err := OpenEndpoint("journal-d"); err != nil || e.Handle != abi.MakeHandle(2, 1) {
		t.Errorf("%#x, %v", e.Handle, err)
	}
	if _, err := OpenEndpoint("netd"); !errors.Is(err, ErrNotGranted) {
		t.Errorf("%v", err)
	}
}

func TestSplitQuote(t *testing.T) {
	pcrs := make([]byte, PCRs*pcrSize)
	for i := range pcrs {
		pcrs[i] = byte(i / pcrSize)
	}
	q, err := splitQuote([][]byte{[]byte("a"), []byte("s"), pcrs})
	if err != nil || string(q.Attest) != "a" || string(q.Signature) != "s" || !bytes.Equal(q.PCRs[23], bytes.Repeat([]byte{23}, 32)) {
		t.Errorf("%v, %v", q, err)
	}
	if _, err := splitQuote([][]byte{nil, nil, pcrs[1:]}); err == nil {
		t.Error("a short list of PCRs was taken")
	}
}

var (
	_ io.ReadWriter = Stream{}
	_ io.Writer     = Log{}
	_ io.ReaderAt   = Blob{}
)
