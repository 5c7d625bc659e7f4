package eventlog

import "fmt"

// Type is an event's type (PFP 1.06 section 10.4.1, table 27).
type Type uint32

const (
	EVPrebootCert         Type = 0x00
	EVPostCode            Type = 0x01
	EVNoAction            Type = 0x03
	EVSeparator           Type = 0x04
	EVAction              Type = 0x05
	EVEventTag            Type = 0x06
	EVSCRTMContents       Type = 0x07
	EVSCRTMVersion        Type = 0x08
	EVCPUMicrocode        Type = 0x09
	EVPlatformConfigFlags Type = 0x0a
	EVTableOfDevices      Type = 0x0b
	EVCompactHash         Type = 0x0c
	EVIPL                 Type = 0x0d
	EVIPLPartitionData    Type = 0x0e
	EVNonhostCode         Type = 0x0f
	EVNonhostConfig       Type = 0x10
	EVNonhostInfo         Type = 0x11
	EVOmitBootDevice      Type = 0x12
	EVPostCode2           Type = 0x13

	EVEFIVariableDriverConfig Type = 0x80000001
	EVEFIVariableBoot         Type = 0x80000002
	EVEFIBootServicesApp      Type = 0x80000003
	EVEFIBootServicesDriver   Type = 0x80000004
	EVEFIRuntimeDriver        Type = 0x80000005
	EVEFIGPT                  Type = 0x80000006
	EVEFIAction               Type = 0x80000007
	EVEFIFirmwareBlob         Type = 0x80000008
	EVEFIHandoffTables        Type = 0x80000009
	EVEFIFirmwareBlob2        Type = 0x8000000a
	EVEFIHandoffTables2       Type = 0x8000000b
	EVEFIVariableBoot2        Type = 0x8000000c
	EVEFIGPT2                 Type = 0x8000000d
	EVEFIHCRTM                Type = 0x80000010
	EVEFIVariableAuthority    Type = 0x800000e0
	EVEFISPDMFirmwareBlob     Type = 0x800000e1
	EVEFISPDMFirmwareConfig   Type = 0x800000e2
)

var typeNames = map[Type]string{
	EVPrebootCert: "EV_PREBOOT_CERT", EVPostCode: "EV_POST_CODE", EVNoAction: "EV_NO_ACTION", EVSeparator: "EV_SEPARATOR",
	EVAction: "EV_ACTION", EVEventTag: "EV_EVENT_TAG", EVSCRTMContents: "EV_S_CRTM_CONTENTS", EVSCRTMVersion: "EV_S_CRTM_VERSION",
	EVCPUMicrocode: "EV_CPU_MICROCODE", EVPlatformConfigFlags: "EV_PLATFORM_CONFIG_FLAGS", EVTableOfDevices: "EV_TABLE_OF_DEVICES",
	EVCompactHash: "EV_COMPACT_HASH", EVIPL: "EV_IPL", EVIPLPartitionData: "EV_IPL_PARTITION_DATA", EVNonhostCode: "EV_NONHOST_CODE",
	EVNonhostConfig: "EV_NONHOST_CONFIG", EVNonhostInfo: "EV_NONHOST_INFO", EVOmitBootDevice: "EV_OMIT_BOOT_DEVICE_EVENTS",
	EVPostCode2:               "EV_POST_CODE2",
	EVEFIVariableDriverConfig: "EV_EFI_VARIABLE_DRIVER_CONFIG", EVEFIVariableBoot: "EV_EFI_VARIABLE_BOOT",
	EVEFIBootServicesApp: "EV_EFI_BOOT_SERVICES_APPLICATION", EVEFIBootServicesDriver: "EV_EFI_BOOT_SERVICES_DRIVER",
	EVEFIRuntimeDriver: "EV_EFI_RUNTIME_SERVICES_DRIVER", EVEFIGPT: "EV_EFI_GPT_EVENT", EVEFIAction: "EV_EFI_ACTION",
	EVEFIFirmwareBlob: "EV_EFI_PLATFORM_FIRMWARE_BLOB", EVEFIHandoffTables: "EV_EFI_HANDOFF_TABLES",
	EVEFIFirmwareBlob2: "EV_EFI_PLATFORM_FIRMWARE_BLOB2", EVEFIHandoffTables2: "EV_EFI_HANDOFF_TABLES2",
	EVEFIVariableBoot2: "EV_EFI_VARIABLE_BOOT2", EVEFIGPT2: "EV_EFI_GPT_EVENT2", EVEFIHCRTM: "EV_EFI_HCRTM_EVENT",
	EVEFIVariableAuthority: "EV_EFI_VARIABLE_AUTHORITY", EVEFISPDMFirmwareBlob: "EV_EFI_SPDM_FIRMWARE_BLOB",
	EVEFISPDMFirmwareConfig: "EV_EFI_SPDM_FIRMWARE_CONFIG",
}

// String is the profile's name, unknown-XXXXXXXX for a vendor's type.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("unknown-%08x", uint32(t))
}
