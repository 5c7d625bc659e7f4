package eventlog

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

const maxDescription = 256

// Describe puts what the event's data says into one line of printable text.
// Data that cannot be decoded is described as such; it never fails.
func (e *Event) Describe() string {
	return clean(e.describe())
}

func (e *Event) describe() string {
	d := e.Data
	switch {
	case e.Type == EVNoAction:
		return describeNoAction(d)
	case e.Type.IsVariable():
		return describeVariable(d)
	case e.Type == EVSeparator:
		if len(d) == 4 && (le.Uint32(d) == 0 || le.Uint32(d) == 0xffffffff) {
			return "separator"
		}
		if len(d) == 4 && le.Uint32(d) == 1 {
			return "separator: the firmware reports an error"
		}
		return fmt.Sprintf("separator %x", head(d))
	case e.Type == EVEventTag:
		if len(d) >= 8 && uint64(le.Uint32(d[4:])) <= uint64(len(d)-8) {
			return fmt.Sprintf("tag %#x: %s", le.Uint32(d), d[8:8+le.Uint32(d[4:])])
		}
		return fmt.Sprintf("tagged event of %d bytes, malformed", len(d))
	case e.Type == EVEFIBootServicesApp || e.Type == EVEFIBootServicesDriver || e.Type == EVEFIRuntimeDriver:
		return describeImage(d)
	case e.Type == EVEFIGPT:
		return describeGPT(d)
	case e.Type == EVEFIFirmwareBlob && len(d) >= 16:
		return fmt.Sprintf("firmware at %#x, %d bytes", le.Uint64(d), le.Uint64(d[8:]))
	}
	if isText16(d) {
		return text16(d)
	}
	if isText(d) {
		return string(bytes.TrimRight(d, "\x00"))
	}
	return fmt.Sprintf("%d bytes: %x", len(d), head(d))
}

func head(d []byte) []byte { return d[:min(len(d), 32)] }

// clean keeps a description printable and short.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, s)
	if len(s) > maxDescription {
		s = strings.ToValidUTF8(s[:maxDescription], "") + "..."
	}
	return s
}

func isText(d []byte) bool {
	d = bytes.TrimRight(d, "\x00")
	if len(d) == 0 {
		return false
	}
	for _, c := range d {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c > '~' {
			return false
		}
	}
	return true
}

func isText16(d []byte) bool {
	if len(d) < 4 || len(d)%2 != 0 {
		return false
	}
	for i := 0; i+1 < len(d)-2; i += 2 {
		if d[i] < ' ' || d[i] > '~' || d[i+1] != 0 {
			return false
		}
	}
	return true
}

func text16(d []byte) string {
	u := make([]uint16, len(d)/2)
	for i := range u {
		u[i] = le.Uint16(d[2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(u)), "\x00")
}

func describeNoAction(d []byte) string {
	switch {
	case bytes.HasPrefix(d, []byte("Spec ID Event")):
		return string(d[:min(len(d), specIDSize-1)])
	case bytes.HasPrefix(d, []byte(startupLocality)) && len(d) == len(startupLocality)+1:
		return fmt.Sprintf("StartupLocality %d", d[len(d)-1])
	case bytes.HasPrefix(d, []byte("SP800-155 Event")):
		return string(d[:min(len(d), 16)])
	}
	if isText(d) {
		return string(d)
	}
	return fmt.Sprintf("%d bytes: %x", len(d), head(d))
}

func describeVariable(d []byte) string {
	v, err := ParseVariable(d)
	if err != nil {
		return "malformed: " + err.Error()
	}
	switch v.Name {
	case "PK", "KEK", "db", "dbx", "MokList", "MokListX":
		if lists, err := ParseSignatureLists(v.Data); err == nil {
			certs, hashes := 0, 0
			for _, l := range lists {
				if l.X509 {
					certs += len(l.Signatures)
				} else {
					hashes += len(l.Signatures)
				}
			}
			return fmt.Sprintf("%s: %d certificates, %d hashes", v.Name, certs, hashes)
		}
	}
	if len(v.Data) <= 16 {
		return fmt.Sprintf("%s = %x", v.Name, v.Data)
	}
	return fmt.Sprintf("%s, %d bytes", v.Name, len(v.Data))
}

// describeImage reads UEFI_IMAGE_LOAD_EVENT (PFP 10.2.3).
func describeImage(d []byte) string {
	const fixed = 32
	if len(d) < fixed {
		return fmt.Sprintf("image load event of %d bytes, want at least %d", len(d), fixed)
	}
	n := le.Uint64(d[24:])
	if n > uint64(len(d)-fixed) {
		return fmt.Sprintf("image of %d bytes, device path of %d bytes does not fit", le.Uint64(d[8:]), n)
	}
	return fmt.Sprintf("image of %d bytes, %s", le.Uint64(d[8:]), devicePath(d[fixed:fixed+n]))
}

// describeGPT reads UEFI_GPT_DATA (PFP 10.2.5).
func describeGPT(d []byte) string {
	const header = 92
	if len(d) < header+8 || string(d[:8]) != "EFI PART" {
		return fmt.Sprintf("GPT event of %d bytes, malformed", len(d))
	}
	return fmt.Sprintf("GPT disk %v, %d partitions in use", GUID(d[56:72]), le.Uint64(d[header:]))
}

// devicePath names the parts of an EFI_DEVICE_PATH (UEFI 2.10 section 10.3)
// that people know; others appear as type and subtype.
func devicePath(d []byte) string {
	var parts []string
	for len(d) >= 4 && len(parts) < 32 {
		t, sub, n := d[0], d[1], int(le.Uint16(d[2:]))
		if n < 4 || n > len(d) {
			return strings.Join(append(parts, "malformed"), "/")
		}
		body := d[4:n]
		d = d[n:]
		switch {
		case t == 0x7f:
			return strings.Join(parts, "/")
		case t == 1 && sub == 1 && len(body) >= 2:
			parts = append(parts, fmt.Sprintf("Pci(%#x,%#x)", body[1], body[0]))
		case t == 2 && sub == 1 && len(body) >= 8:
			parts = append(parts, fmt.Sprintf("Acpi(%#x)", le.Uint32(body)))
		case t == 4 && sub == 1 && len(body) >= 4:
			parts = append(parts, fmt.Sprintf("HD(%d)", le.Uint32(body)))
		case t == 4 && sub == 4:
			parts = append(parts, text16(body))
		case t == 4 && sub == 6 && len(body) >= 16:
			parts = append(parts, "FvFile("+GUID(body[:16]).String()+")")
		case t == 4 && sub == 7 && len(body) >= 16:
			parts = append(parts, "Fv("+GUID(body[:16]).String()+")")
		default:
			parts = append(parts, fmt.Sprintf("Path(%d,%d)", t, sub))
		}
	}
	return strings.Join(parts, "/")
}
