package main

import (
	"errors"
	"fmt"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Capabilities: derived, copied, passed on, closed and revoked, by one program and
// between several. Each has an endpoint to all of a case, by their places: P0, P1, P2.

func init() {
	things["derive"] = derive
	things["treeowner"] = treeOwner
	things["treemiddle"] = treeMiddle
	things["treeleaf"] = treeLeaf
	things["leaver"] = leaver
	things["heir"] = heir
}

// player is an endpoint to a program of the case.
func player(i int) aios.Endpoint {
	return aios.Endpoint{Handle: handle(fmt.Sprintf("%sP%d", abi.CapSend, i))}
}

// refused wants an error of the kernel.
func refused(what string, err error, want abi.Errno) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: %v, want %v", what, err, want)
	}
	return nil
}

// try makes a call with arguments that are none; the handle is checked before them.
func try(c abi.Call, h abi.Handle) error {
	_, err := aios.Raw(uint64(c.Number), h, 8, 8, 8, 8, 8)
	return err
}

// dead wants that nothing can be done with a handle: it is none.
func dead(what string, h abi.Handle) error {
	for _, c := range abi.Calls {
		if err := refused(c.Name+" with "+what, try(c, h), abi.BadHandle); err != nil {
			return err
		}
	}
	_, err := aios.Endpoint{Handle: handle(abi.CapSend + "SELF")}.Send([]byte("x"), 0, h)
	return refused("passing on "+what, err, abi.BadHandle)
}

// text reads the first bytes of a blob.
func text(h abi.Handle) (string, error) {
	b := make([]byte, 4)
	_, err := aios.Blob{Handle: h}.ReadAt(b, 0)
	return string(b), err
}

// received is the next message, and not the end of a sender.
func received(timeout time.Duration) (aios.Message, error) {
	box := aios.Mailbox{Handle: handle(abi.CapMailbox)}
	for {
		m, err := box.Receive(make([]byte, 512), timeout)
		if gone := new(aios.GoneError); errors.As(err, &gone) {
			continue
		}
		return m, err
	}
}

// given is the next message, which has to say so and bring so many handles.
func given(what string, handles int) ([]abi.Handle, error) {
	m, err := received(patience)
	if err != nil {
		return nil, err
	}
	if string(m.Data) != what || len(m.Handles) != handles {
		return nil, fmt.Errorf("a message %q with %d handles came, want %q with %d", m.Data, len(m.Handles), what, handles)
	}
	return m.Handles, nil
}

// untilDead waits for the end of a handle that somebody else revokes.
func untilDead(h abi.Handle) error {
	for began := time.Now(); time.Since(began) < patience; {
		if err := aios.Null(h); err != nil {
			return refused("waiting for its end", err, abi.BadHandle)
		}
		if err := aios.Yield(handle(abi.CapSelf)); err != nil {
			return err
		}
	}
	return fmt.Errorf("handle %#x goes on", uint64(h))
}

// rightsOf are those that the case grants.
var rightsOf = map[abi.Type]abi.Rights{
	abi.TypeProcess: abi.RightControl, abi.TypeClock: abi.RightRead, abi.TypeLog: abi.RightWrite,
	abi.TypeAttestor: abi.RightInvoke, abi.TypeBlob: abi.RightRead, abi.TypeEndpoint: abi.RightWrite,
}

// derive derives what it can from a capability of each type, and tries the rest.
func derive() error {
	for typ, name := range granted {
		for rights := range abi.AllRights + 1 {
			d, err := aios.Derive(handle(name), rights)
			switch {
			case !typ.Derivable():
				err = refused("a "+typ.String(), err, abi.WrongType)
			case rights&^rightsOf[typ] != 0:
				err = refused(fmt.Sprintf("%v of a %v that has %v", rights, typ, rightsOf[typ]), err, abi.Denied)
			case err == nil:
				err = errors.Join(narrow(typ, d, rights), aios.Close(d))
			}
			if err != nil {
				return err
			}
		}
		c, err := aios.Copy(handle(name))
		if !typ.Derivable() {
			err = refused("a copy of a "+typ.String(), err, abi.WrongType)
		} else if err == nil {
			err = errors.Join(narrow(typ, c, rightsOf[typ]), aios.Close(c))
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(deriveDepth(), deriveFull())
}

// narrow wants a handle that has rights and no others.
func narrow(typ abi.Type, d abi.Handle, rights abi.Rights) error {
	for more := range abi.AllRights + 1 {
		e, err := aios.Derive(d, more)
		if more&^rights == 0 {
			err = errors.Join(err, aios.Close(e))
		} else {
			err = refused(fmt.Sprintf("%v of what was derived with %v", more, rights), err, abi.Denied)
		}
		if err != nil {
			return err
		}
	}
	for _, c := range abi.Calls {
		if c.Type != typ || c.Right == 0 || c.Number == abi.CallExit && rights&c.Right != 0 {
			continue
		}
		if err := try(c, d); errors.Is(err, abi.Denied) != (rights&c.Right != c.Right) {
			return fmt.Errorf("%s with the rights %v: %v", c.Name, rights, err)
		}
	}
	_, err := player(0).Send(nil, 0, d)
	return refused("passing on without the right", err, abi.Denied)
}

func deriveDepth() error {
	const most = 32
	root := handle(movable)
	chain := []abi.Handle{root}
	for {
		d, err := aios.Derive(chain[len(chain)-1], abi.RightRead)
		if err != nil {
			if err := refused("one too deep", err, abi.TooDeep); err != nil {
				return err
			}
			break
		}
		chain = append(chain, d)
	}
	if err := expect("depth", len(chain)-1, most); err != nil {
		return err
	}
	if _, err := aios.Copy(chain[most]); err != nil {
		return err
	}
	for i := 1; i < most; i += 2 { // those between are gone, and what hangs from them is not
		if err := aios.Close(chain[i]); err != nil {
			return err
		}
	}
	n, err := aios.Revoke(root)
	if err := errors.Join(err, expect("revoked", n, most/2+1)); err != nil {
		return err
	}
	for _, h := range chain[1:] {
		if err := refused("derived", aios.Null(h), abi.BadHandle); err != nil {
			return err
		}
	}
	n, err = aios.Revoke(root)
	return errors.Join(err, expect("revoked again", n, 0), aios.Null(root))
}

// deriveFull fills the table, three times.
func deriveFull() error {
	root, count := handle(movable), 0
	for round := range 3 {
		top, err := aios.Derive(root, abi.RightRead)
		if err != nil {
			return err
		}
		n := 1
		for ; err == nil; n++ {
			_, err = aios.Copy(top)
		}
		n--
		if err := refused("one too many", err, abi.TooManyFiles); err != nil {
			return err
		}
		_, err = aios.Derive(root, 0)
		if err := refused("derived in a full table", err, abi.TooManyFiles); err != nil {
			return err
		}
		if round > 0 && n != count || n < 100 {
			return fmt.Errorf("round %d: %d handles, before: %d", round, n, count)
		}
		count = n
		ended, err := aios.Revoke(root)
		if err := errors.Join(err, expect("revoked", ended, n)); err != nil {
			return err
		}
	}
	return nil
}

const everything = abi.RightRead | abi.RightTransfer

// treeOwner hands out what it derives: one to the middle, and one that lies in the leaf's
// mailbox when it revokes. What stands between it and them it closes.
func treeOwner() error {
	root := handle(movable)
	kept, err := aios.Copy(root)
	if err != nil {
		return err
	}
	under := func(h abi.Handle) abi.Handle {
		d, e := aios.Derive(h, everything)
		err = errors.Join(err, e)
		return d
	}
	middle := under(root)
	low := under(middle)
	toMiddle, toLeaf := under(low), under(low)
	flag, e := aios.Derive(player(0).Handle, abi.RightWrite|abi.RightTransfer)
	if err = errors.Join(err, e); err != nil {
		return err
	}
	if _, err := player(1).Send([]byte("derive from this"), patience, toMiddle); err != nil {
		return err
	}
	if _, err := given("middle is ready", 0); err != nil {
		return err
	}
	if _, err := player(2).Send([]byte("flag"), patience, flag); err != nil {
		return err
	}
	if _, err := given("leaf is ready", 0); err != nil {
		return err
	}
	if _, err := player(2).Send([]byte("in flight"), patience, toLeaf); err != nil { // it waits for the flag, and receives nothing
		return err
	}
	if err := aios.Close(middle); err != nil {
		return err
	}
	n, err := aios.Revoke(root)
	if err := errors.Join(err, expect("revoked: low, two of the middle's, one of them with the leaf, one in a message", n, 4)); err != nil {
		return err
	}
	n, err = aios.Revoke(player(0).Handle)
	if err := errors.Join(err, expect("flags", n, 1), dead("the low one", low)); err != nil {
		return err
	}
	if _, err := player(1).Send([]byte("look"), patience); err != nil {
		return err
	}
	for _, h := range []abi.Handle{root, kept} {
		if s, err := text(h); err != nil || s != "0123" {
			return fmt.Errorf("what was not derived: %q, %v", s, err)
		}
		if n, err := aios.Revoke(h); err != nil || n != 0 {
			return fmt.Errorf("revoked again: %d, %v", n, err)
		}
	}
	return aios.Close(kept)
}

// treeMiddle keeps a copy of what it derives, passes it on, and closes what it was given.
func treeMiddle() error {
	h, err := given("derive from this", 1)
	if err != nil {
		return err
	}
	below, err := aios.Derive(h[0], everything)
	if err != nil {
		return err
	}
	beside, err := aios.Copy(below)
	if err != nil {
		return err
	}
	if _, err := player(2).Send([]byte("from the middle"), patience, below); err != nil {
		return err
	}
	if err := errors.Join(aios.Close(h[0]), aios.Null(beside)); err != nil {
		return err
	}
	if _, err := player(0).Send([]byte("middle is ready"), patience); err != nil {
		return err
	}
	if _, err := given("look", 0); err != nil {
		return err
	}
	return errors.Join(dead("what it gave away", below), dead("what it kept", beside))
}

// treeLeaf takes the last message only when the revocation is over.
func treeLeaf() error {
	h, err := given("from the middle", 1)
	if err != nil {
		return err
	}
	if s, err := text(h[0]); err != nil || s != "0123" {
		return fmt.Errorf("before: %q, %v", s, err)
	}
	flag, err := given("flag", 1)
	if err != nil {
		return err
	}
	if _, err := player(0).Send([]byte("leaf is ready"), patience); err != nil {
		return err
	}
	if err := errors.Join(untilDead(flag[0]), dead("what the middle gave it", h[0])); err != nil {
		return err
	}
	late, err := given("in flight", 1)
	if err != nil {
		return err
	}
	return dead("what was in the message", late[0])
}

// leaver hands out what it derived, and ends. What it gave away whole stays.
func leaver() error {
	d, err := aios.Derive(handle(movable), everything)
	if err != nil {
		return err
	}
	if _, err = player(1).Send([]byte("derived"), patience, d, handle("OTHER")); err != nil {
		return err
	}
	_, err = given("end", 0)
	return err
}

func heir() error {
	h, err := given("derived", 2)
	if err != nil {
		return err
	}
	below, err := aios.Derive(h[0], everything)
	if err != nil {
		return err
	}
	if _, err := player(0).Send([]byte("end"), patience); err != nil {
		return err
	}
	if err := errors.Join(untilDead(h[0]), untilDead(below)); err != nil {
		return err
	}
	if s, err := text(h[1]); err != nil || s != "zyxw" {
		return fmt.Errorf("what was given for good: %q, %v", s, err)
	}
	return nil
}
