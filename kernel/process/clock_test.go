package process

import (
	"bytes"
	"testing"

	"aios/kernel/vdso"
)

// The program finds the object by its auxiliary vector, and can neither write it
// nor make it writable and run it again.
func TestClockPage(t *testing.T) {
	m := newFake()
	e := m.run(t, Config{}, func(u *user) {
		at := u.c.SP + 8*(u.load64(u.c.SP)+2) // argc, argv, NULL
		for ; u.load64(at) != 0; at += 8 {
		}
		object := uint64(0)
		for at += 8; u.load64(at) != auxNull; at += 16 {
			if u.load64(at) == auxVDSO {
				object = u.load64(at + 8)
			}
		}
		if object == 0 {
			t.Error("the auxiliary vector names no vDSO")
			return
		}
		var want [vdso.PageSize]byte
		vdso.Fill(&want, m.Clock())
		if !bytes.Equal(u.load(object, vdso.PageSize), want[:]) {
			t.Error("the page is not the object")
		}
		u.access(object, Exec, func([]byte) {})
		is(t, "writable and executable", u.sys(sysMprotect, object, pageSize, uint64(Read|Write|Exec)), 13)
		is(t, "writable", u.sys(sysMprotect, object, pageSize, uint64(Read|Write)), 0)
		is(t, "and executable again", u.sys(sysMprotect, object, pageSize, uint64(Read|Exec)), 13)
	})
	if !e.OK {
		t.Error(e.Reason)
	}
}
