package acpi

// Entry is one of the MADT (5.2.12), of the kinds that the kernel uses.
type Entry struct {
	Kind    byte
	APIC    uint32 // id of a processor's local APIC, or of the I/O APIC
	Address uint32 // of the I/O APIC
	First   uint32 // its first global system interrupt
}

// Kinds of entries.
const (
	Processor = 0 // an enabled local APIC with an id below 255
	IOAPIC    = 1
	X2        = 9 // an enabled processor whose id needs x2APIC mode
)

const madtHeader = headerSize + 8

// MADT calls f for each processor that is enabled and for each I/O APIC. It
// stops at an entry that is malformed, and says so.
func (t Tables) MADT(f func(Entry)) error {
	b, err := t.Find("APIC")
	if err != nil {
		return err
	}
	if len(b) < madtHeader {
		return ErrTooShort
	}
	const enabled = 1
	for b = b[madtHeader:]; len(b) > 0; {
		if len(b) < 2 || int(b[1]) < 2 || int(b[1]) > len(b) {
			return ErrEntry
		}
		e := b[:b[1]]
		b = b[b[1]:]
		switch {
		case len(e) < entrySize(e[0]):
			return ErrEntry
		case e[0] == Processor && le.Uint32(e[4:])&enabled != 0:
			f(Entry{Kind: Processor, APIC: uint32(e[3])})
		case e[0] == IOAPIC:
			f(Entry{Kind: IOAPIC, APIC: uint32(e[2]), Address: le.Uint32(e[4:]), First: le.Uint32(e[8:])})
		case e[0] == X2 && le.Uint32(e[8:])&enabled != 0:
			f(Entry{Kind: X2, APIC: le.Uint32(e[4:])})
		}
	}
	return nil
}

// entrySize is how long an entry of a kind is, 0 for those that are passed over.
func entrySize(kind byte) int {
	switch kind {
	case Processor:
		return 8
	case IOAPIC:
		return 12
	case X2:
		return 16
	}
	return 0
}
