//go:build aios

package metal

import "math/bits"

// The runtime's random source: ChaCha20 (RFC 8439, 2.3) keyed from the seed
// that the boot stage took from EFI_RNG or the TPM, mixed with RDRAND where the
// CPU has it; the key is replaced after every request (fast key erasure).
var (
	rngKey     [8]uint32
	rngCounter uint64
	rngBlock   [16]uint32
)

func rngSeed(word int, v uint64) {
	rngKey[word*2&7] ^= uint32(v)
	rngKey[(word*2+1)&7] ^= uint32(v >> 32)
}

func rngStir() {
	for i := 0; i < 4; i++ {
		if v, ok := rdrand(); ok {
			rngSeed(i, v)
		}
	}
	rngSeed(int(rngCounter), rdtsc())
}

func quarter(x *[16]uint32, a, b, c, d int) {
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 16)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 12)
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 8)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 7)
}

func rngNext() {
	s := &rngBlock
	s[0], s[1], s[2], s[3] = 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574
	for i := 0; i < 8; i++ {
		s[4+i] = rngKey[i]
	}
	s[12], s[13], s[14], s[15] = uint32(rngCounter), uint32(rngCounter>>32), 0, 0
	rngCounter++
	in := rngBlock
	for i := 0; i < 10; i++ {
		quarter(s, 0, 4, 8, 12)
		quarter(s, 1, 5, 9, 13)
		quarter(s, 2, 6, 10, 14)
		quarter(s, 3, 7, 11, 15)
		quarter(s, 0, 5, 10, 15)
		quarter(s, 1, 6, 11, 12)
		quarter(s, 2, 7, 8, 13)
		quarter(s, 3, 4, 9, 14)
	}
	for i := range s {
		s[i] += in[i]
	}
}

// rngFill writes n random bytes at p, which is present. The lock is held.
func rngFill(p, n uintptr) {
	for n > 0 {
		rngNext()
		k := min(n, 64)
		for i := uintptr(0); i < k; i++ {
			*p8(p + i) = byte(rngBlock[i/4] >> (i % 4 * 8))
		}
		p, n = p+k, n-k
	}
	rngNext()
	for i := range rngKey {
		rngKey[i] = rngBlock[i]
	}
	for i := range rngBlock {
		rngBlock[i] = 0
	}
}
