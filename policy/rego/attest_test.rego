package aios.attest_test

import data.aios.attest

value := "0000000000000000000000000000000000000000000000000000000000000001"

other := "0000000000000000000000000000000000000000000000000000000000000002"

predicted := {"quoted": value, "expected": value, "basis": "predicted", "match": true}

baseline := {"quoted": value, "expected": value, "basis": "baseline", "match": true}

no_baseline := {"quoted": value, "expected": "", "basis": "none", "match": false}

good := {
	"checks": [{"name": name, "ok": true, "text": "", "remedy": ""} | some name in attest.required_checks],
	"pcrs": {
		"0": baseline, "2": baseline,
		"4": predicted, "7": predicted, "8": predicted, "9": predicted, "11": predicted,
	},
	"secure_boot": {"state": "enabled", "reason": ""},
	"manifest": {"version": 7, "floor": 7, "key": "00112233445566778899aabbccddeeff"},
	"host": {},
	"banks": ["sha1", "sha256"],
}

# changed is the good input with one thing replaced, taken away or added.
changed(op, path, val) := json.patch(good, [{"op": op, "path": path, "value": val}])

codes(decision) := [r.code | some r in decision.reasons]

test_good if {
	attest.decision == {"status": "affirming", "reasons": []} with input as good
}

test_nothing if {
	d := attest.decision with input as {}
	d.status == "contraindicated"
	count(d.reasons) == 21
}

test_denied[note] if {
	some note, case in {
		"check failed": {"input": changed("replace", "/checks/0/ok", false), "codes": ["check.nonce"]},
		"check null": {"input": changed("replace", "/checks/0/ok", null), "codes": ["check.nonce"]},
		"check \"true\"": {"input": changed("replace", "/checks/0/ok", "true"), "codes": ["check.nonce"]},
		"check missing": {"input": changed("remove", "/checks/0", null), "codes": ["check.nonce.missing"]},
		"check good and bad": {
			"input": changed("add", "/checks/-", {"name": "nonce", "ok": false, "text": "x"}),
			"codes": ["check.nonce"],
		},
		"unknown check failed": {
			"input": changed("add", "/checks/-", {"name": "more", "ok": false, "text": "x"}),
			"codes": ["check.more"],
		},
		"pcr differs": {"input": changed("replace", "/pcrs/9/match", false), "codes": ["pcr.9.differs"]},
		"pcr said to match": {"input": changed("replace", "/pcrs/9/quoted", other), "codes": ["pcr.9.differs"]},
		"pcr said to match, empty": {
			"input": changed("replace", "/pcrs/4", {"quoted": "", "expected": "", "basis": "predicted", "match": true}),
			"codes": ["pcr.4.differs"],
		},
		"pcr missing": {"input": changed("remove", "/pcrs/11", null), "codes": ["pcr.11.missing"]},
		"pcr null": {"input": changed("replace", "/pcrs/11", null), "codes": ["pcr.11.missing"]},
		"pcr with baseline only": {"input": changed("replace", "/pcrs/7", baseline), "codes": ["pcr.7.basis"]},
		"pcr without basis": {"input": changed("replace", "/pcrs/8/basis", "none"), "codes": ["pcr.8.basis"]},
		"firmware differs": {"input": changed("replace", "/pcrs/0/match", false), "codes": ["pcr.0.differs"]},
		"option ROM differs": {"input": changed("replace", "/pcrs/2/quoted", other), "codes": ["pcr.2.differs"]},
		"firmware missing": {"input": changed("remove", "/pcrs/0", null), "codes": ["pcr.0.missing"]},
		"firmware with unknown basis": {"input": changed("replace", "/pcrs/0/basis", "hope"), "codes": ["pcr.0.basis"]},
		"Secure Boot off": {"input": changed("replace", "/secure_boot/state", "disabled"), "codes": ["secure_boot"]},
		"Secure Boot not proven": {"input": changed("replace", "/secure_boot/state", "not proven"), "codes": ["secure_boot"]},
		"Secure Boot missing": {"input": changed("remove", "/secure_boot", null), "codes": ["secure_boot"]},
		"rollback": {"input": changed("replace", "/manifest/floor", 8), "codes": ["manifest.rollback"]},
		"version 0": {
			"input": changed("replace", "/manifest", {"version": 0, "floor": 0, "key": good.manifest.key}),
			"codes": ["manifest.rollback"],
		},
		"version as text": {"input": changed("replace", "/manifest/version", "7"), "codes": ["manifest.rollback"]},
		"no floor": {"input": changed("remove", "/manifest/floor", null), "codes": ["manifest.rollback"]},
		"no key": {"input": changed("replace", "/manifest/key", ""), "codes": ["manifest.key"]},
		"SHA-1 alone": {"input": changed("replace", "/banks", ["sha1"]), "codes": ["bank"]},
		"SM3 alone": {"input": changed("replace", "/banks", ["sm3_256"]), "codes": ["bank"]},
		"no bank": {"input": changed("replace", "/banks", []), "codes": ["bank"]},
		"banks null": {"input": changed("replace", "/banks", null), "codes": ["bank"]},
	}
	d := attest.decision with input as case.input
	d.status == "contraindicated"
	codes(d) == case.codes
	every r in d.reasons {
		r.text != ""
	}
}

test_warned[note] if {
	some note, case in {
		"no baseline": {"input": changed("replace", "/pcrs/0", no_baseline), "codes": ["pcr.0.no_baseline"]},
		"other pcr changed": {
			"input": changed("add", "/pcrs/1", object.union(baseline, {"match": false})),
			"codes": ["pcr.1.differs"],
		},
	}
	d := attest.decision with input as case.input
	d.status == "warning"
	codes(d) == case.codes
}

test_accepted[note] if {
	some note, case in {
		"above the floor": changed("replace", "/manifest/version", 8),
		"SHA-384": changed("replace", "/banks", ["sha384"]),
		"firmware predicted": changed("replace", "/pcrs/0", predicted),
		"other pcr without basis": changed("add", "/pcrs/1", no_baseline),
		"one more good check": changed("add", "/checks/-", {"name": "more", "ok": true}),
	}
	d := attest.decision with input as case
	d.status == "affirming"
}

# The check's own words and remedy reach the reader.
test_words_of_the_check if {
	d := attest.decision with input as changed("replace", "/checks/0", {
		"name": "nonce", "ok": false, "text": "nonce: expected aa, found bb", "remedy": "ask again",
	})
	d.reasons == [{"code": "check.nonce", "text": "nonce: expected aa, found bb", "remedy": "ask again"}]
}

# A denial stands before a warning, and the warning is kept.
test_denial_before_warning if {
	d := attest.decision with input as json.patch(good, [
		{"op": "replace", "path": "/pcrs/0", "value": no_baseline},
		{"op": "replace", "path": "/pcrs/9/match", "value": false},
	])
	d.status == "contraindicated"
	codes(d) == ["pcr.9.differs", "pcr.0.no_baseline"]
}

# The default stands between an undecided case and trust.
test_default if {
	d := attest.decision with attest.denials as null with attest.warnings as null
	d.status == "contraindicated"
	codes(d) == ["policy.undecided"]
}
