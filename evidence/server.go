package evidence

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
)

// Handler answers a decoded request. It fills everything but the ID; an error
// becomes an Error in the response, with CodeTPM unless it is an *Error itself.
type Handler interface {
	Handle(ctx context.Context, q *Request) (*Response, error)
}

// Serve answers sessions on rw, one after the other, until reading or writing
// fails or ctx is done; then it returns that error. A request that cannot be
// decoded ends its session only.
func Serve(ctx context.Context, rw io.ReadWriter, h Handler) error {
	r := bufio.NewReader(rw)
	for {
		var open marker
		if err := scan(r, func(m *marker) bool { open = *m; return true }); err != nil {
			return err
		}
		if err := session(ctx, r, rw, h, open); !errors.Is(err, ErrMessage) {
			return err
		}
	}
}

func session(ctx context.Context, r io.Reader, w io.Writer, h Handler, open marker) error {
	if _, err := w.Write(open[:]); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		body, m, err := readFrame(r, MaxRequest)
		if err != nil {
			return err
		}
		if m != nil {
			if *m == open {
				continue // the client's impatience; it has its echo
			}
			open = *m
			if _, err := w.Write(open[:]); err != nil {
				return err
			}
			continue
		}
		var q Request
		if err := decode(body, &q); err != nil {
			return err
		}
		b, err := encode(answer(ctx, h, &q))
		if err != nil {
			return err
		}
		if err := writeFrame(w, b); err != nil {
			return err
		}
	}
}

func answer(ctx context.Context, h Handler, q *Request) *Response {
	resp, err := h.Handle(ctx, q)
	if err == nil && resp == nil {
		err = &Error{CodeRequest, "unknown operation"}
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{CodeTPM, err.Error()}
		}
		// A cut in a character, or any that is none, would not be decoded again.
		resp = &Response{Error: &Error{e.Code, strings.ToValidUTF8(e.Text[:min(len(e.Text), maxText)], "")}}
	}
	resp.ID = q.ID
	return resp
}
