package efi

import "fmt"

// Status is EFI_STATUS (appendix D).
type Status uint64

const errorBit = 1 << 63

// The codes that callers branch on.
const (
	Success          Status = 0
	InvalidParameter Status = errorBit | 2
	Unsupported      Status = errorBit | 3
	BufferTooSmall   Status = errorBit | 5
	NotReady         Status = errorBit | 6
	DeviceError      Status = errorBit | 7
	OutOfResources   Status = errorBit | 9
	NotFound         Status = errorBit | 14
)

var statusNames = [...]string{
	1: "EFI_LOAD_ERROR", 2: "EFI_INVALID_PARAMETER", 3: "EFI_UNSUPPORTED", 4: "EFI_BAD_BUFFER_SIZE",
	5: "EFI_BUFFER_TOO_SMALL", 6: "EFI_NOT_READY", 7: "EFI_DEVICE_ERROR", 8: "EFI_WRITE_PROTECTED",
	9: "EFI_OUT_OF_RESOURCES", 10: "EFI_VOLUME_CORRUPTED", 11: "EFI_VOLUME_FULL", 12: "EFI_NO_MEDIA",
	13: "EFI_MEDIA_CHANGED", 14: "EFI_NOT_FOUND", 15: "EFI_ACCESS_DENIED", 16: "EFI_NO_RESPONSE",
	17: "EFI_NO_MAPPING", 18: "EFI_TIMEOUT", 19: "EFI_NOT_STARTED", 20: "EFI_ALREADY_STARTED", 21: "EFI_ABORTED",
	22: "EFI_ICMP_ERROR", 23: "EFI_TFTP_ERROR", 24: "EFI_PROTOCOL_ERROR", 25: "EFI_INCOMPATIBLE_VERSION",
	26: "EFI_SECURITY_VIOLATION", 27: "EFI_CRC_ERROR", 28: "EFI_END_OF_MEDIA", 31: "EFI_END_OF_FILE",
	32: "EFI_INVALID_LANGUAGE", 33: "EFI_COMPROMISED_DATA", 35: "EFI_HTTP_ERROR",
}

func (s Status) String() string {
	if s == Success {
		return "EFI_SUCCESS"
	}
	if n := s &^ errorBit; s&errorBit != 0 && n < Status(len(statusNames)) && statusNames[n] != "" {
		return statusNames[n]
	}
	return fmt.Sprintf("EFI_STATUS(%#x)", uint64(s))
}

// Error is a firmware call that failed.
type Error struct {
	Call   string // the service, as the specification names it
	Object string // what it was called on, may be empty
	Status Status
}

func (e *Error) Error() string {
	if e.Object == "" {
		return e.Call + ": " + e.Status.String()
	}
	return e.Object + ": " + e.Call + ": " + e.Status.String()
}

// Is makes errors.Is(err, efi.NotFound) work.
func (e *Error) Is(target error) bool {
	s, ok := target.(Status)
	return ok && s == e.Status
}

// Error lets a Status be the target of errors.Is.
func (s Status) Error() string { return s.String() }
