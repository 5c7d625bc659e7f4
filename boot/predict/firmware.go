package predict

// Event types, TCG PC Client Platform Firmware Profile 1.06 table 14.
const (
	evSeparator               uint32 = 0x00000004
	evEFIVariableDriverConfig uint32 = 0x80000001
	evEFIBootServicesApp      uint32 = 0x80000003
	evEFIAction               uint32 = 0x80000007
	evEFIVariableAuthority    uint32 = 0x800000E0
)

const (
	applicationPCR = 4
	secureBootPCR  = 7
)

// Profile says what a firmware measures where the standard leaves it a choice.
type Profile struct {
	Name string
	// FailedBootOptions is how many boot options the firmware tries in vain before
	// the one that boots the image. Each leaves two actions in PCR 4. It is zero where
	// the image's disk is first in the boot order.
	FailedBootOptions int
}

// OVMF is the firmware of virtual machines as Debian 12 builds it (EDK II stable
// 202211, OVMF_CODE_4M.secboot.fd), with the image's disk first in the boot order. Of the
// variables it measures SecureBoot, PK, KEK, db and dbx in this order, an absent one as
// an empty one; dbt and dbr only if they exist. The separators of PCR 0 to 6 come with
// the first boot attempt, after its action; that of PCR 7 right after the variables.
var OVMF = Profile{Name: "ovmf"}

// BootEvents returns the events of PCR 4 for an application with the given Authenticode
// digests that is started from a boot option.
func (p Profile) BootEvents(app Digests) []Event {
	calling := hashed(applicationPCR, evEFIAction, []byte("Calling EFI Application from Boot Option"), "boot attempt")
	returning := hashed(applicationPCR, evEFIAction, []byte("Returning from EFI Application from Boot Option"), "boot attempt failed")
	events := []Event{calling, separator(applicationPCR)}
	for range p.FailedBootOptions {
		events = append(events, returning, calling)
	}
	return append(events, Event{
		PCR:         applicationPCR,
		Type:        evEFIBootServicesApp,
		Digests:     app,
		Description: "bootx64.efi, Authenticode digest",
	})
}

// SecureBootEvents returns the events of PCR 7: the state of Secure Boot, and the
// entry of db (an EFI_SIGNATURE_DATA) by which the application was allowed to start.
func (p Profile) SecureBootEvents(v Variables, authority []byte) []Event {
	variable := func(kind uint32, guid [16]byte, name string, data []byte, description string) Event {
		return hashed(secureBootPCR, kind, variableData(guid, name, data), description)
	}
	const driverConfig = evEFIVariableDriverConfig
	return []Event{
		variable(driverConfig, globalVariable, "SecureBoot", []byte{1}, "SecureBoot: on"),
		variable(driverConfig, globalVariable, "PK", v.PK, "platform key"),
		variable(driverConfig, globalVariable, "KEK", v.KEK, "key exchange keys"),
		variable(driverConfig, imageSecurityDatabase, "db", v.Db, "allowed signers"),
		variable(driverConfig, imageSecurityDatabase, "dbx", v.Dbx, "forbidden signers and images"),
		separator(secureBootPCR),
		variable(evEFIVariableAuthority, imageSecurityDatabase, "db", authority, "db entry that allowed bootx64.efi"),
	}
}

func separator(pcr int) Event {
	return hashed(pcr, evSeparator, make([]byte, 4), "separator")
}
