package evidence

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
)

// Handler answers a decoded request. It fills everything but the ID; an error
// becomes an Error in the response, with CodeTPM unless it is an *Error itself.
// Requests of one session are handled at the same time, at most maxRequests.
type Handler interface {
	Handle(ctx context.Context, q *Request) (*Response, error)
}

// maxRequests is how many requests of one session are handled at a time; more wait.
const maxRequests = 16

// Serve answers sessions on the console stream rw, one after the other, until
// reading or writing fails or ctx is done; then it returns that error. A request
// that cannot be decoded ends its session only.
func Serve(ctx context.Context, rw io.ReadWriter, h Handler) error {
	r := bufio.NewReader(rw)
	for {
		var open marker
		if err := scan(r, func(m *marker) bool { open = *m; return true }); err != nil {
			return err
		}
		s := newServer(ctx, rw, h)
		err := s.serve(r, &open)
		s.close()
		if !errors.Is(err, ErrMessage) {
			return err
		}
	}
}

// ServeSecured answers the verifier on a connection that Secure has made, until
// it ends.
func ServeSecured(ctx context.Context, c *Secured, h Handler) error {
	stop := context.AfterFunc(ctx, func() { c.NetConn().Close() })
	defer stop()
	s := newServer(ctx, c, h)
	err := s.serve(bufio.NewReader(c), nil)
	c.NetConn().Close() // so that no answer that is on its way waits for ever
	s.close()
	return cause(ctx, err)
}

// server answers one session.
type server struct {
	ctx    context.Context
	cancel context.CancelFunc
	h      Handler
	slots  chan struct{} // one for each request that is handled
	wg     sync.WaitGroup

	mu  sync.Mutex
	w   io.Writer
	err error // of writing
}

func newServer(ctx context.Context, w io.Writer, h Handler) *server {
	s := &server{h: h, w: w, slots: make(chan struct{}, maxRequests)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// close ends what is still being handled.
func (s *server) close() {
	s.cancel()
	s.wg.Wait()
}

// serve reads requests until one cannot be read. open is the marker of a session
// on a console, nil elsewhere.
func (s *server) serve(r io.Reader, open *marker) error {
	if open != nil {
		if err := s.write(open[:]); err != nil {
			return err
		}
	}
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		body, m, err := readFrame(r, MaxRequest)
		switch {
		case err != nil:
			return err
		case m != nil && open == nil:
			return ErrMessage
		case m != nil && *m == *open:
			continue // the client's impatience; it has its echo
		case m != nil:
			*open = *m
			if err := s.write(open[:]); err != nil {
				return err
			}
			continue
		}
		var q Request
		if err := decode(body, &q); err != nil {
			return err
		}
		s.slots <- struct{}{}
		s.wg.Go(func() {
			defer func() { <-s.slots }()
			s.answer(&q)
		})
	}
}

// write writes one frame or marker whole. After an error there is no further one.
func (s *server) write(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
	return s.err
}

func (s *server) answer(q *Request) {
	resp, err := s.h.Handle(s.ctx, q)
	if err == nil && resp == nil {
		err = &Error{CodeRequest, "unknown operation"}
	}
	if err != nil {
		resp = refusal(err)
	}
	resp.ID = q.ID
	b, err := encode(resp)
	if err == nil && len(b) > MaxResponse {
		resp = refusal(&Error{CodeRequest, "the answer is longer than the protocol allows"})
		resp.ID = q.ID
		b, err = encode(resp)
	}
	if err == nil {
		s.write(frame(b)) // if it fails, reading fails too
	}
}

func refusal(err error) *Response {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{CodeTPM, err.Error()}
	}
	// A cut in a character, or any that is none, would not be decoded again.
	return &Response{Error: &Error{e.Code, strings.ToValidUTF8(e.Text[:min(len(e.Text), maxText)], "")}}
}
