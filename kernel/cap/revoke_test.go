package cap

import (
	"testing"

	"aios/kernel/abi"
)

// A handle that was told of and arrived dead is never given to something else.
func TestDeadArrivalUsesUpItsHandle(t *testing.T) {
	var from, to Table
	root := insert(t, &from, "blob", abi.TypeBlob, allOf)
	c := inFlight(t, &from, root)
	if n, e := from.Revoke(root, 0); n != 1 || e != 0 {
		t.Fatalf("revoked %d, %v", n, e)
	}
	dead := arrive(t, &to, c)
	next := insert(t, &to, "other", abi.TypeBlob, allOf)
	if next == dead || next.Index() != dead.Index() {
		t.Errorf("%#x arrived dead, and the next handle is %#x: expected the same slot and another generation", dead, next)
	}
	if e := to.Check(dead, abi.TypeBlob, 0, 0); e != abi.BadHandle {
		t.Errorf("what arrived dead: %v", e)
	}
}

// Below what is being revoked nothing can be derived or copied, at any depth.
func TestNothingGrowsBelow(t *testing.T) {
	var a, b Table
	root := insert(t, &a, "blob", abi.TypeBlob, allOf)
	child := must(t)(a.Derive(root, allOf, 0))
	low := move(t, &a, &b, must(t)(a.Derive(child, allOf, 0)))
	a.nodes[root.Index()].Load().revokers++ // as while it is under way
	for _, c := range []struct {
		name string
		do   func() (abi.Handle, abi.Errno)
		want abi.Errno
	}{
		{"derive from it", func() (abi.Handle, abi.Errno) { return a.Derive(root, 0, 0) }, abi.Again},
		{"copy it", func() (abi.Handle, abi.Errno) { return a.Copy(root, 0) }, 0},
		{"derive from its child", func() (abi.Handle, abi.Errno) { return a.Derive(child, 0, 0) }, abi.BadHandle},
		{"copy its child", func() (abi.Handle, abi.Errno) { return a.Copy(child, 0) }, abi.BadHandle},
		{"derive two below", func() (abi.Handle, abi.Errno) { return b.Derive(low, 0, 0) }, abi.BadHandle},
		{"copy two below", func() (abi.Handle, abi.Errno) { return b.Copy(low, 0) }, abi.BadHandle},
	} {
		if h, e := c.do(); e != c.want || (e == 0) != (h != 0) {
			t.Errorf("%s: %#x, %v, want %v", c.name, h, e, c.want)
		}
	}
}

// Who revokes below a handle that was closed is told that there is none, and what hung
// from it is its ancestor's to revoke.
func TestRevokeOfClosed(t *testing.T) {
	var tab Table
	root := insert(t, &tab, "blob", abi.TypeBlob, allOf)
	middle := must(t)(tab.Derive(root, allOf, 0))
	low := must(t)(tab.Derive(middle, allOf, 0))
	n := tab.nodes[middle.Index()].Load()
	tab.Close(middle)
	if count, ok := n.revoke(); ok || count != 0 {
		t.Errorf("revoked %d, %v", count, ok)
	}
	if e := tab.Check(low, abi.TypeBlob, 0, 0); e != 0 {
		t.Errorf("what hung from it: %v", e)
	}
	if count, e := tab.Revoke(root, 0); count != 1 || e != 0 {
		t.Errorf("its ancestor revoked %d, %v", count, e)
	}
}
