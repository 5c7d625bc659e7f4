package eventlog

import (
	"fmt"
	"unicode/utf16"
)

// GUID is an EFI_GUID as it lies in memory.
type GUID [16]byte

// String is the usual form: the first three parts are little endian.
func (g GUID) String() string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(g[:]), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:10], g[10:])
}

// Variable is a UEFI_VARIABLE_DATA (PFP 10.2.6).
type Variable struct {
	GUID GUID
	Name string
	Data []byte
	// raw are the bytes from the GUID to the end of Data.
	raw []byte
}

const maxVariableName = 1024 // characters

// ParseVariable reads the data of an EV_EFI_VARIABLE_* event.
func ParseVariable(d []byte) (Variable, error) {
	const fixed = 16 + 8 + 8
	if len(d) < fixed {
		return Variable{}, fmt.Errorf("variable of %d bytes, want at least %d", len(d), fixed)
	}
	names, size := le.Uint64(d[16:]), le.Uint64(d[24:])
	if names > maxVariableName || uint64(len(d)-fixed) < 2*names || uint64(len(d)-fixed)-2*names < size {
		return Variable{}, fmt.Errorf("variable with a name of %d characters and %d bytes does not fit into %d bytes", names, size, len(d))
	}
	v := Variable{GUID: GUID(d[:16])}
	u := make([]uint16, names)
	for i := range u {
		u[i] = le.Uint16(d[fixed+2*i:])
	}
	v.Name = string(utf16.Decode(u))
	at := fixed + 2*int(names)
	v.Data = d[at : at+int(size)]
	v.raw = d[:at+int(size)]
	return v, nil
}

// IsVariable tells whether the event's data is a UEFI_VARIABLE_DATA.
func (t Type) IsVariable() bool {
	switch t {
	case EVEFIVariableDriverConfig, EVEFIVariableBoot, EVEFIVariableBoot2, EVEFIVariableAuthority:
		return true
	}
	return false
}

// Variable returns the content of a variable that describes Secure Boot, as the
// firmware measured it before it started anything: of the first event that has
// it in the register for that, up to the separator. What stands behind the
// separator or in another register may have been measured by anybody.
func (l *Log) Variable(name string) ([]byte, bool) {
	pcr := l.secureBootPCR()
	for i := range l.Events {
		e := &l.Events[i]
		if e.PCR != pcr || !e.Extends() {
			continue
		}
		if e.isSeparator() {
			return nil, false
		}
		// The type of an event is in no digest, so whoever writes the log chooses
		// it: the data decides.
		if v, err := ParseVariable(e.Data); err == nil && v.Name == name {
			return v.Data, true
		}
	}
	return nil, false
}

func (e *Event) isSeparator() bool {
	return e.Type == EVSeparator || len(e.Data) == 4 && (le.Uint32(e.Data) == 0 || le.Uint32(e.Data) == 0xffffffff)
}
