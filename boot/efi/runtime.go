package efi

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Variable reads a variable of the global namespace (3.3, 8.2.1), at most 1 KiB.
func (f *Firmware) Variable(name string) ([]byte, error) {
	defer f.scratch.release(f.scratch.mark())
	text, err := f.scratch.text(name)
	if err != nil {
		return nil, err
	}
	const limit = 1024
	p, b, err := f.scratch.alloc(24 + limit)
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint64(b, limit)
	copy(b[8:], guidGlobal[:])
	if s := f.status(f.runtime, runtimeGetVariable, text, p+8, 0, p, p+24); s != Success {
		return nil, &Error{Call: "GetVariable", Object: name, Status: s}
	}
	n := binary.LittleEndian.Uint64(b)
	if n > limit {
		return nil, fmt.Errorf("%w: variable %s of %d bytes in a buffer of %d", ErrFirmware, name, n, limit)
	}
	return append([]byte(nil), b[24:24+n]...), nil
}

// SecureBoot tells whether firmware checked the boot stage's signature: SecureBoot is 1 and SetupMode is 0 (3.3, 32.3).
// Firmware without these variables has no Secure Boot.
func (f *Firmware) SecureBoot() bool {
	on, err := f.Variable("SecureBoot")
	if err != nil || len(on) != 1 || on[0] != 1 {
		return false
	}
	setup, err := f.Variable("SetupMode")
	return err == nil && len(setup) == 1 && setup[0] == 0
}

// Time reads the clock (8.3.1). The answer is in UTC.
func (f *Firmware) Time() (time.Time, error) {
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(16)
	if err != nil {
		return time.Time{}, err
	}
	if err := f.call("GetTime", f.runtime, runtimeGetTime, p, 0); err != nil {
		return time.Time{}, err
	}
	return parseTime(b)
}

// parseTime reads EFI_TIME (8.3.1). A clock without a known time zone is taken for UTC.
func parseTime(b []byte) (time.Time, error) {
	const unspecifiedZone = 0x7ff
	year, month, day := int(binary.LittleEndian.Uint16(b)), int(b[2]), int(b[3])
	hour, minute, second := int(b[4]), int(b[5]), int(b[6])
	nano := int(binary.LittleEndian.Uint32(b[8:]))
	zone := int(int16(binary.LittleEndian.Uint16(b[12:])))
	if zone == unspecifiedZone {
		zone = 0
	}
	if year < 1970 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
		second > 59 || nano > 999999999 || zone < -1440 || zone > 1440 {
		return time.Time{}, fmt.Errorf("%w: GetTime gave %04d-%02d-%02d %02d:%02d:%02d.%09d zone %d", ErrFirmware, year, month, day,
			hour, minute, second, nano, zone)
	}
	// Localtime = UTC - TimeZone, in minutes.
	return time.Date(year, time.Month(month), day, hour, minute+zone, second, nano, time.UTC), nil
}

// Random fills b from EFI_RNG_PROTOCOL (37.5), which many machines lack.
func (f *Firmware) Random(b []byte) error {
	rng, err := f.protocol("EFI_RNG_PROTOCOL", guidRNG)
	if err != nil {
		return err
	}
	defer f.scratch.release(f.scratch.mark())
	p, out, err := f.scratch.alloc(len(b))
	if err != nil {
		return err
	}
	const getRNG = 0x08
	if err := f.call("GetRNG", rng, getRNG, rng, 0, uint64(len(b)), p); err != nil {
		return err
	}
	copy(b, out)
	clear(out)
	return nil
}
