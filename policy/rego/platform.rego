# Secure Boot, the manifest's version, and the hash banks that carry the proof.
package aios.attest

secure_boot_denials := [{
	"code": "secure_boot",
	"text": secure_boot_text,
	"remedy": "enrol the keys and turn Secure Boot on in the firmware, then boot and appraise again",
} |
	not secure_boot_enabled
]

secure_boot_enabled if input.secure_boot.state == "enabled"

default secure_boot_text := "Secure Boot: no finding"

secure_boot_text := sprintf("Secure Boot: %s: %s", [input.secure_boot.state, object.get(input.secure_boot, "reason", "")])

manifest_denials := array.concat(
	[{
		"code": "manifest.rollback",
		"text": manifest_text,
		"remedy": "boot the newest image; if the floor is wrong, lower it on the verifier, on purpose",
	} |
		not manifest_fresh
	],
	[{
		"code": "manifest.key",
		"text": "the key that signed the manifest is not among the findings",
		"remedy": "appraise again with a verifier of the policy's version",
	} |
		not manifest_key_known
	],
)

# Words may never be undefined: a denial without them would vanish.
default manifest_text := "manifest version: none is proven"

manifest_text := sprintf("manifest version: expected at least %v, found %v", [manifest_floor, input.manifest.version]) if {
	input.manifest.version != 0
}

default manifest_floor := "a floor"

manifest_floor := input.manifest.floor

# Versions count from 1; in Rego's order of types a string is above every number,
# hence the check of the type.
manifest_fresh if {
	is_number(input.manifest.version)
	is_number(input.manifest.floor)
	input.manifest.version >= 1
	input.manifest.version >= input.manifest.floor
}

manifest_key_known if regex.match(`^[0-9a-f]{32,}$`, input.manifest.key)

strong_banks := {"sha256", "sha384", "sha512"}

bank_denials := [{
	"code": "bank",
	"text": bank_text,
	"remedy": bank_remedy,
} |
	not strong_bank
]

strong_bank if {
	some bank in input.banks
	bank in strong_banks
}

any_bank if {
	some _ in input.banks
}

default bank_text := "PCR banks: expected one of sha256, sha384, sha512, none is proven"

bank_text := sprintf("PCR banks: expected one of sha256, sha384, sha512, found %v", [input.banks]) if any_bank

default bank_remedy := "see what is wrong with the quote: without a good one no bank is proven"

bank_remedy := "allocate the sha256 bank in the TPM (firmware setup) and boot again; SHA-1 proves nothing any more" if any_bank
