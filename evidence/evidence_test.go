package evidence

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// host answers like a host whose TPM is made of echoes.
type host struct{ fail error }

func (h host) Handle(_ context.Context, q *Request) (*Response, error) {
	if h.fail != nil {
		return nil, h.fail
	}
	switch q.Op {
	case OpHello:
		return &Response{Hello: &Hello{Version: "1", ManifestVersion: 7}}, nil
	case OpActivate:
		return &Response{Secret: append(q.Credential, q.Secret...)}, nil
	case OpChallenge:
		return &Response{Evidence: &Evidence{Attest: q.Nonce, PCRs: make([][]byte, 24), EventLog: make([]byte, 200_000)}}, nil
	case OpIdentity:
		return &Response{Identity: &Identity{EKPublic: []byte("ek")}}, nil
	}
	return nil, nil
}

func serve(t *testing.T, h Handler) net.Conn {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		Serve(t.Context(), c, h)
		c.Close()
	}()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); l.Close(); <-done })
	return c
}

func TestSession(t *testing.T) {
	ctx := t.Context()
	c, err := Dial(ctx, serve(t, host{}))
	if err != nil {
		t.Fatal(err)
	}
	if h, err := c.Hello(ctx); err != nil || h.ManifestVersion != 7 {
		t.Errorf("hello: %v, %v", h, err)
	}
	if id, err := c.Identity(ctx); err != nil || string(id.EKPublic) != "ek" {
		t.Errorf("identity: %v, %v", id, err)
	}
	if s, err := c.Activate(ctx, []byte("a"), []byte("b")); err != nil || string(s) != "ab" {
		t.Errorf("activate: %q, %v", s, err)
	}
	nonce := bytes.Repeat([]byte{9}, NonceSize)
	if e, err := c.Challenge(ctx, nonce); err != nil || !bytes.Equal(e.Attest, nonce) || len(e.EventLog) != 200_000 {
		t.Errorf("challenge: %v", err)
	}
}

// TestStale: a client that comes after another finds what that one left in the
// stream, in both directions.
func TestStale(t *testing.T) {
	for name, left := range map[string][]byte{
		"nothing":                 nil,
		"garbage":                 []byte("garbage that is no frame"),
		"an unfinished frame":     {0, 0, 0x20, 0, 1, 2, 3},
		"half a marker":           magic[:9],
		"a whole request":         append([]byte{0, 0, 0, 9}, 0xa2, 1, 7, 2, 0x65, 'h', 'e', 'l', 'l'),
		"a marker and a question": append(append(append([]byte{}, magic[:]...), make([]byte, 16)...), 0, 0, 0, 1, 0xa0),
	} {
		t.Run(name, func(t *testing.T) {
			conn := serve(t, host{})
			if _, err := conn.Write(left); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			// The unfinished frame swallows markers until it is full.
			if name == "an unfinished frame" {
				conn.Write(bytes.Repeat([]byte{0}, 0x2000-3))
			}
			c, err := Dial(ctx, conn)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Hello(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	ctx := t.Context()
	c, err := Dial(ctx, serve(t, host{fail: errors.New("the TPM is on fire")}))
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := c.Challenge(ctx, nil); !errors.As(err, &e) || e.Code != CodeTPM || e.Text != "the TPM is on fire" {
		t.Errorf("error %v", err)
	}
}

// TestErrorText: whatever a host's error holds, it arrives, and it is printed as
// plain text.
func TestErrorText(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a character at the bound", strings.Repeat("x", maxText-1) + "\u00e9", "host: " + strings.Repeat("x", maxText-1) + " (tpm)"},
		{"no UTF-8", "a\xff\xfeb", "host: ab (tpm)"},
		{"a terminal's commands", "\x1b[2Jgone\r\n", "host: .[2Jgone.. (tpm)"},
		{"empty", "", "host:  (tpm)"},
	} {
		c2, err := Dial(t.Context(), serve(t, host{fail: errors.New(c.text)}))
		if err != nil {
			t.Fatal(err)
		}
		var e *Error
		if _, err := c2.Hello(t.Context()); !errors.As(err, &e) || e.Error() != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestLongAnswer: a host decides how long its answers are, up to a bound.
func TestLongAnswer(t *testing.T) {
	for name, frame := range map[string][]byte{
		"no bytes": {0, 0, 0, 0}, "more than the bound": {0, 0x40, 0, 1}, "a marker's first byte": {0xff, 0, 0, 0},
		"fewer than it says": {0, 0x40, 0, 0, 1, 2, 3}, "one byte": {0, 0, 0, 1, 0xff},
	} {
		a, b := net.Pipe()
		go func() {
			defer b.Close()
			open := make([]byte, markerSize)
			io.ReadFull(b, open)
			b.Write(open)
			readFrame(b, MaxRequest)
			b.Write(frame)
		}()
		c, err := Dial(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := c.Hello(t.Context()); err == nil {
			t.Errorf("%s: taken as %+v", name, h)
		}
		a.Close()
	}
}

func TestDeadline(t *testing.T) {
	a, b := net.Pipe() // nobody answers
	defer b.Close()
	go io.Copy(io.Discard, b)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := Dial(ctx, a); err == nil || err.Error() != "open a session with the host: enough" {
		t.Errorf("error %v", err)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":             {},
		"not a map":         {1},
		"duplicate key":     {0xa2, 1, 7, 1, 7},
		"unknown key":       {0xa3, 1, 7, 2, 0x60, 0x18, 99, 0},
		"indefinite":        {0xbf, 1, 7, 2, 0x60, 0xff},
		"long number":       {0xa2, 1, 0x18, 7, 2, 0x60},
		"keys out of order": {0xa2, 2, 0x60, 1, 7},
		"bytes behind":      {0xa2, 1, 7, 2, 0x60, 0},
	} {
		var q Request
		if err := decode(b, &q); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v, want ErrMessage", name, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	b, _ := encode(&Request{ID: 1, Op: OpChallenge, Nonce: make([]byte, 32)})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var q Request
		if decode(b, &q) != nil {
			return
		}
		again, err := encode(&q)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is taken but re-encodes to %x", b, again)
		}
	})
}

func FuzzResponse(f *testing.F) {
	b, _ := encode(&Response{ID: 1, Evidence: &Evidence{PCRs: make([][]byte, 24)}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Response
		if decode(b, &r) != nil {
			return
		}
		again, err := encode(&r)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is taken but re-encodes to %x", b, again)
		}
	})
}

func FuzzStream(f *testing.F) {
	f.Add(append(append(append([]byte{}, magic[:]...), make([]byte, 16)...), 0, 0, 0, 1, 0xa0))
	f.Fuzz(func(t *testing.T, b []byte) {
		rw := struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}
		Serve(t.Context(), rw, host{})
	})
}
