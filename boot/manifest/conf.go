package manifest

import "strings"

// MaxConf bounds the boot configuration.
const MaxConf = 4096

// Conf is the boot configuration, the file /aios/boot.conf. It is not signed: it belongs
// to the host, and it is measured into PCR 8 so that the verifier sees it.
//
//	slot a
//	cmdline <text, may be empty>
type Conf struct {
	Slot    string // "a" or "b"
	Cmdline string // printable ASCII
}

// Encode returns the text of the file.
func (c Conf) Encode() []byte {
	return []byte("slot " + c.Slot + "\ncmdline " + c.Cmdline + "\n")
}

// ParseConf accepts exactly what Encode writes for a valid Conf.
func ParseConf(text []byte) (Conf, error) {
	const remedy = "write exactly the two lines \"slot a\" (or b) and \"cmdline <text>\""
	fail := func(reason string) (Conf, error) {
		return Conf{}, &Error{ErrFormat, "boot.conf", reason, remedy}
	}
	if len(text) > MaxConf {
		return fail("longer than 4096 bytes")
	}
	slot, rest, _ := strings.Cut(string(text), "\n")
	var c Conf
	switch slot {
	case "slot a":
		c.Slot = "a"
	case "slot b":
		c.Slot = "b"
	default:
		return fail("line 1: expected \"slot a\" or \"slot b\", found " + quote(slot))
	}
	line, whole := strings.CutSuffix(rest, "\n")
	if !whole {
		return fail("line 2 is missing or ends without a newline")
	}
	cmdline, ok := strings.CutPrefix(line, "cmdline ")
	if !ok {
		return fail("line 2: expected \"cmdline \" and a text that may be empty, found " + quote(line))
	}
	for i := range len(cmdline) {
		if c := cmdline[i]; c < ' ' || c > '~' {
			return fail("line 2: expected printable ASCII and no third line, found " + quote(cmdline[i:]))
		}
	}
	c.Cmdline = cmdline
	return c, nil
}
