// Package measure says what the boot stage extends into the TPM, event by event. The
// boot stage sends these events to the firmware, the image builder predicts PCRs from
// them and the verifier reads them back out of the event log, all through this package.
//
// Every measurement is an EV_EVENT_TAG event (TCG PC Client Platform Firmware Profile
// 1.06, section 10.4.1) whose event data is a TCG_PCClientTaggedEvent:
//
//	u32 little endian  0x41494f53 ("SOIA" in memory, "AIOS" as a number)
//	u32 little endian  length of the text
//	text               without terminating zero
//
// The digest in each bank is the hash of exactly these bytes, so whoever has the log can
// recompute it: the text that is shown is the text that was measured.
//
//	PCR  8  aios.slot a
//	        aios.config sha256:<hex of the configuration file>
//	        aios.cmdline <text>
//	PCR  9  aios.manifest sha256:<hex of the payload> version=7 key=<key id>
//	        aios.kernel kernel.elf sha256:<hex> size=<bytes>
//	PCR 11  aios.service attestd sha256:<hex> size=<bytes>    for each, in manifest order
//	        aios.runtime wasmhost sha256:<hex> size=<bytes>   likewise
//	        aios.agent hello sha256:<hex> size=<bytes>        likewise
//	        aios.policy sha256:<hex> size=<bytes>
package measure

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"aios/boot/manifest"
)

const (
	// EventTag is EV_EVENT_TAG.
	EventTag uint32 = 0x00000006

	// TagID is the taggedEventID of all AIOS events.
	TagID uint32 = 0x41494f53

	tagHeader = 8
)

// The PCRs that the boot stage extends.
const (
	ConfigPCR  = 8  // slot, configuration, command line: differs from host to host
	KernelPCR  = 9  // manifest and kernel
	ServicePCR = 11 // services, runtimes, agents and policy
)

// Event is one measurement. Data is both what is hashed and what is logged.
type Event struct {
	PCR  int
	Type uint32
	Data []byte
}

// Text returns the text of an event that this package made, and "" for any other.
func (e Event) Text() string {
	text, _ := ParseTagged(e.Data)
	return text
}

// Events returns the measurements of one boot in the order in which they are made. keyID
// is the first of the keys that verified the manifest (manifest.Signed.Keys).
func Events(slot string, bootConf []byte, cmdline string, payload []byte, keyID [16]byte, m *manifest.Manifest) []Event {
	conf, text := sha256.Sum256(bootConf), sha256.Sum256(payload)
	events := []Event{
		tagged(ConfigPCR, "aios.slot "+slot),
		tagged(ConfigPCR, "aios.config "+digest(conf)),
		tagged(ConfigPCR, "aios.cmdline "+cmdline),
		tagged(KernelPCR, "aios.manifest "+digest(text)+
			" version="+strconv.FormatUint(m.Version, 10)+" key="+hex.EncodeToString(keyID[:])),
		tagged(KernelPCR, "aios.kernel "+m.Kernel.File+" "+image(m.Kernel)),
	}
	for _, p := range m.Programs() {
		events = append(events, tagged(ServicePCR, "aios."+p.Kind+" "+p.Name+" "+image(p.Image)))
	}
	return append(events, tagged(ServicePCR, "aios.policy "+image(m.Policy)))
}

func digest(sum [32]byte) string { return "sha256:" + hex.EncodeToString(sum[:]) }

func image(i manifest.Image) string {
	return digest(i.SHA256) + " size=" + strconv.FormatInt(i.Size, 10)
}

func tagged(pcr int, text string) Event {
	return Event{pcr, EventTag, AppendTagged(nil, text)}
}

// AppendTagged appends the event data that carries text.
func AppendTagged(b []byte, text string) []byte {
	b = binary.LittleEndian.AppendUint32(b, TagID)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

// ParseTagged returns the text of the event data that AppendTagged made. Another tag, or
// a length that is not exactly that of the rest, is not ok. The text is as trustworthy as
// the log that it came from: recompute the digest before you believe it.
func ParseTagged(data []byte) (text string, ok bool) {
	if len(data) < tagHeader || binary.LittleEndian.Uint32(data) != TagID {
		return "", false
	}
	body := data[tagHeader:]
	if uint64(binary.LittleEndian.Uint32(data[4:])) != uint64(len(body)) {
		return "", false
	}
	return string(body), true
}
