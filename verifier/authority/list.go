package authority

import (
	"errors"
	"fmt"
	"time"

	"aios/captoken"
)

// maxList bounds a signed revocation list, in bytes: a host's kernel takes no longer one
// (abi.MaxOrder). As many ids as a list may have fit, and about a thousand names.
const maxList = 76 << 10

// sign puts a list of the record's sequence and epoch into it.
func (a *Authority) sign(r *record, l captoken.RevocationList) error {
	l.Sequence, l.Epoch, l.IssuedAt = r.Sequence, r.Epoch, time.Unix(r.At/1000, 0).UTC()
	full := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s; raise the epoch, which ends every token and begins an empty list", r.What, ErrFull, fmt.Sprintf(format, args...))
	}
	if n := len(l.Tokens) + len(l.Leases) + len(l.Subjects); n > captoken.MaxRevoked {
		return full("expected at most %d entries, found %d", captoken.MaxRevoked, n)
	}
	signed, err := captoken.MintRevocations(a.c.Key, l)
	if err != nil {
		return fmt.Errorf("%s: sign the revocation list: %w", r.What, err)
	}
	if len(signed) > maxList {
		return full("expected at most %d bytes, found %d", maxList, len(signed))
	}
	r.List = signed
	return nil
}

// resign has the list be one that the present key signed: hosts that trust another key
// than before have to hear of what was revoked too.
func (a *Authority) resign() error {
	l := a.state.list
	if l.Sequence == 0 || l.Issuer == a.c.Key.Public().Thumbprint() {
		return nil
	}
	r := a.revocation("sign the revocation list with another key", "")
	if err := a.sign(r, l); err != nil {
		return err
	}
	return a.commit(r)
}

// checkList says why a record's list cannot follow. In an epoch nothing goes from it.
func (s *state) checkList(r *record) error {
	if len(r.List) == 0 {
		if r.Epoch != s.epoch {
			return errors.New("the epoch rises without a revocation list")
		}
		return nil
	}
	l, err := captoken.ReadRevocations(r.List)
	switch {
	case err != nil:
		return err
	case l.Sequence <= s.list.Sequence || l.Sequence > r.Sequence:
		return fmt.Errorf("sequence of the revocation list expected above %d and at most %d, found %d", s.list.Sequence, r.Sequence, l.Sequence)
	case l.Epoch != r.Epoch:
		return fmt.Errorf("epoch of the revocation list expected %d, found %d", r.Epoch, l.Epoch)
	case l.Epoch > s.list.Epoch:
		return nil
	}
	all := *l
	all.Revoke(s.list.Tokens, s.list.Leases, s.list.Subjects)
	if len(all.Tokens)+len(all.Leases)+len(all.Subjects) != len(l.Tokens)+len(l.Leases)+len(l.Subjects) {
		return errors.New("the revocation list lacks what was revoked in this epoch")
	}
	return nil
}

// Revocations is the newest list and what was signed of it; nil if nothing was ever
// revoked.
func (a *Authority) Revocations() (*captoken.RevocationList, []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.list.Sequence == 0 {
		return nil, nil
	}
	l := a.state.list
	return &l, a.state.signed
}
