// Package e2e does what a user does, with the real bin/aios, real firmware and
// real boots, and what an attacker does to them.
//
// Its tests carry the build tag e2e and are run by `make test-e2e`, which
// builds what they need and says where it is. Each has state folders of its
// own; only the keys, which are built into the boot stage, are shared.
package e2e
