//go:build aios

package captoken

import "errors"

// On the target there is no hybrid: whatever verifies Ed25519 in Go links what signs with
// it (the self-test of crypto/internal/fips140/ed25519), and the kernel is to hold nothing
// that signs. Its algorithm is unknown there.
const (
	hybridPublicKey = 0
	hybridSignature = 0
	hybridSeed      = 0
)

var errNoHybrid = errors.New("ML-DSA-65-Ed25519 is not known on the target")

func parseHybrid([]byte) (verifier, error) { return nil, errNoHybrid }

func newHybrid([]byte) (public []byte, sign func([]byte, bool) ([]byte, error), err error) {
	return nil, nil, errNoHybrid
}
