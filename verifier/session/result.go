package session

import (
	"strconv"

	"aios/policy"
	"aios/verifier/appraisal"
	"aios/verifier/ear"
)

// claims is what a result tells about the host. Neither EK nor AK is in it:
// both would let relying parties follow one machine everywhere.
func (v *Verifier) claims(verdict *appraisal.Verdict) map[string]string {
	if !verdict.Quoted {
		return nil
	}
	c := map[string]string{"secure_boot": string(verdict.SecureBoot.State)}
	if verdict.Manifest.Version > 0 {
		c["manifest_version"] = strconv.FormatUint(verdict.Manifest.Version, 10)
		c["manifest_key"] = verdict.Manifest.Key
	}
	if verdict.Affirming() {
		c["image_sha256"] = v.Reference.ImageSHA256.String()
	}
	return c
}

func reasons(verdict *appraisal.Verdict) []ear.Reason {
	var out []ear.Reason
	for _, r := range verdict.Reasons {
		out = append(out, ear.Reason(r))
	}
	return out
}

// vector maps findings to AR4SI's trustworthiness vector (draft-ietf-rats-ar4si
// section 2.3). The policy has the last word: where it is content with a
// finding that AR4SI ranks below the verdict, the element says nothing.
func vector(verdict *appraisal.Verdict) ear.Vector {
	failed := map[string]bool{}
	for _, c := range verdict.Checks {
		failed[c.Name] = failed[c.Name] || !c.OK
	}
	any := func(names ...string) bool {
		for _, n := range names {
			if failed[n] {
				return true
			}
		}
		return false
	}
	match := func(indices ...int) bool {
		for _, i := range indices {
			if !verdict.PCRs[strconv.Itoa(i)].Match {
				return false
			}
		}
		return true
	}
	choose := func(good bool, value, otherwise int8) int8 {
		if good {
			return value
		}
		return otherwise
	}
	signed := !any(policy.CheckSignature, policy.CheckNonce, policy.CheckPCRDigest)
	v := ear.Vector{
		InstanceIdentity: choose(!any(policy.CheckAKBound), ear.InstanceTrusted, ear.InstanceUntrusted),
		Configuration:    choose(match(7, 8) && verdict.SecureBoot.State == policy.SecureBootEnabled, ear.ConfigurationApproved, ear.ConfigurationUnsupportable),
		Executables: choose(match(4, 9, 11) && !any(policy.CheckManifest, policy.CheckReference, policy.CheckLogParse, policy.CheckLogReplay, policy.CheckDigests),
			ear.ExecutablesApprovedBoot, ear.ExecutablesContraindicated),
		Hardware: choose(!any(policy.CheckEKChain), ear.HardwareGenuine, ear.HardwareUnrecognized),
	}
	switch { // the firmware belongs to the hardware here
	case match(0, 2):
	case hasBaseline(verdict):
		v.Hardware = ear.HardwareContraindicated
	default:
		v.Hardware = 0
	}
	if !signed { // then nothing that was said is known to be the host's
		v = ear.Vector{InstanceIdentity: ear.CryptoFailed, Configuration: ear.CryptoFailed, Executables: ear.CryptoFailed, Hardware: v.Hardware}
	}
	return v.AtBest(verdict.Status)
}

func hasBaseline(verdict *appraisal.Verdict) bool {
	return verdict.PCRs["0"].Basis == policy.BasisBaseline || verdict.PCRs["2"].Basis == policy.BasisBaseline
}
