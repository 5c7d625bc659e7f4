package eventlog

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
)

// variable is a UEFI_VARIABLE_DATA of the global GUID.
func variable(name string, data ...byte) []byte {
	b := []byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	u := utf16.Encode([]rune(name))
	b = le.AppendUint64(b, uint64(len(u)))
	b = le.AppendUint64(b, uint64(len(data)))
	for _, c := range u {
		b = le.AppendUint16(b, c)
	}
	return append(b, data...)
}

// TestSecureBoot: the state is that of the first measurement before the
// separator of PCR 7. Everything else in a log can be put there by whoever runs
// later, and with a good digest.
func TestSecureBoot(t *testing.T) {
	on, off, empty := variable("SecureBoot", 1), variable("SecureBoot", 0), variable("SecureBoot")
	db := variable("db", make([]byte, 40)...)
	const config = EVEFIVariableDriverConfig
	type ev struct {
		pcr  uint32
		kind Type
		data []byte
	}
	end, authority := ev{7, EVSeparator, make([]byte, 4)}, ev{7, EVEFIVariableAuthority, db}
	for _, c := range []struct {
		name   string
		banks  []Algorithm
		events []ev
		want   SecureBootState
	}{
		{"on", nil, []ev{{7, config, on}, end, authority}, SecureBootOn},
		{"on, a driver was vouched for", nil, []ev{{7, config, on}, authority, end}, SecureBootOn},
		{"on, nothing was vouched for", nil, []ev{{7, config, on}, end}, SecureBootNotProven},
		{"off", nil, []ev{{7, config, off}, end, authority}, SecureBootOff},
		{"empty", nil, []ev{{7, config, empty}, end, authority}, SecureBootOff},
		{"two bytes", nil, []ev{{7, config, variable("SecureBoot", 1, 1)}, end, authority}, SecureBootOff},
		{"nothing was measured", nil, nil, SecureBootNotProven},
		{"another variable", nil, []ev{{7, config, variable("SecureBootX", 1)}, end, authority}, SecureBootNotProven},
		{"off, then measured as on", nil, []ev{{7, config, off}, {7, config, on}, end, authority}, SecureBootOff},
		{"off, shown as on in PCR 1", nil, []ev{{1, config, on}, {7, config, off}, end, authority}, SecureBootOff},
		{"off, shown as on in PCR 23", nil, []ev{{23, config, on}, {7, config, off}, end, authority}, SecureBootOff},
		{"off, shown as on where no PCR is", nil, []ev{{0xffffffff, config, on}, {7, config, off}, end, authority}, SecureBootOff},
		{"off, shown as on in an event that extends nothing", nil, []ev{{7, EVNoAction, on}, {7, config, off}, end, authority}, SecureBootOff},
		{"off, its type relabelled", nil, []ev{{7, EVAction, off}, {7, config, on}, end, authority}, SecureBootOff},
		{"measured after the separator", nil, []ev{end, {7, config, on}, authority}, SecureBootNotProven},
		{"measured after the separator, its type relabelled", nil, []ev{{7, EVAction, make([]byte, 4)}, {7, config, on}, authority}, SecureBootNotProven},
		{"authority in another PCR", nil, []ev{{7, config, on}, end, {6, EVEFIVariableAuthority, db}}, SecureBootNotProven},
		{"confidential machine", []Algorithm{SHA384}, []ev{{1, config, on}, {1, EVSeparator, make([]byte, 4)}, {1, EVEFIVariableAuthority, db}}, SecureBootOn},
		{"TPM with a SHA-384 bank alone", []Algorithm{SHA384}, []ev{{1, config, on}, {7, config, off}, end, authority}, SecureBootOff},
		{"PCR 1 of a TPM whose PCR 7 is empty", nil, []ev{{1, config, on}, {1, EVEFIVariableAuthority, db}}, SecureBootNotProven},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.banks == nil {
				c.banks = []Algorithm{SHA256}
			}
			b, err := NewBuilder(c.banks...)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range c.events {
				b.Add(e.pcr, e.kind, e.data, e.data)
			}
			if got := parsed(t, b.Bytes()).SecureBoot(); got.State != c.want || got.Reason == "" {
				t.Errorf("%s (%s), want %s", got.State, got.Reason, c.want)
			}
		})
	}
}

func TestParseSignatureLists(t *testing.T) {
	list := func(size, head, each uint32, body int) []byte {
		b := append([]byte{}, guidX509[:]...)
		for _, v := range []uint32{size, head, each} {
			b = le.AppendUint32(b, v)
		}
		return append(b, make([]byte, body)...)
	}
	// Two lists: one entry that is no certificate, and three hashes.
	good := append(list(28+20, 0, 20, 20), list(28+3*48, 0, 48, 3*48)...)
	got, err := ParseSignatureLists(good)
	if err != nil || len(got) != 2 || len(got[0].Signatures) != 1 || len(got[1].Signatures) != 3 {
		t.Fatalf("%d lists, %v", len(got), err)
	}
	if s := got[0].Signatures[0]; s.Certificate != nil || s.CertificateError == nil {
		t.Error("an entry that is no certificate must say so")
	}
	for name, b := range map[string][]byte{
		"cut in the header": good[:27], "cut in the body": good[:40],
		"longer than it is": list(100, 0, 20, 20), "shorter than its header": list(20, 0, 20, 0),
		"entries of no size": list(28+20, 0, 0, 20), "entries too small for an owner": list(28+15, 0, 15, 15),
		"entries that do not fit": list(28+20, 0, 19, 20), "header beyond the list": list(28+20, 21, 20, 20),
		"too many entries": list(28+16*(maxSignatures+1), 0, 16, 16*(maxSignatures+1)),
	} {
		if _, err := ParseSignatureLists(b); !errors.Is(err, ErrSignatureList) {
			t.Errorf("%s: %v, want ErrSignatureList", name, err)
		}
	}
}

// TestDescribe: what a log says reaches a terminal as one short printable line.
func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		kind Type
		data []byte
		want string
	}{
		{EVSeparator, make([]byte, 4), "separator"},
		{EVSeparator, []byte{1, 0, 0, 0}, "separator: the firmware reports an error"},
		{EVSeparator, nil, "separator "},
		{EVEFIAction, []byte("Exit Boot Services Invocation"), "Exit Boot Services Invocation"},
		{EVIPL, []byte("a\x1b[2Jb"), "6 bytes: 611b5b324a62"},
		{EVEventTag, append([]byte{0x53, 0x4f, 0x49, 0x41, 4, 0, 0, 0}, "\x1b[2J"...), "tag 0x41494f53: .[2J"},
		{EVEventTag, []byte{1, 2, 3}, "tagged event of 3 bytes, malformed"},
		{EVEventTag, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, "tagged event of 8 bytes, malformed"},
		{EVEFIVariableDriverConfig, variable("SecureBoot", 1), "SecureBoot = 01"},
		{EVEFIVariableDriverConfig, variable("x\x1b\n", 1), "x.. = 01"},
		{EVEFIVariableDriverConfig, nil, "malformed: variable of 0 bytes, want at least 32"},
		{EVEFIBootServicesApp, make([]byte, 31), "image load event of 31 bytes, want at least 32"},
		{EVEFIBootServicesApp, bytes.Repeat([]byte{0xff}, 40), "device path of 18446744073709551615 bytes does not fit"},
		{EVEFIGPT, []byte("EFI PART"), "GPT event of 8 bytes, malformed"},
		{EVIPL, bytes.Repeat([]byte("x"), 1000), strings.Repeat("x", maxDescription) + "..."},
		{Type(0x8000aaaa), []byte{0, 1}, "2 bytes: 0001"},
	} {
		if got := (&Event{Type: c.kind, Data: c.data}).Describe(); !strings.Contains(got, c.want) || len(got) > maxDescription+3 {
			t.Errorf("%v %x: %q, want %q", c.kind, head(c.data), got, c.want)
		}
	}
}
