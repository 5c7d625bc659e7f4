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

// ErrClosed says that the session has ended.
var ErrClosed = errors.New("the session with the host has ended")

// Client asks one host. It is safe for use by several goroutines at once; their
// requests do not wait for each other's answers.
type Client struct {
	s       Stream
	r       *bufio.Reader
	binding [BindingSize]byte

	writing sync.Mutex // one frame at a time

	mu      sync.Mutex
	id      uint64
	waiting map[uint64]chan<- *Response
	err     error         // why no more can be asked
	ended   chan struct{} // closed when err is set
}

func newClient(s Stream, binding [BindingSize]byte) *Client {
	return &Client{s: s, r: bufio.NewReader(s), binding: binding, waiting: map[uint64]chan<- *Response{}, ended: make(chan struct{})}
}

// Dial opens a session on the console stream s, waiting for the host as long as
// ctx allows. When ctx ends first, s is closed.
func Dial(ctx context.Context, s Stream) (*Client, error) {
	var nonce [16]byte
	rand.Read(nonce[:])
	open := newMarker(nonce)
	c := newClient(s, [BindingSize]byte{})
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
	go c.read()
	return c, nil
}

// cause prefers the reason why ctx ended to the error that closing gave.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Binding names the TLS connection, zeros on a console.
func (c *Client) Binding() [BindingSize]byte { return c.binding }

// Done is closed when the session has ended.
func (c *Client) Done() <-chan struct{} { return c.ended }

// read hands out the answers until there can be no more.
func (c *Client) read() {
	for {
		resp, err := c.next()
		if err != nil {
			c.end(err)
			return
		}
		c.mu.Lock()
		answer, asked := c.waiting[resp.ID]
		delete(c.waiting, resp.ID)
		given := resp.ID <= c.id
		c.mu.Unlock()
		switch {
		case asked:
			answer <- resp
		case !given:
			c.end(fmt.Errorf("%w: answer to request %d, which nobody made", ErrMessage, resp.ID))
			return
		} // else whoever asked did not wait for it
	}
}

func (c *Client) next() (*Response, error) {
	for {
		body, m, err := readFrame(c.r, MaxResponse)
		if err != nil {
			return nil, err
		}
		if m != nil {
			continue // a late echo
		}
		var resp Response
		return &resp, decode(body, &resp)
	}
}

// end makes the session useless; the first reason counts.
func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.ended)
	c.s.Close()
}

// ask sends one request and waits for its response. An answer that comes after
// ctx has ended is discarded.
func (c *Client) ask(ctx context.Context, q *Request) (*Response, error) {
	answer := make(chan *Response, 1)
	c.mu.Lock()
	c.id++
	q.ID = c.id
	c.waiting[q.ID] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, q.ID)
		c.mu.Unlock()
	}()
	if err := c.send(ctx, q); err != nil {
		return nil, fmt.Errorf("%s: %w", q.Op, err)
	}
	var resp *Response
	select {
	case resp = <-answer:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", q.Op, context.Cause(ctx))
	case <-c.ended:
		select {
		case resp = <-answer: // it came first
		default:
			return nil, fmt.Errorf("%s: %w", q.Op, c.reason())
		}
	}
	if resp.Error != nil {
		return nil, fmt.Errorf("%s: %w", q.Op, resp.Error)
	}
	return resp, nil
}

// writeGrace is how long a frame that is being written may still take when ctx ends.
const writeGrace = 5 * time.Second

// send writes a frame. When ctx ends in the middle of it, and the rest is not written
// soon, the session is over: nothing more could be sent.
func (c *Client) send(ctx context.Context, q *Request) error {
	b, err := encode(q)
	if err != nil {
		return err
	}
	if len(b) > MaxRequest {
		return fmt.Errorf("%w: request of %d bytes, at most %d", ErrMessage, len(b), MaxRequest)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	written := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		late := time.NewTimer(writeGrace)
		defer late.Stop()
		select {
		case <-written: // the host has it whole, and its answer is discarded
		case <-late.C:
			c.end(context.Cause(ctx))
		}
	})
	defer stop()
	err = writeFrame(c.s, b)
	close(written)
	if err != nil {
		c.end(err)
		return cause(ctx, c.reason())
	}
	return nil
}

// reason says why the session has ended.
func (c *Client) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(c.err, ErrClosed) || errors.Is(c.err, ErrMessage) {
		return c.err
	}
	return fmt.Errorf("%w: %w", ErrClosed, c.err)
}

// Close ends the session and closes the stream.
func (c *Client) Close() error {
	c.end(ErrClosed)
	return nil
}
