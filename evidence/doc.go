// Package evidence is the protocol between a host's attester and the verifier
// (the conveyance protocol of RATS, RFC 9334 section 11), over any byte stream.
//
// The verifier is the client. It opens a session with a marker of 32 bytes, a
// fixed magic and a random nonce, and repeats it until the host echoes it: the
// stream may hold what a former session left behind. Then requests and
// responses alternate, each a frame: its length as u32 big endian, then one
// deterministic CBOR map (RFC 8949 section 4.2). A frame's length never begins
// with the magic's first byte, so a host tells a new session from a request.
// What a host cannot decode ends the session: it waits for the next marker.
//
// docs/evidence-protocol.md has the fields.
package evidence
