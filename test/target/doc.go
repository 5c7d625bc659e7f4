// Package target boots kernel/cmd/targettest, the kernel that tests itself, by
// the whole chain (firmware with Secure Boot, TPM, signed image) and makes each
// line that it reports a test. `make test-target` runs it.
package target
