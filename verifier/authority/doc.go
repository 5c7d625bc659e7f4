// Package authority is the token authority of the verifier: it decides who may do what
// for how long, and who may not any more, and forgets neither.
//
// For a verdict that is affirming it grants the host a lease (Grant) and, hanging from
// it, capability tokens for the agents that are assigned to the host. It keeps what was
// revoked, the revocation sequence number and the epoch, verifies what operators
// command (Command), says what each host has to be told (Orders), and verifies what the
// hosts answer (Receipt).
//
// It is a library: it knows no network, no sessions and no clock but the one that it is
// given. Its state is a journal on a Disk; nothing is returned before what it says is
// on the disk, so what was once said holds after a crash. It denies when in doubt.
//
// docs/authority.md says on what grounds it decides, how the journal is written and how
// a receipt is verified.
package authority
