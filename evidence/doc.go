// Package evidence is the protocol between a host's attester and the verifier
// (the conveyance protocol of RATS, RFC 9334 section 11).
//
// A host dials its verifier: TLS 1.3 with X25519MLKEM768, and an introduction in
// which the verifier proves, with its ML-DSA-65 identity key, that this TLS
// connection ends with it (secure.go). Before that the host says nothing about
// itself. From then on the verifier is the client: it asks, the host answers.
// Requests and responses are frames: the length as u32 big endian, then one
// deterministic CBOR map (RFC 8949 section 4.2). An answer carries the id of its
// request, and several requests may be under way at once.
//
// The same requests are answered on the host's console, a byte stream that may
// hold what a former session left behind. There a session is opened with a marker
// of 32 bytes, a fixed magic and a random nonce, which the client repeats until
// the host echoes it. A frame's length never begins with the magic's first byte,
// so a host tells a new session from a request. What a host cannot decode ends the
// session: it waits for the next marker.
//
// docs/evidence-protocol.md has the fields.
package evidence
