// Package ear signs and checks the result of an appraisal: an EAT Attestation Result
// (draft-ietf-rats-ear-04) as a JSON Web Token, signed with ML-DSA-65 (RFC 9964).
//
// The token is a JWS in compact form (RFC 7515 section 7.1) with the protected header
//
//	{"alg":"ML-DSA-65","kid":"<RFC 7638 thumbprint of the key>","typ":"eat+jwt"}
//
// and these claims:
//
//	eat_profile      "tag:ietf.org,2026:rats/ear#04"
//	iat, exp         when it was issued, and until when it may be relied upon
//	eat_nonce        base64url of the nonce that the host's TPM quoted
//	ear_status       the worst status of all submodules
//	ear_verifier_id  {"build", "developer"}
//	submods          {"aios-host": {
//	    ear_status                  affirming, warning or contraindicated
//	    ear_trustworthiness_vector  AR4SI section 2.3, keys such as "executables"
//	    ear_appraisal_policy_ids    [the policy that decided]
//	    ear_attester_claims         what was proven about the host (strings)
//	    ear_verifier_claims         {"reasons": [{"code", "remedy", "text"}]} }}
//
// A token that verifies says that the verifier issued this result. It does not say
// that the result is good: look at Result.Status.
//
// # Why not a JOSE library
//
// The JWS part is about a hundred lines and takes one algorithm, one header and one
// encoding. A general library brings what JWT verifiers fail by: algorithms chosen by
// the token, keys fetched for the token (jku, x5u, jwk), a second serialization, a
// registry of algorithms that other packages of the program can add to. The tests hold
// our tokens against such a library (lestrrat-go/jwx) and a second implementation of
// ML-DSA (filippo.io/mldsa), in both directions.
//
// # One form
//
// Header and claims are accepted only in the form in which Issue writes them, byte for
// byte. Duplicate or differently spelt names, other escapes and unknown claims are
// therefore errors, not questions of taste between two readers. A relying party must
// be upgraded before the verifier starts to emit a new claim.
package ear
