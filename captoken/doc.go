// Package captoken is the capability token of AIOS and what hangs together with it:
// leases, operator commands and receipts.
//
// A token says what one agent may do on one host until when. It is a CWT (RFC 8392)
// in COSE_Sign1 (RFC 9052), signed with ML-DSA (RFC 9964), and may be followed by
// delegation blocks, by each of which a holder passes a part of it on without asking
// the issuer. The issuer makes one with Mint, a holder narrows it with Delegate, and
// whoever installs it calls Verify, once, and gets a Grant: what is left of all of it.
//
//	token, err := captoken.Mint(key, captoken.Claims{Subject: "planner", Audience: host, ...})
//	grant, err := captoken.Verify(token, captoken.Want{Trusted: issuers, Host: host, Agent: "planner", ...})
//
// A token hangs from a lease: a signed duration that the verifier grants a host with
// each good verdict. LeaseState keeps it; when it has lapsed, so have all tokens that
// name it. Commands are what operators sign to stop agents; a Receipt is what the
// kernel says when it has done so.
//
// Every signed object names its kind in the protected header (typ, RFC 9596), so that
// nothing that was signed as one thing passes as another: RFC 9964 leaves no room for
// ML-DSA contexts of our own. Each kind has exactly one encoding: what is accepted
// re-encodes to the same bytes. Each length has a bound that is checked before
// anything is allocated, and no claim is looked at before the signature was found good.
//
// The verifying half runs in ring 0, so the package does without reflection and
// without third parties other than ML-DSA. docs/token-format.md describes the format;
// testdata/vectors holds examples, good and bad.
package captoken
