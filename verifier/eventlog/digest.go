package eventlog

import "bytes"

// DigestCheck is what recomputing an event's digests from its data gave.
type DigestCheck struct {
	State DigestState
	// Rule names what the digests are the hash of, or why that is not defined.
	Rule string
}

// DigestState is the result of a check.
type DigestState uint8

const (
	// Undefined: the digest is of something that is not in the log (code, tables).
	Undefined DigestState = iota
	// Matched: every digest that can be computed is the hash of the event's data.
	Matched
	// Unexplained: firmware and boot loaders differ in what they hash here, and
	// no known rule gives the digest. The data must not be believed.
	Unexplained
	// Mismatched: the profile leaves no choice, and the digest is of other data:
	// the log was altered, or its writer is broken.
	Mismatched
)

func (s DigestState) String() string {
	return [...]string{"undefined", "matched", "unexplained", "mismatched"}[s]
}

// AIOSTag is the taggedEventID of the events that our boot stage measures.
const AIOSTag = 0x41494f53

// CheckDigest recomputes the digests of an event whose data the profile makes
// the thing that is hashed (PFP 1.06 table 27).
func (e *Event) CheckDigest() DigestCheck {
	if !e.computable() {
		return DigestCheck{Undefined, "no digest of an algorithm that can be computed here"}
	}
	strict := func(rule string, data []byte) DigestCheck {
		if e.hashes(data) {
			return DigestCheck{Matched, rule}
		}
		return DigestCheck{Mismatched, rule}
	}
	switch e.Type {
	case EVNoAction:
		return DigestCheck{Undefined, "not extended"}
	case EVSeparator, EVEFIAction, EVAction, EVEFIVariableDriverConfig, EVEFIGPT, EVOmitBootDevice:
		if e.Type == EVEFIVariableDriverConfig {
			return e.lenientVariable(Mismatched)
		}
		return strict("event data", e.Data)
	case EVEFIVariableAuthority, EVEFIVariableBoot, EVEFIVariableBoot2: // shim and older firmware hash what they do not log
		return e.lenientVariable(Unexplained)
	case EVEventTag:
		if len(e.Data) >= 8 && le.Uint32(e.Data) == AIOSTag {
			return strict("tagged event", e.Data)
		}
		return e.first(Undefined, e.Data)
	case EVIPL, EVSCRTMVersion, EVPlatformConfigFlags, EVCompactHash, EVTableOfDevices, EVNonhostInfo, EVPostCode, EVSCRTMContents:
		return e.text()
	}
	return DigestCheck{Undefined, "the digest is of what the event describes"}
}

func (e *Event) computable() bool {
	for _, d := range e.Digests {
		if _, ok := d.Algorithm.appendHash(nil, nil); ok {
			return true
		}
	}
	return false
}

// HashesData tells whether every digest that can be computed is that of the
// event's data as it stands, which leaves no room for what else it may be.
func (e *Event) HashesData() bool { return e.hashes(e.Data) }

// hashes tells whether every digest that can be computed is that of data.
func (e *Event) hashes(data []byte) bool {
	var buf [64]byte
	known := 0
	for _, d := range e.Digests {
		h, ok := d.Algorithm.appendHash(buf[:0], data)
		if !ok {
			continue
		}
		known++
		if !bytes.Equal(h, d.Bytes) {
			return false
		}
	}
	return known > 0
}

func (e *Event) first(otherwise DigestState, data []byte) DigestCheck {
	if e.hashes(data) {
		return DigestCheck{Matched, "event data"}
	}
	return DigestCheck{otherwise, "the digest is of what the event describes"}
}

// lenientVariable: the profile hashes UEFI_VARIABLE_DATA. Some firmware hashes
// the variable's content alone, and some logs it with bytes behind it.
func (e *Event) lenientVariable(otherwise DigestState) DigestCheck {
	if e.hashes(e.Data) {
		return DigestCheck{Matched, "UEFI_VARIABLE_DATA"}
	}
	v, err := ParseVariable(e.Data)
	if err != nil {
		return DigestCheck{otherwise, "UEFI_VARIABLE_DATA (" + err.Error() + ")"}
	}
	if len(v.raw) < len(e.Data) && e.hashes(v.raw) {
		return DigestCheck{Matched, "UEFI_VARIABLE_DATA without the bytes behind it"}
	}
	if e.hashes(v.Data) {
		return DigestCheck{Matched, "content of the variable"}
	}
	return DigestCheck{otherwise, "UEFI_VARIABLE_DATA"}
}

// text: what boot loaders measure as strings, each in its own way.
func (e *Event) text() DigestCheck {
	d := e.Data
	if e.hashes(d) {
		return DigestCheck{Matched, "event data"}
	}
	trimmed := bytes.TrimRight(d, "\x00")
	if e.hashes(trimmed) {
		return DigestCheck{Matched, "event data without the final NUL"}
	}
	if len(trimmed)+2 <= len(d) && e.hashes(d[:len(d)-2]) { // UTF-16
		return DigestCheck{Matched, "event data without the final UTF-16 NUL"}
	}
	// GRUB: "grub_cmd: text", "kernel_cmdline: text"; the digest is of the text.
	if i := bytes.Index(trimmed, []byte(": ")); i > 0 {
		if e.hashes(trimmed[i+2:]) {
			return DigestCheck{Matched, "text after the prefix"}
		}
		if e.hashes(d[i+2:]) {
			return DigestCheck{Matched, "text after the prefix, with its NUL"}
		}
	}
	if i := bytes.IndexByte(trimmed, ' '); i > 0 && e.hashes(trimmed[i+1:]) {
		return DigestCheck{Matched, "text after the first word"}
	}
	return DigestCheck{Undefined, "the digest is of what the event describes"}
}
