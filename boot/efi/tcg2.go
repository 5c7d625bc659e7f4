package efi

import (
	"encoding/binary"
	"fmt"
)

// Offsets in EFI_TCG2_PROTOCOL (TCG EFI 6.2) and the values it takes.
const (
	tcgGetCapability      = 0x00
	tcgGetEventLog        = 0x08
	tcgHashLogExtendEvent = 0x10
	tcgSubmitCommand      = 0x18

	tcgLogCryptoAgile = 2 // EFI_TCG2_EVENT_LOG_FORMAT_TCG_2
	tcgBankSHA256     = 2 // EFI_TCG2_BOOT_HASH_ALG_SHA256
	tcgCapabilitySize = 36
	tcgMaxCommand     = 4096
	tcgMaxEvent       = 8192
)

// TPMCapability is EFI_TCG2_BOOT_SERVICE_CAPABILITY (TCG EFI 6.4).
type TPMCapability struct {
	Logs        uint32 // bitmap of log formats
	Present     bool
	MaxCommand  uint16
	MaxResponse uint16
	ActiveBanks uint32
}

// parseCapability reads the structure, which has natural alignment.
func parseCapability(b []byte) TPMCapability {
	return TPMCapability{
		Logs:        binary.LittleEndian.Uint32(b[12:]),
		Present:     b[16] != 0,
		MaxCommand:  binary.LittleEndian.Uint16(b[18:]),
		MaxResponse: binary.LittleEndian.Uint16(b[20:]),
		ActiveBanks: binary.LittleEndian.Uint32(b[32:]),
	}
}

// OpenTPM finds the TPM and checks that it can carry the chain of measurements: a TPM 2.0 that is there, an active
// SHA-256 bank, a crypto-agile log.
func (f *Firmware) OpenTPM() (TPMCapability, error) {
	var c TPMCapability
	tcg, err := f.protocol("EFI_TCG2_PROTOCOL", guidTCG2)
	if err != nil {
		return c, err
	}
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(tcgCapabilitySize)
	if err != nil {
		return c, err
	}
	b[0] = tcgCapabilitySize
	if err := f.call("GetCapability", tcg, tcgGetCapability, tcg, p); err != nil {
		return c, err
	}
	c = parseCapability(b)
	switch {
	case !c.Present:
		return c, &Error{Call: "GetCapability", Object: "TPM 2.0", Status: NotFound}
	case c.ActiveBanks&tcgBankSHA256 == 0:
		return c, fmt.Errorf("TPM: active PCR banks %#x, expected SHA-256 (%#x) among them", c.ActiveBanks, tcgBankSHA256)
	case c.Logs&tcgLogCryptoAgile == 0:
		return c, fmt.Errorf("TPM: event log formats %#x, expected the crypto-agile one (%#x)", c.Logs, tcgLogCryptoAgile)
	}
	f.tcg, f.capability = tcg, c
	return c, nil
}

// HashLogExtend measures: the hash of data goes into the PCR, data itself into the log (TCG EFI 6.6).
func (f *Firmware) HashLogExtend(pcr, eventType uint32, data []byte) error {
	defer f.scratch.release(f.scratch.mark())
	if len(data) > tcgMaxEvent {
		return fmt.Errorf("boot stage: event of %d bytes for PCR %d, at most %d", len(data), pcr, tcgMaxEvent)
	}
	const header = 18 // packed: Size, HeaderSize, HeaderVersion, PCRIndex, EventType
	p, b, err := f.scratch.alloc(header + len(data))
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint32(b[4:], header-4)
	binary.LittleEndian.PutUint16(b[8:], 1)
	binary.LittleEndian.PutUint32(b[10:], pcr)
	binary.LittleEndian.PutUint32(b[14:], eventType)
	copy(b[header:], data)
	if s := f.status(f.tcg, tcgHashLogExtendEvent, f.tcg, 0, p+header, uint64(len(data)), p); s != Success {
		return &Error{Call: "HashLogExtendEvent", Object: fmt.Sprintf("PCR %d", pcr), Status: s}
	}
	return nil
}

// Send passes a command to the TPM (TCG EFI 6.7, SubmitCommand). It makes Firmware a go-tpm transport.
func (f *Firmware) Send(command []byte) ([]byte, error) {
	defer f.scratch.release(f.scratch.mark())
	if limit := min(int(f.capability.MaxCommand), tcgMaxCommand); len(command) > limit {
		return nil, fmt.Errorf("boot stage: TPM command of %d bytes, at most %d", len(command), limit)
	}
	in, b, err := f.scratch.alloc(len(command))
	if err != nil {
		return nil, err
	}
	copy(b, command)
	// Firmware refuses a buffer larger than the response that it announced.
	out, r, err := f.scratch.alloc(max(16, min(int(f.capability.MaxResponse), tcgMaxCommand)))
	if err != nil {
		return nil, err
	}
	if err := f.call("SubmitCommand", f.tcg, tcgSubmitCommand, f.tcg, uint64(len(command)), in, uint64(len(r)), out); err != nil {
		return nil, err
	}
	// The length is in the response header (TPM 2.0 part 1, 18.2): tag, responseSize, responseCode.
	n := binary.BigEndian.Uint32(r[2:])
	if n < 10 || n > uint32(len(r)) {
		return nil, fmt.Errorf("TPM: response of %d bytes, expected 10 to %d", n, len(r))
	}
	return append([]byte(nil), r[:n]...), nil
}

// EventLog copies the log so far (TCG EFI 6.5). Call it last before ExitBootServices, then FinalEvents after it: what
// firmware measures in between can only be read from the Final Events Table.
func (f *Firmware) EventLog() ([]byte, error) {
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(24)
	if err != nil {
		return nil, err
	}
	if err := f.call("GetEventLog", f.tcg, tcgGetEventLog, f.tcg, tcgLogCryptoAgile, p, p+8, p+16); err != nil {
		return nil, err
	}
	start, last := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if b[16] != 0 {
		return nil, fmt.Errorf("event log: firmware ran out of room and cut it off")
	}
	if _, err := f.pointer("event log", start); err != nil {
		return nil, err
	}
	if last < start || last-start > maxLog || last > MaxAddress-maxLogEvent {
		return nil, fmt.Errorf("%w: event log at %#x, its last event at %#x", ErrFirmware, start, last)
	}
	log := f.m.Bytes(start, int(last-start)+maxLogEvent)
	size, algs, err := logSize(log, int(last-start))
	if err != nil {
		return nil, err
	}
	// The Final Events Table (TCG EFI 7): Version, NumberOfEvents, then the events. An earlier boot program may have
	// called GetEventLog too, so part of it can be in the log already.
	finals := f.configuration(guidFinalEvents)
	if finals < PageSize || finals > MaxAddress-maxLog {
		return nil, fmt.Errorf("%w: Final Events Table at %#x, so what is measured after GetEventLog would be lost", ErrFirmware, finals)
	}
	f.algs, f.finals, f.finalsSeen = algs, finals, f.word(finals+8)
	return append([]byte(nil), log[:size]...), nil
}

// FinalEvents appends to log what was measured after EventLog returned. It makes no firmware call.
func (f *Firmware) FinalEvents(log []byte) ([]byte, error) {
	return appendFinalEvents(log, f.m.Bytes(f.finals, maxLog), f.algs, f.finalsSeen)
}
