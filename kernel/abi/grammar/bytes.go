package grammar

// Bytes are choices that a fuzzer makes. When they are used up every choice is the first.
type Bytes []byte

func (b *Bytes) next() (v byte) {
	if len(*b) > 0 {
		v, *b = (*b)[0], (*b)[1:]
	}
	return v
}

// IntN takes as many bytes as n needs.
func (b *Bytes) IntN(n int) int {
	v := 0
	for m := n - 1; m > 0; m >>= 8 {
		v = v<<8 | int(b.next())
	}
	return v % n
}

// Uint64 takes eight.
func (b *Bytes) Uint64() (v uint64) {
	for range 8 {
		v = v<<8 | uint64(b.next())
	}
	return v
}
