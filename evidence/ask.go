package evidence

import (
	"context"
	"fmt"
	"strings"
)

// answerOf takes the part of a response that an operation has.
func answerOf[T any](r *Response, err error, op string, part func(*Response) *T) (*T, error) {
	if err != nil {
		return nil, err
	}
	if v := part(r); v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("%s: %w: the answer has no content", op, ErrMessage)
}

// Hello asks who is there.
func (c *Client) Hello(ctx context.Context) (*Hello, error) {
	r, err := c.ask(ctx, &Request{Op: OpHello})
	return answerOf(r, err, OpHello, func(r *Response) *Hello { return r.Hello })
}

// Identity asks for the TPM's keys and the EK certificate.
func (c *Client) Identity(ctx context.Context) (*Identity, error) {
	r, err := c.ask(ctx, &Request{Op: OpIdentity})
	return answerOf(r, err, OpIdentity, func(r *Response) *Identity { return r.Identity })
}

// Activate asks the host to open a credential.
func (c *Client) Activate(ctx context.Context, credential, secret []byte) ([]byte, error) {
	r, err := c.ask(ctx, &Request{Op: OpActivate, Credential: credential, Secret: secret})
	s, err := answerOf(r, err, OpActivate, func(r *Response) *[]byte {
		if r.Secret == nil {
			return nil
		}
		return &r.Secret
	})
	if err != nil {
		return nil, err
	}
	return *s, nil
}

// Challenge asks for fresh evidence over nonce.
func (c *Client) Challenge(ctx context.Context, nonce []byte) (*Evidence, error) {
	r, err := c.ask(ctx, &Request{Op: OpChallenge, Nonce: nonce})
	return answerOf(r, err, OpChallenge, func(r *Response) *Evidence { return r.Evidence })
}

// Grant brings the host what its verdict is worth.
func (c *Client) Grant(ctx context.Context, g *Grant) (*Granted, error) {
	r, err := c.ask(ctx, &Request{Op: OpGrant, Grant: g})
	return answerOf(r, err, OpGrant, func(r *Response) *Granted { return r.Granted })
}

// Orders tells the host what is good no more, and returns when all of it was done.
func (c *Client) Orders(ctx context.Context, o *Orders) (*Obeyed, error) {
	r, err := c.ask(ctx, &Request{Op: OpOrders, Orders: o})
	return answerOf(r, err, OpOrders, func(r *Response) *Obeyed { return r.Obeyed })
}

// Watch waits for events of a higher number than after. It returns none from time
// to time, which says that the host is there.
func (c *Client) Watch(ctx context.Context, after uint64) (*Events, error) {
	r, err := c.ask(ctx, &Request{Op: OpWatch, After: after})
	return answerOf(r, err, OpWatch, func(r *Response) *Events { return r.Events })
}

// Admit gives the host an enrolment token, which it shows to its verifier. It is
// for the console: who reaches that may say where the host belongs.
func (c *Client) Admit(ctx context.Context, token []byte) error {
	_, err := c.ask(ctx, &Request{Op: OpAdmit, Token: token})
	return err
}

// Refuse tells the host why it is not taken, before the connection is closed. The
// text is cut to what the protocol allows.
func (c *Client) Refuse(ctx context.Context, why string) error {
	_, err := c.ask(ctx, &Request{Op: OpRefuse, Text: strings.ToValidUTF8(why[:min(len(why), maxText)], "")})
	return err
}
