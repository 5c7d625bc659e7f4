# PCR values. 4, 7, 8, 9 and 11 hold what AIOS boots and can be computed from the
# signed image alone. 0 and 2 hold the machine's firmware, which nobody but its vendor
# can predict: there the host is held to what it had when it was enrolled.
package aios.attest

predicted_pcrs := ["4", "7", "8", "9", "11"]

firmware_pcrs := ["0", "2"]

meaning := {
	"0": "firmware",
	"2": "option ROMs and drivers",
	"4": "boot program",
	"7": "Secure Boot keys",
	"8": "slot, configuration and command line",
	"9": "manifest and kernel",
	"11": "services, agents and policy",
}

pcr_denials := array.flatten([
	pcrs_missing,
	pcrs_not_predicted,
	pcrs_without_basis,
	pcrs_different,
])

pcrs_missing := [reason |
	some index in array.concat(predicted_pcrs, firmware_pcrs)
	not pcr_present(index)
	reason := {
		"code": concat(".", ["pcr", index, "missing"]),
		"text": sprintf("PCR %s (%s) is not among the findings", [index, meaning[index]]),
		"remedy": "quote all of PCR 0, 2, 4, 7, 8, 9 and 11",
	}
]

# That an entry is there is decided by its value, so an index with null is missing.
pcr_present(index) if is_object(input.pcrs[index])

pcrs_not_predicted := [reason |
	some index in predicted_pcrs
	pcr_present(index)
	object.get(input.pcrs[index], "basis", "") != "predicted"
	reason := {
		"code": concat(".", ["pcr", index, "basis"]),
		"text": sprintf("PCR %s (%s) was not compared with a value computed from the image", [index, meaning[index]]),
		"remedy": "give the verifier the image's signed reference.json; a baseline does not replace it",
	}
]

pcrs_without_basis := [reason |
	some index, pcr in input.pcrs
	not index in predicted_pcrs
	not object.get(pcr, "basis", "") in {"predicted", "baseline", "none"}
	reason := {
		"code": concat(".", ["pcr", index, "basis"]),
		"text": sprintf("PCR %s has the unknown basis %v", [index, object.get(pcr, "basis", "")]),
		"remedy": "appraise again with a verifier of the policy's version",
	}
]

pcrs_different := [reason |
	some index, pcr in input.pcrs
	index in array.concat(predicted_pcrs, firmware_pcrs)
	object.get(pcr, "basis", "") in {"predicted", "baseline"}
	not pcr_match(pcr)
	reason := difference(index, pcr)
]

pcr_warnings := array.concat(
	[reason |
		some index in firmware_pcrs
		object.get(input.pcrs[index], "basis", "") == "none"
		reason := {
			"code": concat(".", ["pcr", index, "no_baseline"]),
			"text": sprintf("no baseline yet for PCR %s (%s)", [index, meaning[index]]),
			"remedy": "if you trust the firmware as it is now, record a baseline for this host",
		}
	],
	[reason |
		some index, pcr in input.pcrs
		not index in array.concat(predicted_pcrs, firmware_pcrs)
		object.get(pcr, "basis", "") in {"predicted", "baseline"}
		not pcr_match(pcr)
		reason := difference(index, pcr)
	],
)

# The flag alone is not believed: the two values must be there and equal.
pcr_match(pcr) if {
	pcr.match == true
	pcr.quoted == pcr.expected
	regex.match(`^([0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})$`, pcr.quoted)
}

difference(index, pcr) := {
	"code": concat(".", ["pcr", index, "differs"]),
	"text": sprintf("PCR %s (%s): expected %v (%v), quoted %v", [
		index, object.get(meaning, index, "platform"), object.get(pcr, "expected", ""),
		object.get(pcr, "basis", ""), object.get(pcr, "quoted", ""),
	]),
	"remedy": object.get(difference_remedy, index, "find out what changed on the host since its baseline"),
}

difference_remedy := {
	"0": "the firmware changed since enrolment; if that was you, accept it with `aios verifier baseline HOST`; otherwise take the host out",
	"2": "an option ROM or driver changed since enrolment; if that was you, accept it with `aios verifier baseline HOST`; otherwise take the host out",
	"4": "another boot program ran than the image holds; write the image to the disk again and boot it directly",
	"7": "the Secure Boot keys or state differ from those in the reference; enrol the keys again, or make the reference for this machine",
	"8": "the slot, configuration or command line is not the reference's; compare boot.conf with the image's",
	"9": "another manifest or kernel was started than the image holds; install the image again",
	"11": "other services or another policy were loaded than the image holds; install the image again",
}
