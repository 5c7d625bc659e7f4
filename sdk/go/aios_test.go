package aios

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

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
	for i, err := range []error{Null(h), Yield(h), Exit(h, 0), errLog, errRead, errWrite, errBlob, errClock, errIdentity, errActivate, errQuote, errRandom, errRaw} {
		if !errors.Is(err, abi.NoCall) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if n, err := (Stream{h}).Read(nil); n != 0 || err != nil {
		t.Error("an empty read asks nobody")
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
