# The decision on one host: may it be trusted with anything at all?
#
# The input holds findings that the appraisal has established from evidence (see
# Input in input.go). Nothing is measured or verified here; this file says what the
# findings are worth. It denies by default: a finding that is absent counts as bad.
package aios.attest

default decision := {
	"status": "contraindicated",
	"reasons": [{
		"code": "policy.undecided",
		"text": "the policy reached no decision",
		"remedy": "keep the host out, and report this input: the policy has a gap",
	}],
}

decision := {"status": "contraindicated", "reasons": array.concat(denials, warnings)} if count(denials) > 0

decision := {"status": "warning", "reasons": warnings} if {
	count(denials) == 0
	count(warnings) > 0
}

decision := {"status": "affirming", "reasons": []} if {
	count(denials) == 0
	count(warnings) == 0
}

# What stands first is the likelier cause of what stands below it.
denials := array.flatten([
	check_denials,
	bank_denials,
	secure_boot_denials,
	manifest_denials,
	pcr_denials,
])

warnings := pcr_warnings
