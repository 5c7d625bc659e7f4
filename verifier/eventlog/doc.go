// Package eventlog reads TCG event logs as they are found on real machines:
// legacy SHA-1 logs and crypto-agile ones (TCG PC Client Platform Firmware
// Profile 1.06, section 10), and the CCEL of confidential machines.
//
// A log is evidence from a host that is not trusted yet. Parse never panics,
// works in bounded memory and time, and keeps what it has read when the rest
// makes no sense. Nothing that an event says counts before Replay has matched
// the PCRs that the TPM signed; and since that binds digests, not the data
// beside them, CheckDigest recomputes a digest wherever the profile says what
// it is the digest of.
package eventlog
