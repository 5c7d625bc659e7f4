// Package predict computes, before anything has booted, what a good boot of an image
// looks like in the TPM: the events of PCR 4, 7, 8, 9 and 11 and the values of those
// PCRs. Because AIOS makes the image, the Secure Boot variables and the measurements
// itself, nobody has to boot a golden machine and trust what it showed.
//
// The prediction is a Reference. It is stored as JSON beside the image, with a detached
// ML-DSA-65 signature, and it is what the verifier compares evidence with. PCR 8, 9 and
// 11 are the boot stage's own (package measure). PCR 4 and 7 are the firmware's: what it
// measures there follows from TCG PC Client Platform Firmware Profile 1.06 sections 3.3.4
// and 10.4 and, where that leaves a choice, from the firmware profile.
package predict

import (
	"crypto"
	_ "crypto/sha256" // the banks
	_ "crypto/sha512"
	"encoding/hex"
	"fmt"

	"aios/boot/manifest"
	"aios/boot/measure"
)

// Input describes an image and the host configuration that it is to boot on.
type Input struct {
	Profile     Profile
	ImageSHA256 [32]byte         // of the whole disk image
	Variables   Variables        // the Secure Boot variables that will be enrolled
	Boot        []byte           // bootx64.efi, signed
	Conf        []byte           // boot.conf
	System      *manifest.Signed // the manifest of the slot that boot.conf picks
}

// Predict returns the reference of a good boot.
func Predict(in Input) (*Reference, error) {
	conf, err := manifest.ParseConf(in.Conf)
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	app, err := Authenticode(in.Boot)
	if err != nil {
		return nil, fmt.Errorf("predict: bootx64.efi: %w", err)
	}
	authority, err := in.Variables.authority(in.Boot)
	if err != nil {
		return nil, fmt.Errorf("predict: bootx64.efi: %w", err)
	}
	events := in.Profile.BootEvents(app)
	events = append(events, in.Profile.SecureBootEvents(in.Variables, authority)...)
	for _, e := range measure.Events(conf.Slot, in.Conf, conf.Cmdline, in.System.Payload, in.System.Keys[0], in.System.Manifest) {
		events = append(events, hashed(e.PCR, e.Type, e.Data, e.Text()))
	}
	payload := sum(crypto.SHA256, in.System.Payload)
	key := in.System.Keys[0]
	return &Reference{
		Version:         Version,
		ImageSHA256:     in.ImageSHA256[:],
		Profile:         in.Profile.Name,
		ManifestVersion: in.System.Manifest.Version,
		ManifestSHA256:  payload,
		ManifestKey:     key[:],
		PCRs:            Replay(events),
		Events:          events,
	}, nil
}

// Bank is a PCR bank, by the name of its hash.
type Bank string

// The banks that are predicted.
const (
	SHA256 Bank = "sha256"
	SHA384 Bank = "sha384"
)

// Banks lists them.
var Banks = []Bank{SHA256, SHA384}

// Hash returns the bank's hash function.
func (b Bank) Hash() crypto.Hash {
	switch b {
	case SHA256:
		return crypto.SHA256
	case SHA384:
		return crypto.SHA384
	}
	return 0
}

// Hex is a byte string that reads as lower-case hex digits in JSON.
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h Hex) String() string { return hex.EncodeToString(h) }

// Digests has one digest for each bank.
type Digests map[Bank]Hex

// PCRs has the values of PCRs by bank and number.
type PCRs map[Bank]map[int]Hex

// Event is one expected entry of the event log.
type Event struct {
	PCR     int     `json:"pcr"`
	Type    uint32  `json:"type"`    // TCG_PCR_EVENT2.eventType
	Digests Digests `json:"digests"` // one for each bank
	// Data is the event data if the digests are the hash of it. It is empty if they are
	// the hash of something else, as for a boot application; the data in the log then says
	// where the application was loaded, which nobody can predict.
	Data        Hex    `json:"data,omitempty"`
	Description string `json:"description"` // for people
}

// hashed makes an event whose digests are the hash of its data.
func hashed(pcr int, kind uint32, data []byte, description string) Event {
	d := Digests{}
	for _, b := range Banks {
		d[b] = sum(b.Hash(), data)
	}
	return Event{pcr, kind, d, data, description}
}

// Replay extends the events into PCRs that start at zero (TPM 2.0 Library Part 1 section
// 17.2) and returns those that were extended.
func Replay(events []Event) PCRs {
	out := PCRs{}
	for _, b := range Banks {
		out[b] = map[int]Hex{}
		for _, e := range events {
			have, ok := out[b][e.PCR]
			if !ok {
				have = make([]byte, b.Hash().Size())
			}
			out[b][e.PCR] = sum(b.Hash(), have, e.Digests[b])
		}
	}
	return out
}

func sum(hash crypto.Hash, parts ...[]byte) []byte {
	h := hash.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
