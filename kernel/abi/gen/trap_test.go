package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"aios/kernel/abi/table"
)

var (
	// case abi.CallX: return hotX(h)
	hotCase = regexp.MustCompile(`case abi\.Call(\w+):\s+return (hot\w+)\(h\)`)
	// the check of its handle, and whether it pays
	hotLookup = regexp.MustCompile(`\.Lookup\(abi\.Handle\(a\[0\]\), abi\.Type(\w+), abi\.Right(\w+), now\)`)
	// case abi.CallX: typ, rights = abi.TypeY, abi.RightZ
	fastCase = regexp.MustCompile(`case abi\.Call(\w+):\n(?:\t\ttyp, rights = abi\.Type(\w+), abi\.Right(\w+)\n)?`)
)

// What trap context answers by itself asks for the type and the right of the table, and
// pays what that says: there the dispatcher has no say.
func TestTrapContext(t *testing.T) {
	source := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, "kernel/machine", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	check := func(name, typ, right string, pays bool) {
		c := find(table.Calls, func(c *table.Call) bool { return c.Name == name })
		if c == nil {
			t.Fatalf("there is no call %s", name)
		}
		wantType, wantRight := "", ""
		if c.Type != "" {
			wantType = typeOf(c.Type).Ident
		}
		if c.Right != "" {
			wantRight = title(c.Right)
		}
		if typ != wantType || right != wantRight || pays != (c.Quota == table.QuotaMessage) {
			t.Errorf("%s: trap context asks for type %q and right %q (pays: %v), the table for %q and %q (pays: %v)",
				name, typ, right, pays, wantType, wantRight, c.Quota == table.QuotaMessage)
		}
	}
	answered := 0
	hot := source("hot_unsafe.go")
	for _, m := range hotCase.FindAllStringSubmatch(hot, -1) {
		_, body, _ := strings.Cut(hot, "\nfunc "+m[2]+"(")
		body, _, _ = strings.Cut(body, "\n}\n")
		l := hotLookup.FindStringSubmatch(body)
		if l == nil {
			t.Errorf("%s: %s looks no handle up", m[1], m[2])
			continue
		}
		check(m[1], l[1], l[2], strings.Contains(body, ".Charge("))
		answered++
	}
	_, fast, _ := strings.Cut(source("machine_unsafe.go"), "\nfunc fast(")
	fast, _, _ = strings.Cut(fast, "\n}\n")
	for _, m := range fastCase.FindAllStringSubmatch(fast, -1) {
		check(m[1], m[2], m[3], false)
		answered++
	}
	if answered != 4 {
		t.Errorf("%d calls are answered in trap context, as far as this test can read; docs/syscall-abi.md names 4", answered)
	}
}
