package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"aios/captoken"
	"aios/kernel/abi"
)

// Attest answers one typed request from ring 3 (abi.CallAttest): the fields of
// the request go in, those of the response come out. What is wrong with the
// request is abi.Invalid; what is wrong with the TPM is told as it is.
func (r *Root) Attest(_ context.Context, op uint32, request []byte) ([]byte, error) {
	response, err := r.attest(op, request)
	if errors.Is(err, ErrArgument) || errors.Is(err, abi.ErrField) {
		return nil, abi.Invalid
	}
	return response, err
}

// QuoteChallenge quotes over what ring 3 asked for, in the domain of such quotes: none
// passes as one that proves a receipt, whatever the program asked for.
func (r *Root) QuoteChallenge(asked []byte) (Quote, error) {
	d := captoken.ChallengeQuote(asked)
	return r.Quote(d[:])
}

// QuoteReceipt quotes over a receipt of this kernel and the nonce of who wants to see
// it. It is for the kernel alone: the caller answers for the receipt.
func (r *Root) QuoteReceipt(nonce [captoken.NonceSize]byte, receipt []byte) (Quote, error) {
	d := captoken.ReceiptQuote(nonce, captoken.ReceiptHash(receipt))
	return r.Quote(d[:])
}

// Values are the PCR values in one piece, as a response carries them.
func (q *Quote) Values() []byte {
	var b []byte
	for i := range q.PCRs {
		b = append(b, q.PCRs[i][:]...)
	}
	return b
}

func (r *Root) attest(op uint32, request []byte) ([]byte, error) {
	switch op {
	case abi.AttestIdentity:
		if _, err := abi.Fields(request, 0); err != nil {
			return nil, err
		}
		id, err := r.Identity()
		if err != nil {
			return nil, err
		}
		return abi.Message(id.EKCertificate, id.EKPublic, id.AKPublic, id.CreationData, id.CreationAttest, id.CreationSignature), nil
	case abi.AttestActivate:
		f, err := abi.Fields(request, 2)
		if err != nil {
			return nil, err
		}
		secret, err := r.Activate(f[0], f[1])
		if err != nil {
			return nil, err
		}
		return abi.Message(secret), nil
	case abi.AttestQuote:
		f, err := abi.Fields(request, 1)
		if err != nil {
			return nil, err
		}
		if len(f[0]) > MaxNonce {
			return nil, fmt.Errorf("%w: nonce of %d bytes, at most %d", ErrArgument, len(f[0]), MaxNonce)
		}
		q, err := r.QuoteChallenge(f[0])
		if err != nil {
			return nil, err
		}
		return abi.Message(q.Attest, q.Signature, q.Values()), nil
	case abi.AttestRandom:
		f, err := abi.Fields(request, 1)
		if err != nil {
			return nil, err
		}
		if len(f[0]) != 4 {
			return nil, fmt.Errorf("%w: count of %d bytes, want 4", ErrArgument, len(f[0]))
		}
		n := binary.LittleEndian.Uint32(f[0])
		if n > MaxRandom {
			return nil, fmt.Errorf("%w: %d random bytes, at most %d", ErrArgument, n, MaxRandom)
		}
		b, err := r.Random(int(n))
		if err != nil {
			return nil, err
		}
		return abi.Message(b), nil
	}
	return nil, fmt.Errorf("%w: operation %d", ErrArgument, op)
}
