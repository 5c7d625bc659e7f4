package predict

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"testing"
)

// The log of a real boot: OVMF 2022.11 with Secure Boot and swtpm 0.7.1, a boot option
// that failed (a DVD drive without a disk), then a signed application.
const recordedLog = "testdata/ovmf-202211-uki.bin"

// What an independent replayer makes of that log.
var recordedPCRs = map[Bank]map[int]string{
	SHA256: {
		4: "ea6a1b46cc04b88d892555249ef0c85f34c69bced25556dc7b00575e03baf187",
		7: "5b0a238df0c8773b58a6e434c296a4275e1f4d534a23f479e397dbe17bbc659b",
	},
	SHA384: {
		4: "e39df53a77579f8f46bd8508c38d994770198bfacb45d78973518b34be14849bcebbfb45b98990010ea5ba8460251b4a",
		7: "0b03927a7afa5fb857286d70be894981565c552bca19ac3ad02a4f8733a8a4a90c0845f6cb78a8d00d9e81562be2c47b",
	},
}

// readLog reads a crypto-agile log with the banks SHA-256 and SHA-384. It is for this one
// trusted file; the reader for logs of others is the verifier's.
func readLog(t *testing.T) []Event {
	t.Helper()
	b, err := os.ReadFile(recordedLog)
	if err != nil {
		t.Fatal(err)
	}
	u16 := func() uint16 { v := binary.LittleEndian.Uint16(b); b = b[2:]; return v }
	u32 := func() uint32 { v := binary.LittleEndian.Uint32(b); b = b[4:]; return v }
	take := func(n int) []byte { v := b[:n]; b = b[n:]; return v }
	take(8 + 20) // the header event is in the old format: PCR, type, SHA-1 digest
	take(int(u32()))
	var events []Event
	for len(b) > 0 {
		e := Event{PCR: int(u32()), Type: u32(), Digests: Digests{}}
		for range u32() {
			switch algorithm := u16(); algorithm {
			case 0x000B:
				e.Digests[SHA256] = take(32)
			case 0x000C:
				e.Digests[SHA384] = take(48)
			default:
				t.Fatalf("unexpected algorithm %#x", algorithm)
			}
		}
		e.Data = take(int(u32()))
		events = append(events, e)
	}
	return events
}

// variable takes a UEFI_VARIABLE_DATA apart.
func variable(e Event) (name string, data []byte) {
	n := 2 * binary.LittleEndian.Uint64(e.Data[16:])
	for i := uint64(0); i < n; i += 2 {
		name += string(rune(e.Data[32+i]))
	}
	return name, e.Data[32+n:]
}

// The profile is right if it gets from the inputs of a real boot (the variables, the
// digest of the application) to what that boot measured, event for event.
func TestPredictsRecordedBoot(t *testing.T) {
	var v Variables
	var app Digests
	var recorded []Event
	var authority []byte
	for _, e := range readLog(t) {
		if e.PCR != applicationPCR && e.PCR != secureBootPCR {
			continue
		}
		recorded = append(recorded, e)
		switch e.Type {
		case evEFIBootServicesApp:
			app = e.Digests
		case evEFIVariableAuthority:
			_, authority = variable(e)
		case evEFIVariableDriverConfig:
			name, data := variable(e)
			switch name {
			case "PK":
				v.PK = data
			case "KEK":
				v.KEK = data
			case "db":
				v.Db = data
			case "dbx":
				v.Dbx = data
			}
		}
	}
	// The authority has to be found in db, not only copied from the log.
	entries, err := parseSignatureLists(v.Db)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || !bytes.Equal(entries[0].raw, authority) {
		t.Fatalf("db has %d entries, and the first is not the recorded authority", len(entries))
	}

	profile := OVMF
	profile.FailedBootOptions = 1
	predicted := append(profile.BootEvents(app), profile.SecureBootEvents(v, entries[0].raw)...)

	for _, pcr := range []int{applicationPCR, secureBootPCR} {
		var got, want []Event
		for _, e := range predicted {
			if e.PCR == pcr {
				got = append(got, e)
			}
		}
		for _, e := range recorded {
			if e.PCR == pcr {
				want = append(want, e)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("PCR %d: predicted %d events, recorded %d", pcr, len(got), len(want))
		}
		for i := range got {
			if got[i].Type != want[i].Type {
				t.Errorf("PCR %d event %d (%s): type %#x, recorded %#x", pcr, i, got[i].Description, got[i].Type, want[i].Type)
			}
			if got[i].Type != evEFIBootServicesApp && !bytes.Equal(got[i].Data, want[i].Data) {
				t.Errorf("PCR %d event %d (%s): data %x, recorded %x", pcr, i, got[i].Description, got[i].Data, want[i].Data)
			}
			for _, b := range Banks {
				if !bytes.Equal(got[i].Digests[b], want[i].Digests[b]) {
					t.Errorf("PCR %d event %d (%s): %s %s, recorded %s", pcr, i, got[i].Description, b, got[i].Digests[b], want[i].Digests[b])
				}
			}
		}
	}
	values := Replay(predicted)
	for bank, want := range recordedPCRs {
		for pcr, text := range want {
			if got := hex.EncodeToString(values[bank][pcr]); got != text {
				t.Errorf("%s PCR %d = %s, the TPM had %s", bank, pcr, got, text)
			}
		}
	}
}
