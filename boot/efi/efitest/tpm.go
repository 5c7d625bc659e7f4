package efitest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"aios/boot/efi"
)

// TPM is the EFI_TCG2_PROTOCOL of the fake, with a SHA-256 and a SHA-384 bank.
type TPM struct {
	Absent   bool   // no protocol
	Missing  bool   // the protocol says that there is no TPM
	Banks    uint32 // active ones
	NoFinals bool   // no Final Events Table; call Configure after a change
	Cut      bool   // the log is truncated
	PCR      [24][32]byte
	PCR384   [24][48]byte
	Respond  func(command []byte) []byte // SubmitCommand
	Texts    []string                    // event data of what HashLogExtendEvent measured

	f       *Firmware
	table   uint64
	log     []byte
	last    int
	logging bool // into the Final Events Table
	finals  []byte
	count   uint64
}

const maxResponse = 0xf80

func newTPM(f *Firmware) *TPM {
	t := &TPM{f: f, Banks: 2 | 4}
	t.log = specIDEvent()
	t.measure(7, 0x80000001, []byte("a firmware variable"))
	t.measure(4, 4, []byte{0, 0, 0, 0})
	return t
}

// specIDEvent is the first event of a log with SHA-256 and SHA-384 banks (PFP 10.4.5.1).
func specIDEvent() []byte {
	data := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 106, 2, 2, 0, 0, 0, 0x0b, 0, 32, 0, 0x0c, 0, 48, 0, 0)
	event := make([]byte, 28, 64)
	binary.LittleEndian.PutUint32(event[4:], 3)
	event = binary.LittleEndian.AppendUint32(event, uint32(len(data)))
	return append(event, data...)
}

// Event2 encodes a TCG_PCR_EVENT2 for both banks.
func Event2(pcr, kind uint32, data []byte) []byte {
	d256, d384 := sha256.Sum256(data), sha512.Sum384(data)
	e := binary.LittleEndian.AppendUint32(nil, pcr)
	e = binary.LittleEndian.AppendUint32(e, kind)
	e = binary.LittleEndian.AppendUint32(e, 2)
	e = append(append(e, 0x0b, 0), d256[:]...)
	e = append(append(e, 0x0c, 0), d384[:]...)
	e = binary.LittleEndian.AppendUint32(e, uint32(len(data)))
	return append(e, data...)
}

// measure extends and logs.
func (t *TPM) measure(pcr, kind uint32, data []byte) {
	d256, d384 := sha256.Sum256(data), sha512.Sum384(data)
	t.PCR[pcr] = sha256.Sum256(append(t.PCR[pcr][:], d256[:]...))
	t.PCR384[pcr] = sha512.Sum384(append(t.PCR384[pcr][:], d384[:]...))
	e := Event2(pcr, kind, data)
	t.last = len(t.log)
	t.log = append(t.log, e...)
	if t.logging {
		t.finals = append(t.finals, e...)
		t.count++
	}
	t.publish()
}

// publish writes log and Final Events Table to memory. What lies behind them is not zero.
func (t *TPM) publish() {
	if t.table == 0 {
		return
	}
	b := t.f.Bytes(logStart, len(t.log)+64)
	copy(b, t.log)
	for i := range b[len(t.log):] {
		b[len(t.log)+i] = 0xee
	}
	b = t.f.Bytes(finalsStart, 16+len(t.finals))
	binary.LittleEndian.PutUint64(b, 1)
	binary.LittleEndian.PutUint64(b[8:], t.count)
	copy(b[16:], t.finals)
}

// Log is all that was measured.
func (t *TPM) Log() []byte { return append([]byte(nil), t.log...) }

// EarlierGetEventLog plays a boot program that read the log before the boot stage, and one more measurement after it.
func (t *TPM) EarlierGetEventLog() {
	t.logging = true
	t.measure(5, 0x80000007, []byte("between"))
}

func (t *TPM) build() uint64 {
	t.table = t.f.table(0x38)
	for offset, s := range map[uint64]struct {
		name string
		body Service
	}{
		0x00: {"GetCapability", t.getCapability},
		0x08: {"GetEventLog", t.getEventLog},
		0x10: {"HashLogExtendEvent", t.hashLogExtendEvent},
		0x18: {"SubmitCommand", t.submitCommand},
	} {
		t.f.put64(t.table+offset, t.f.function(s.name, s.body))
	}
	t.publish()
	return t.table
}

func (t *TPM) getCapability(a [8]uint64) efi.Status {
	b := t.f.Bytes(a[1], 36)
	if a[0] != t.table || b[0] < 36 {
		return efi.BufferTooSmall
	}
	binary.LittleEndian.PutUint32(b[12:], 2)
	if !t.Missing {
		b[16] = 1
	}
	binary.LittleEndian.PutUint16(b[18:], 0xf80)
	binary.LittleEndian.PutUint16(b[20:], maxResponse)
	binary.LittleEndian.PutUint32(b[28:], 2)
	binary.LittleEndian.PutUint32(b[32:], t.Banks)
	return efi.Success
}

func (t *TPM) getEventLog(a [8]uint64) efi.Status {
	if a[0] != t.table || a[1] != 2 {
		return efi.InvalidParameter
	}
	t.f.put64(a[2], logStart)
	t.f.put64(a[3], logStart+uint64(t.last))
	t.f.Bytes(a[4], 1)[0] = 0
	if t.Cut {
		t.f.Bytes(a[4], 1)[0] = 1
	}
	t.logging = true
	return efi.Success
}

func (t *TPM) hashLogExtendEvent(a [8]uint64) efi.Status {
	e := t.f.Bytes(a[4], int(binary.LittleEndian.Uint32(t.f.Bytes(a[4], 4))))
	if a[0] != t.table || a[1] != 0 || len(e) < 18 || binary.LittleEndian.Uint32(e[4:]) != 14 || binary.LittleEndian.Uint16(e[8:]) != 1 {
		return efi.InvalidParameter
	}
	pcr, kind := binary.LittleEndian.Uint32(e[10:]), binary.LittleEndian.Uint32(e[14:])
	data := t.f.Bytes(a[2], int(a[3]))
	if pcr > 23 || string(data) != string(e[18:]) {
		return efi.InvalidParameter
	}
	t.Texts = append(t.Texts, string(data))
	t.measure(pcr, kind, data)
	return efi.Success
}

func (t *TPM) submitCommand(a [8]uint64) efi.Status {
	if a[0] != t.table || a[1] > 0xf80 || a[3] > maxResponse {
		return efi.InvalidParameter
	}
	r := Unsupported()
	if t.Respond != nil {
		r = t.Respond(append([]byte(nil), t.f.Bytes(a[2], int(a[1]))...))
	}
	copy(t.f.Bytes(a[4], int(a[3])), r)
	return efi.Success
}

// Unsupported is the response TPM_RC_COMMAND_CODE.
func Unsupported() []byte { return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 0x43} }

// mustGUID reads the text form of a GUID (appendix A): three little-endian groups, two in memory order.
func mustGUID(s string) (g efi.GUID) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 {
		panic("efitest: GUID " + s)
	}
	binary.LittleEndian.PutUint32(g[0:], binary.BigEndian.Uint32(b[0:]))
	binary.LittleEndian.PutUint16(g[4:], binary.BigEndian.Uint16(b[4:]))
	binary.LittleEndian.PutUint16(g[6:], binary.BigEndian.Uint16(b[6:]))
	copy(g[8:], b[8:])
	return g
}
