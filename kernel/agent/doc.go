// Package agent runs agents on what a verifier grants, and ends them when it must.
//
// An [Authority] holds the host's lease and one token for each agent of the system
// manifest. It starts an agent as a process of the agent's runtime when the lease is
// held and the token is good; it ends it when the lease and its grace are over, when
// the token has expired, when the issuer's revocation list names it, when orders say
// that it may not run, and when a command asks for it. Of each end there is a receipt,
// whose hash the TPM quotes.
//
// Two lines keep an agent within its token. Each of its calls is checked at its handle
// (package cap), so that a handle is dead at the very nanosecond at which the lease ends.
// And the process is ended: by a timer for what time does, at once for what is asked
// for. Nothing here polls.
//
// Ring 3 brings leases, tokens, revocation lists, orders and commands in the system call
// Authority. It is believed in nothing that is signed, and in nothing that would give:
// what it says unsigned (orders, kills) can only take. A refusal is a reason, a line of
// the log, and no change.
//
// The package knows the hardware, the TPM and processes through [Config] alone.
package agent
