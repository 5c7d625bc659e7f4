package policy

// Input is what the appraisal has established about one host. It reaches the policy
// as the JSON document that its tags describe. The zero value of every field is the
// bad case, so a field that nobody filled in denies.
type Input struct {
	Checks     []Check        `json:"checks"`      // made by the appraisal
	PCRs       map[string]PCR `json:"pcrs"`        // by decimal index
	SecureBoot SecureBoot     `json:"secure_boot"` // what the log proves
	Manifest   Manifest       `json:"manifest"`    // the measured one
	Host       map[string]any `json:"host"`        // what is known of the host, for policies that tell hosts apart
	Banks      []string       `json:"banks"`       // hash banks that the quote covers, "sha256"
}

// Names of the checks that the default policy requires.
const (
	CheckNonce     = "nonce"      // the quote is over the nonce that we sent
	CheckAKBound   = "ak_bound"   // the AK lives in the TPM that owns the EK
	CheckEKChain   = "ek_chain"   // the EK certificate leads to a known TPM vendor
	CheckSignature = "signature"  // the AK signed the quote
	CheckPCRDigest = "pcr_digest" // the PCR values are those that were signed
	CheckLogParse  = "log_parse"  // the event log makes sense to its end
	CheckLogReplay = "log_replay" // the event log leads to the PCR values
	CheckDigests   = "digests"    // events are what their digests say
	CheckManifest  = "manifest"   // the manifest is signed and the measured one
	CheckReference = "reference"  // the reference values are signed
)

// Check is one check of the appraisal and how it ended.
type Check struct {
	Name   string `json:"name"`   // one of the names above
	OK     bool   `json:"ok"`     // only true will do
	Text   string `json:"text"`   // what was found; for a failure what failed, expected against found
	Remedy string `json:"remedy"` // for a failure: what to do
}

// Bases that a PCR's expected value can have.
const (
	BasisPredicted = "predicted" // computed from the signed image
	BasisBaseline  = "baseline"  // recorded when the host was enrolled
	BasisNone      = "none"      // nothing to compare with
)

// PCR is one register: its value as quoted and the value that it should have.
type PCR struct {
	Quoted   string `json:"quoted"`   // lower-case hex
	Expected string `json:"expected"` // lower-case hex, empty when Basis is none
	Basis    string `json:"basis"`    // where Expected is from
	Match    bool   `json:"match"`    // Quoted equals Expected
}

// SecureBootEnabled is the one good state of SecureBoot.
const SecureBootEnabled = "enabled"

// SecureBoot is what the replayed log proves about Secure Boot.
type SecureBoot struct {
	State  string `json:"state"`  // "enabled", "disabled" or "not proven"
	Reason string `json:"reason"` // why
}

// Manifest identifies the measured system manifest.
type Manifest struct {
	Version uint64 `json:"version"` // of the manifest in PCR 9
	Floor   uint64 `json:"floor"`   // the lowest version that is still accepted
	Key     string `json:"key"`     // identifier of the signing key, hex
}
