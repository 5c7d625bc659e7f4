//go:build aios

package metal

import "math/bits"

var (
	tscHz    uint64
	tscBoot  uint64
	wallBase int64 // UnixNanos at tscBoot
	coarseNS uint64
)

// now is nanoseconds since this image was entered.
func now() int64 { return tscNanos(rdtsc() - tscBoot) }

// tscNanos of a difference below zero is 0: counters of CPUs may be a little apart.
func tscNanos(d uint64) int64 {
	if int64(d) < 0 {
		return 0
	}
	hi, lo := bits.Mul64(d, 1_000_000_000)
	q, _ := bits.Div64(hi, lo, tscHz)
	return int64(q)
}

// calibrate measures the TSC against channel 2 of the PIT (1.193182 MHz), 10 ms.
func calibrate() {
	const count = 11932
	out8(0x61, in8(0x61)&^2|1)
	out8(0x43, 0xb0)
	out8(0x42, count&0xff)
	out8(0x42, count>>8)
	t0 := rdtsc()
	for in8(0x61)&0x20 == 0 {
	}
	tscHz = (rdtsc() - t0) * 100
}

// Local APIC registers (Intel SDM 3A, 11.4).
const (
	lapicBase    = 0xfee00000
	lapicID      = 0x020
	lapicEOI     = 0x0b0
	lapicSVR     = 0x0f0
	lapicISR     = 0x100
	lapicICRLow  = 0x300
	lapicICRHigh = 0x310
	lapicTimer   = 0x320
	lapicCount   = 0x380
	lapicCurrent = 0x390
	lapicDivide  = 0x3e0
)

func lapic(reg uintptr) *uint32 { return p32(lapicBase + reg) }

func eoi() { *lapic(lapicEOI) = 0 }

var lapicTick uint32 // timer counts in a millisecond

// lapicInit enables this CPU's local APIC and starts its tick.
func lapicInit() {
	*lapic(lapicSVR) = 0x100 | vecSpurious
	*lapic(lapicDivide) = 3 // by 16
	if lapicTick == 0 {
		*lapic(lapicTimer) = 1 << 16
		*lapic(lapicCount) = 0xffffffff
		t0 := rdtsc()
		for rdtsc()-t0 < tscHz/100 {
		}
		lapicTick = (0xffffffff - *lapic(lapicCurrent)) / 10
	}
	*lapic(lapicTimer) = vecTimer | 1<<17 // periodic
	*lapic(lapicCount) = lapicTick
}

// maskPICs silences the two 8259s.
func maskPICs() {
	for _, c := range [...][2]uint8{{0x20, 0x11}, {0xa0, 0x11}, {0x21, 0x20}, {0xa1, 0x28}, {0x21, 4}, {0xa1, 2}, {0x21, 1}, {0xa1, 1}, {0x21, 0xff}, {0xa1, 0xff}} {
		out8(uint16(c[0]), c[1])
	}
}

func sendIPI(apic, vector uint64) {
	for *lapic(lapicICRLow)&(1<<12) != 0 {
		pause()
	}
	*lapic(lapicICRHigh) = uint32(apic) << 24
	*lapic(lapicICRLow) = uint32(vector) | 1<<14
}
