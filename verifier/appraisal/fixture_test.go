package appraisal

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"aios/boot/manifest"
	"aios/boot/measure"
	"aios/boot/predict"
	"aios/captoken/mldsa"
	"aios/evidence"
	"aios/policy"
	"aios/verifier/enrol"
	"aios/verifier/eventlog"
	"aios/verifier/quote/tpmtest"
)

// image is what the builder of an image knows.
type image struct {
	payload   []byte // of its manifest
	reference *predict.Reference
}

var application = []byte("bootx64.efi without its signature")

// newImage makes one, as `aios image build` does, but for the disk.
func newImage(t testing.TB, version uint64, signer string) image {
	t.Helper()
	file := func(name string) manifest.Image {
		return manifest.Image{File: name, SHA256: sha256.Sum256([]byte(name)), Size: int64(len(name))}
	}
	m := &manifest.Manifest{
		Version: version, Kernel: file("kernel.elf"), Policy: file("policy.tar.gz"),
		Services: []manifest.Service{{Name: "attestd", Image: file("attestd.elf"), Restart: manifest.RestartAlways, Memory: 1 << 20}},
		Runtimes: []manifest.Runtime{{Name: "wasmhost", Image: file("wasmhost.elf")}},
		Agents:   []manifest.Agent{{Name: "hello", Image: file("hello.wasm"), Runtime: "wasmhost", Memory: 1 << 20}},
	}
	seed := sha256.Sum256([]byte(signer))
	key, err := mldsa.NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	id, payload := key.Public().ID(), m.Encode()
	digests := func(b []byte) predict.Digests {
		d := predict.Digests{}
		for _, bank := range predict.Banks {
			h := bank.Hash().New()
			h.Write(b)
			d[bank] = h.Sum(nil)
		}
		return d
	}
	events := predict.OVMF.BootEvents(digests(application))
	events = append(events, predict.OVMF.SecureBootEvents(predict.Variables{PK: []byte("PK"), KEK: []byte("KEK"), Db: []byte("db")}, []byte("entry of db"))...)
	conf := manifest.Conf{Slot: "a", Cmdline: "quiet"}
	for _, e := range measure.Events(conf.Slot, conf.Encode(), conf.Cmdline, payload, id, m) {
		events = append(events, predict.Event{PCR: e.PCR, Type: e.Type, Digests: digests(e.Data), Data: e.Data, Description: e.Text()})
	}
	sum := sha256.Sum256(payload)
	r := &predict.Reference{
		Version: predict.Version, ImageSHA256: make([]byte, 32), Profile: predict.OVMF.Name, ManifestVersion: version,
		ManifestSHA256: sum[:], ManifestKey: id[:], PCRs: predict.Replay(events), Events: events,
	}
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if r, err = predict.Parse(text); err != nil {
		t.Fatal(err)
	}
	return image{payload, r}
}

// event is one measurement: what was extended, and what the log says it was.
type event struct {
	pcr          int
	kind         eventlog.Type
	hashed, data []byte
}

func plain(pcr int, kind eventlog.Type, data []byte) event { return event{pcr, kind, data, data} }

func separator(pcr int) event { return plain(pcr, eventlog.EVSeparator, make([]byte, 4)) }

// boot is what a good boot of the image measures, in the order of OVMF.
func (i image) boot() []event {
	blob := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 0x830000), 0xd0000)
	events := []event{
		plain(0, eventlog.EVSCRTMVersion, []byte{0, 0}),
		{0, eventlog.EVEFIFirmwareBlob, []byte("the firmware"), blob},
		{2, eventlog.EVEFIBootServicesDriver, []byte("an option ROM"), loadEvent(0x7000)},
		{1, eventlog.EVEFIHandoffTables, []byte("SMBIOS"), make([]byte, 16)},
	}
	for pcr := range 4 {
		events = append(events, separator(pcr))
	}
	events = append(events, separator(5), separator(6), plain(5, eventlog.EVEFIGPT, []byte("EFI PART")))
	for _, e := range i.reference.Events {
		hashed, data := []byte(e.Data), []byte(e.Data)
		if len(data) == 0 {
			hashed, data = application, loadEvent(0x9000)
		}
		events = append(events, event{e.PCR, eventlog.Type(e.Type), hashed, data})
	}
	return append(events, plain(5, eventlog.EVEFIAction, []byte("Exit Boot Services Invocation")))
}

// loadEvent is a UEFI_IMAGE_LOAD_EVENT without a device path.
func loadEvent(address uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, address)
	return append(b, make([]byte, 24)...)
}

// find gives the place of the n-th event of a PCR.
func find(t testing.TB, events []event, pcr, n int) int {
	t.Helper()
	for i, e := range events {
		if e.pcr != pcr {
			continue
		}
		if n--; n < 0 {
			return i
		}
	}
	t.Fatalf("PCR %d has no event %d", pcr, n)
	return 0
}

// device is a TPM: software, or swtpm.
type device interface {
	Extend(pcr int, digest []byte) error
	Quote(nonce []byte) (attest, signature []byte, pcrs [][]byte, err error)
}

// software is a device made of a tpmtest.TPM.
type software struct{ *tpmtest.TPM }

func (s software) Quote(nonce []byte) (attest, signature []byte, pcrs [][]byte, err error) {
	attest, signature, err = s.TPM.Quote(nonce)
	for _, v := range s.PCRs {
		pcrs = append(pcrs, bytes.Clone(v))
	}
	return attest, signature, pcrs, err
}

// write makes the log that firmware and boot stage leave of events.
func write(t testing.TB, events []event) []byte {
	t.Helper()
	b, err := eventlog.NewBuilder(eventlog.SHA256, eventlog.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		b.Add(uint32(e.pcr), e.kind, e.hashed, e.data)
	}
	return b.Bytes()
}

// measureInto extends what happened into a TPM.
func measureInto(t testing.TB, d device, events []event) {
	t.Helper()
	for _, e := range events {
		if e.kind == eventlog.EVNoAction {
			continue
		}
		sum := sha256.Sum256(e.hashed)
		if err := d.Extend(e.pcr, sum[:]); err != nil {
			t.Fatal(err)
		}
	}
}

// attest has a device answer a challenge, and puts everything that an appraisal
// needs beside it.
func attest(t testing.TB, d device, i image, h *enrol.Host, log []byte) Input {
	t.Helper()
	nonce := make([]byte, evidence.NonceSize)
	rand.Read(nonce)
	statement, signature, pcrs, err := d.Quote(nonce)
	if err != nil {
		t.Fatal(err)
	}
	return Input{
		Evidence: &evidence.Evidence{Attest: statement, Signature: signature, PCRs: pcrs, EventLog: log, Manifest: i.payload},
		Nonce:    nonce, Host: h, Reference: i.reference, Policy: defaultPolicy(t),
	}
}

var compiled *policy.Engine

func defaultPolicy(t testing.TB) *policy.Engine {
	t.Helper()
	if compiled == nil {
		var err error
		if compiled, err = policy.Compile(t.Context(), policy.Default()); err != nil {
			t.Fatal(err)
		}
	}
	return compiled
}

// site is an image and an enrolled host with a software TPM.
type site struct {
	image
	tpm  *tpmtest.TPM
	host *enrol.Host
}

func newSite(t testing.TB) *site {
	t.Helper()
	tpm, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{image: newImage(t, 7, "manifest"), tpm: tpm, host: &enrol.Host{ID: "host-0123456789abcdef", EKIssuer: "CN=vendor", AKPublic: tpm.AKPublic(), Floor: 7}}
	in := s.run(t, s.boot())
	if s.host.Baseline, err = Baseline(in); err != nil {
		t.Fatal(err)
	}
	return s
}

// run boots the host with events and challenges it.
func (s *site) run(t testing.TB, events []event) Input {
	t.Helper()
	return s.tell(t, events, events)
}

// tell boots the host with events and has it say that others happened.
func (s *site) tell(t testing.TB, events, told []event) Input {
	t.Helper()
	s.tpm.Reset()
	measureInto(t, software{s.tpm}, events)
	return attest(t, software{s.tpm}, s.image, s.host, write(t, told))
}

func appraise(t testing.TB, in Input) *Verdict {
	t.Helper()
	v, err := Appraise(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func codes(v *Verdict) []string {
	out := []string{}
	for _, r := range v.Reasons {
		out = append(out, r.Code)
	}
	return out
}

// expect holds a verdict to its exact reasons, each with words and a remedy.
// text must be in one of them.
func expect(t testing.TB, v *Verdict, status string, want []string, text string) {
	t.Helper()
	if v.Status != status || !slices.Equal(codes(v), want) && len(want)+len(v.Reasons) > 0 {
		t.Errorf("%s %v, want %s %v", v.Status, codes(v), status, want)
	}
	var all []string
	for _, r := range v.Reasons {
		all = append(all, r.Text)
		if r.Text == "" || r.Remedy == "" {
			t.Errorf("%s has no text or no remedy: %+v", r.Code, r)
		}
	}
	if !strings.Contains(strings.Join(all, "\n"), text) {
		t.Errorf("no reason says %q:\n%s", text, strings.Join(all, "\n"))
	}
}
