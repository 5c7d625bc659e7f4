# Checks that the appraisal has made: every required one must be there, and none
# may have failed, required or not.
package aios.attest

required_checks := [
	"nonce", "ak_bound", "ek_chain", "signature", "pcr_digest",
	"log_parse", "log_replay", "digests", "manifest", "reference",
]

check_denials := array.concat(missing_checks, failed_checks)

reported contains check.name if some check in input.checks

missing_checks := [reason |
	some name in required_checks
	not name in reported
	reason := {
		"code": concat(".", ["check", name, "missing"]),
		"text": sprintf("the check %s was not made", [name]),
		"remedy": "appraise again with a verifier of the policy's version; a check that was not made counts as failed",
	}
]

failed_checks := [reason |
	some check in input.checks
	not check_ok(check)
	reason := {
		"code": concat(".", ["check", check.name]),
		"text": check_text(check),
		"remedy": object.get(check, "remedy", ""),
	}
]

# Only the value true will do; absent, null and "true" are failures.
check_ok(check) if check.ok == true

check_text(check) := check.text if object.get(check, "text", "") != ""

check_text(check) := sprintf("the check %s failed", [check.name]) if object.get(check, "text", "") == ""
