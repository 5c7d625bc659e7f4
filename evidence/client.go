package evidence

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// repeatMarker is how often an unanswered marker is sent again: the host may
// still be booting, or be inside a frame that a former client left unfinished.
const repeatMarker = 500 * time.Millisecond

// Stream is what a client talks over; closing it must end a pending Read.
type Stream interface {
	io.ReadWriteCloser
}

// Client asks one host, one request at a time.
type Client struct {
	s Stream
	r *bufio.Reader

	mu sync.Mutex
	id uint64
}

// Dial opens a session on s, waiting for the host as long as ctx allows. When
// ctx ends first, s is closed.
func Dial(ctx context.Context, s Stream) (*Client, error) {
	var nonce [16]byte
	rand.Read(nonce[:])
	open := newMarker(nonce)
	c := &Client{s: s, r: bufio.NewReader(s)}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()

	opened := make(chan struct{})
	sent := make(chan error, 1)
	go func() {
		tick := time.NewTicker(repeatMarker)
		defer tick.Stop()
		for {
			if _, err := s.Write(open[:]); err != nil {
				sent <- err
				return
			}
			select {
			case <-opened:
				sent <- nil
				return
			case <-tick.C:
			}
		}
	}()
	err := scan(c.r, func(m *marker) bool { return *m == open })
	close(opened)
	writing := <-sent
	if err := errors.Join(err, writing); err != nil {
		return nil, fmt.Errorf("open a session with the host: %w", cause(ctx, err))
	}
	return c, nil
}

// cause prefers the reason why ctx ended to the error that closing gave.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// ask sends one request and waits for its response. When ctx ends first the
// stream is closed, since it can no longer be told whose answer comes next.
func (c *Client) ask(ctx context.Context, q *Request) (*Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id++
	q.ID = c.id
	b, err := encode(q)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.s.Close() })
	defer stop()
	if err := writeFrame(c.s, b); err != nil {
		return nil, fmt.Errorf("%s: %w", q.Op, cause(ctx, err))
	}
	for {
		body, m, err := readFrame(c.r, MaxResponse)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.Op, cause(ctx, err))
		}
		if m != nil {
			continue // a late echo
		}
		var resp Response
		if err := decode(body, &resp); err != nil {
			return nil, fmt.Errorf("%s: %w", q.Op, err)
		}
		switch {
		case resp.ID != q.ID:
			return nil, fmt.Errorf("%s: %w: answer to request %d, want %d", q.Op, ErrMessage, resp.ID, q.ID)
		case resp.Error != nil:
			return nil, fmt.Errorf("%s: %w", q.Op, resp.Error)
		}
		return &resp, nil
	}
}

// Hello asks who is there.
func (c *Client) Hello(ctx context.Context) (*Hello, error) {
	r, err := c.ask(ctx, &Request{Op: OpHello})
	if err == nil && r.Hello == nil {
		err = missing(OpHello)
	}
	if err != nil {
		return nil, err
	}
	return r.Hello, nil
}

// Identity asks for the TPM's keys and the EK certificate.
func (c *Client) Identity(ctx context.Context) (*Identity, error) {
	r, err := c.ask(ctx, &Request{Op: OpIdentity})
	if err == nil && r.Identity == nil {
		err = missing(OpIdentity)
	}
	if err != nil {
		return nil, err
	}
	return r.Identity, nil
}

// Activate asks the host to open a credential.
func (c *Client) Activate(ctx context.Context, credential, secret []byte) ([]byte, error) {
	r, err := c.ask(ctx, &Request{Op: OpActivate, Credential: credential, Secret: secret})
	if err == nil && r.Secret == nil {
		err = missing(OpActivate)
	}
	if err != nil {
		return nil, err
	}
	return r.Secret, nil
}

// Challenge asks for fresh evidence over nonce.
func (c *Client) Challenge(ctx context.Context, nonce []byte) (*Evidence, error) {
	r, err := c.ask(ctx, &Request{Op: OpChallenge, Nonce: nonce})
	if err == nil && r.Evidence == nil {
		err = missing(OpChallenge)
	}
	if err != nil {
		return nil, err
	}
	return r.Evidence, nil
}

func missing(op string) error {
	return fmt.Errorf("%s: %w: the answer has no content", op, ErrMessage)
}

// Close ends the session and closes the stream.
func (c *Client) Close() error { return c.s.Close() }
