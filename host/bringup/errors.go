package bringup

import (
	"fmt"
	"strings"
	"time"
)

// RefusedError says that boot or the kernel would not go on.
type RefusedError struct {
	By     string // "boot", "kernel"
	Stage  string // what was being checked
	Reason string
	Advice string // what the refusing stage itself recommends
}

func (e *RefusedError) Error() string {
	at := ""
	if e.Stage != "" {
		at = " at " + e.Stage
	}
	return fmt.Sprintf("%s refused to go on%s: %s", e.By, at, e.Reason)
}

func (e *RefusedError) Remedy() string {
	if e.Advice != "" {
		return e.Advice
	}
	return "rebuild and sign the image: aios image build --force"
}

// FirmwareError says that the firmware did not start our boot stage.
type FirmwareError struct {
	Line string // what the firmware said
}

func (e *FirmwareError) Error() string {
	if e.Denied() {
		return "the firmware refused bootx64.efi: its signature is missing or not by a certificate in db: " + e.Line
	}
	return "the firmware could not start bootx64.efi: " + e.Line
}

// Denied says whether Secure Boot was the reason.
func (e *FirmwareError) Denied() bool {
	return strings.Contains(e.Line, "Access Denied") || strings.Contains(e.Line, "Security Violation")
}

func (e *FirmwareError) Remedy() string {
	if e.Denied() {
		return "rebuild and sign the image with this installation's keys: aios image build --force; if the keys are new, make the host anew: aios host reset"
	}
	return "rebuild the image: aios image build --force"
}

// TimeoutError says that a stage did not end in time.
type TimeoutError struct {
	Stage string
	After time.Duration
	Last  []string // console lines
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("nothing came after stage %q had gone on for %s%s", e.Stage, e.After, lastWords(e.Last))
}

func (e *TimeoutError) Remedy() string {
	return "read the whole console in the state folder's host/console.log; on a very busy machine try again"
}

// EndedError says that the machine ended before a stage was reached.
type EndedError struct {
	Stage string
	Exit  string // how QEMU ended, if known
	Last  []string
}

func (e *EndedError) Error() string {
	s := fmt.Sprintf("the machine ended during stage %q", e.Stage)
	if e.Exit != "" {
		s += " (" + e.Exit + ")"
	}
	return s + lastWords(e.Last)
}

func (e *EndedError) Remedy() string {
	return "read the whole console in the state folder's host/console.log"
}

func lastWords(lines []string) string {
	if len(lines) == 0 {
		return "; the console said nothing"
	}
	return "; last lines of the console:\n    " + strings.Join(lines, "\n    ")
}
