package stage

import (
	"errors"
	"strings"

	"aios/boot/manifest"
	"aios/boot/measure"
)

const remedyFirmware = "reset the machine; if it happens again, update its firmware"

// Refusal is why the machine does not boot.
type Refusal struct {
	Stage  string // what was being looked at: "tpm", "config", "manifest", "rollback", "kernel", "service attestd", ...
	Reason string
	Remedy string
	Err    error
}

func (r *Refusal) Error() string { return r.Stage + ": " + r.Reason + "; " + r.Remedy }

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// refuse makes a Refusal of err. A manifest error brings its own remedy.
func refuse(stage string, err error, remedy string) *Refusal {
	r := &Refusal{Stage: stage, Reason: err.Error(), Remedy: remedy, Err: err}
	var m *manifest.Error
	if errors.As(err, &m) {
		r.Reason, r.Remedy = m.Object+": "+m.Reason, m.Remedy
	}
	return r
}

// The PCRs that a refusal extends: those of the boot stage.
var refusedPCRs = [...]int{measure.ConfigPCR, measure.KernelPCR, measure.ServicePCR}

// Refuse makes a refusal final: it spoils the boot stage's PCRs for whatever might run later, writes the reason to the
// serial console and the screen, and stops the firmware's watchdog, so that the text stays. The caller then stops.
func (s *Stage) Refuse(err error) {
	var r *Refusal
	if !errors.As(err, &r) {
		r = refuse("internal", err, remedyFirmware)
	}
	spoiled := s.spoil(r)
	s.line("REFUSED stage=%q reason=%q remedy=%q", r.Stage, oneLine(r.Reason), oneLine(r.Remedy))
	if s.exited {
		return
	}
	if !spoiled && s.tpm {
		s.line("WARNING stage=tpm reason=%q remedy=%q", "the refusal could not be measured", "switch the machine off before anything else runs on it")
	}
	s.Firmware.DisableWatchdog()
	s.Firmware.Print("\r\nAIOS does not start this system.\r\n  where:   " + r.Stage + "\r\n  reason:  " + oneLine(r.Reason) +
		"\r\n  remedy:  " + oneLine(r.Remedy) + "\r\n")
}

// spoil measures the refusal into each PCR of the boot stage. The attempt goes on when one of them fails. A refusal that
// comes before anything was looked at finds the TPM first.
func (s *Stage) spoil(r *Refusal) bool {
	if s.exited {
		return false
	}
	if !s.tpm {
		if _, err := s.Firmware.OpenTPM(); err != nil {
			return false
		}
		s.tpm = true
	}
	text := "aios.refused " + r.Stage + ": " + oneLine(r.Reason)
	data := measure.AppendTagged(nil, text[:min(len(text), 512)])
	all := true
	for _, pcr := range refusedPCRs {
		if err := s.Firmware.HashLogExtend(uint32(pcr), measure.EventTag, data); err != nil {
			all = false
		}
	}
	return all
}

// oneLine keeps a text from breaking out of its line: errors may quote what an attacker put on the disk.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// Exited tells whether the firmware's services have ended, so that nothing may call them.
func (s *Stage) Exited() bool { return s.exited }
