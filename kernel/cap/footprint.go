package cap

// What capabilities take of the kernel's memory, in bytes, at most. footprint_test.go
// compares it with the types.
const (
	// Place is for one that is on its way in a message, beside the message: a node and
	// a tombstone in the derivation tree, the tree if it is alone in it, and a gate that
	// it came through.
	Place = 2*nodeBytes + familyBytes + viaBytes
	// Footprint is for all that a process can hold.
	Footprint = tableBytes + Capacity*Place

	tableBytes  = 8248
	nodeBytes   = 104
	familyBytes = 16
	viaBytes    = 24
)
