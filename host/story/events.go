package story

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Milliseconds is a duration that JSON shows as a whole number of them.
type Milliseconds time.Duration

func (m Milliseconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(m).Milliseconds())
}

// String gives seconds with one decimal, which is what a reader compares.
func (m Milliseconds) String() string { return fmt.Sprintf("%.1f s", time.Duration(m).Seconds()) }

func (m Milliseconds) milliseconds() int64 { return time.Duration(m).Milliseconds() }

// PCRs are PCR values in hex by bank ("sha256") and index ("7").
type PCRs map[string]map[string]string

// Progress says that a step is still going on.
type Progress struct {
	What string       `json:"what"`   // the step, in words
	For  Milliseconds `json:"for_ms"` // since it began
}

func (Progress) Name() string      { return "progress" }
func (p Progress) Lines() []string { return []string{fmt.Sprintf("%s (%s so far)", p.What, p.For)} }

// Keys says which keys the installation has.
type Keys struct {
	Made     bool   `json:"made"`         // by this run
	Dir      string `json:"dir"`          // folder of the keys
	Manifest string `json:"manifest_key"` // key ids
	Result   string `json:"result_key"`   // key id
}

func (Keys) Name() string { return "keys" }
func (k Keys) Lines() []string {
	head := "using the installation's keys in " + k.Dir
	if k.Made {
		head = "made the installation's keys in " + k.Dir + " (keep it private)"
	}
	return []string{head,
		"Secure Boot PK, KEK, db: RSA, because firmware takes nothing else",
		"manifest key " + k.Manifest + ", result key " + k.Result + ": ML-DSA-65 (post-quantum)"}
}

// Image says what will be booted.
type Image struct {
	Built     bool         `json:"built"`            // by this run
	Path      string       `json:"path"`             // of the disk
	SHA256    string       `json:"sha256"`           // of the disk as it is
	Altered   bool         `json:"altered"`          // the disk is not the one that was built; it is booted all the same
	Version   uint64       `json:"manifest_version"` // of the system manifest
	Predicted PCRs         `json:"predicted"`        // what a good boot will show
	Took      Milliseconds `json:"took_ms"`          // to build, or to find unchanged
}

func (Image) Name() string { return "image" }
func (i Image) Lines() []string {
	head := "unchanged since the last run: " + i.Path
	if i.Built {
		head = fmt.Sprintf("built and signed %s (%s)", i.Path, i.Took)
	}
	if i.Altered {
		head = "ALTERED since it was built: " + i.Path + "; booting it as it is (aios image build --force mends it)"
	}
	return []string{head, fmt.Sprintf("manifest version %d; predicted PCRs %s before anything has booted",
		i.Version, indices(i.Predicted["sha256"]))}
}

// Machine says that the virtual host was started.
type Machine struct {
	Accelerator string `json:"accelerator"`        // "kvm" or "tcg"
	Reason      string `json:"accelerator_reason"` // why that one
	CPUs        int    `json:"cpus"`               // as asked for
	Memory      string `json:"memory"`             // as asked for
	TPM         string `json:"tpm_interface"`      // "crb" or "tis"
	TPMMade     bool   `json:"tpm_made"`           // by this run
}

func (Machine) Name() string { return "machine" }
func (m Machine) Lines() []string {
	l := []string{fmt.Sprintf("QEMU started: %d CPUs, %s memory, TPM 2.0 over %s, OVMF with Secure Boot", m.CPUs, m.Memory, strings.ToUpper(m.TPM))}
	if m.TPMMade {
		l = append(l, "made this host's TPM (swtpm) with an endorsement key certificate")
	}
	if m.Accelerator == "tcg" {
		return append(l, "running in emulation (TCG): no working KVM: "+m.Reason)
	}
	return append(l, "running under KVM: "+m.Reason)
}

// Firmware says that the firmware let our boot stage run.
type Firmware struct {
	SecureBoot bool         `json:"secure_boot"` // as the boot stage found it
	TPM        string       `json:"tpm"`         // version, "2.0"
	Took       Milliseconds `json:"took_ms"`     // from reset
}

func (Firmware) Name() string { return "firmware" }
func (f Firmware) Lines() []string {
	if !f.SecureBoot {
		return []string{fmt.Sprintf("started bootx64.efi WITHOUT Secure Boot (%s)", f.Took)}
	}
	return []string{fmt.Sprintf("checked the signature of bootx64.efi against our db key and started it (%s)", f.Took)}
}

// Boot says that our boot stage checked and measured the system.
type Boot struct {
	Slot     string       `json:"slot"`             // "a" or "b"
	Version  uint64       `json:"manifest_version"` // of the system manifest
	Key      string       `json:"manifest_key"`     // key id of its signature
	Floor    uint64       `json:"rollback_floor"`   // lowest version that this host boots
	Measured []string     `json:"measured"`         // PCR and text of each measurement, in order
	Took     Milliseconds `json:"took_ms"`          // from the boot stage's first word to the end of the firmware's services
}

func (Boot) Name() string { return "boot" }
func (b Boot) Lines() []string {
	return []string{
		fmt.Sprintf("manifest version %d of slot %s is signed by key %s and not below the rollback floor %d (%s)", b.Version, b.Slot, b.Key, b.Floor, b.Took),
		fmt.Sprintf("kernel, services and policy have the manifest's digests; %d measurements went into the TPM", len(b.Measured))}
}

// Kernel says that our kernel runs.
type Kernel struct {
	Version   string       `json:"version"`       // of the kernel
	CPUs      int          `json:"cpus"`          // that it runs on
	MemoryMiB int          `json:"memory_mib"`    // that it has
	TPM       string       `json:"tpm_interface"` // interface: "crb" or "tis"
	Took      Milliseconds `json:"took_ms"`       // until it starts the first service
}

func (Kernel) Name() string { return "kernel" }
func (k Kernel) Lines() []string {
	return []string{fmt.Sprintf("took over from the firmware: %d CPUs, %d MiB, TPM over %s (%s)", k.CPUs, k.MemoryMiB, strings.ToUpper(k.TPM), k.Took)}
}

// Service says that a ring-3 service is ready.
type Service struct {
	Service string       `json:"service"` // its name in the manifest
	PID     int          `json:"pid"`     // of the process
	Took    Milliseconds `json:"took_ms"` // until it is ready
}

func (Service) Name() string { return "service" }
func (s Service) Lines() []string {
	return []string{fmt.Sprintf("%s runs in ring 3 in its own address space, pid %d (%s)", s.Service, s.PID, s.Took)}
}

// Channel says where a verifier reaches the host.
type Channel struct {
	Socket string `json:"socket"` // path of the Unix socket
}

func (Channel) Name() string { return "channel" }
func (c Channel) Lines() []string {
	return []string{"the host waits for a verifier: aios verifier attest --channel " + c.Socket}
}

// Console passes on a line of the host that tells of trouble.
type Console struct {
	From string `json:"from"` // "boot", "kernel", a service, or "host" for a panic
	Text string `json:"text"` // the line
}

func (Console) Name() string      { return "console" }
func (c Console) Lines() []string { return []string{c.From + ": " + c.Text} }

// Enrolled says that the attestation key was proven to live in the TPM whose
// endorsement key was certified.
type Enrolled struct {
	Host     string       `json:"host"`      // id of the record
	First    bool         `json:"first"`     // first contact with this host
	EK       string       `json:"ek_sha256"` // hash of the endorsement key
	EKIssuer string       `json:"ek_issuer"` // who vouched for it
	AK       string       `json:"ak_name"`   // TPM name of the attestation key
	Took     Milliseconds `json:"took_ms"`
}

func (Enrolled) Name() string { return "enrolled" }
func (e Enrolled) Lines() []string {
	ak := fmt.Sprintf("attestation key %s is the one of its enrolment", short(e.AK))
	head := "known host " + e.Host + ": same endorsement key as at enrolment"
	if e.First {
		head = "first contact: host enrolled as " + e.Host
		ak = fmt.Sprintf("attestation key %s was proven to live in that TPM (credential activation)", short(e.AK))
	}
	return []string{fmt.Sprintf("%s (%s)", head, e.Took),
		fmt.Sprintf("the EK certificate chains to %q, which this verifier trusts", e.EKIssuer), ak}
}

// Network says that the host has an address.
type Network struct {
	Address string `json:"address"` // with the length of its prefix
	Router  string `json:"router"`
	DNS     string `json:"dns"`
}

func (Network) Name() string { return "network" }
func (n Network) Lines() []string {
	return []string{fmt.Sprintf("netd, in ring 3, got address %s by DHCP (router %s, DNS %s)", n.Address, n.Router, n.DNS)}
}

// Connected says that a host has dialled the verifier and found it to be the right one.
type Connected struct {
	Remote   string `json:"remote"`   // as the verifier sees it
	Identity string `json:"identity"` // key id with which the verifier introduced itself
}

func (Connected) Name() string { return "connected" }
func (c Connected) Lines() []string {
	return []string{"the host dialled its verifier: TLS 1.3, X25519MLKEM768 (post-quantum)",
		"the verifier proved identity key " + c.Identity + " (ML-DSA-65) before the host said who it is"}
}

// Admitted says that a new host was given an enrolment token, on its console.
type Admitted struct {
	Expires time.Time `json:"expires"` // of the token, which is good once
}

func (Admitted) Name() string { return "admitted" }
func (a Admitted) Lines() []string {
	return []string{"the verifier does not know this host: gave it a one-time enrolment token, on its console"}
}

// Verdict is the outcome of one appraisal.
type Verdict struct {
	Round     int          `json:"round"`              // from 1
	Status    string       `json:"status"`             // AR4SI tier
	Reasons   []string     `json:"reasons"`            // why it is not affirming, in words
	Findings  []Finding    `json:"findings"`           // the same, for programs
	Predicted PCRs         `json:"predicted"`          // expected, computed from the image
	Quoted    PCRs         `json:"quoted"`             // shown by the host; signed by the TPM if the quote is good
	Baseline  PCRs         `json:"baseline,omitempty"` // taken at enrolment, not predicted
	EAR       string       `json:"ear"`                // the signed result, a JWT
	EARFile   string       `json:"ear_file"`           // where it was kept
	Took      Milliseconds `json:"took_ms"`            // from challenge to signed result
	Table     bool         `json:"-"`                  // show the PCRs in words too
}

// Finding is one reason with its stable code and what to do about it.
type Finding struct {
	Code   string `json:"code"`   // stable
	Text   string `json:"text"`   // expected against found
	Remedy string `json:"remedy"` // what to do
}

func (Verdict) Name() string { return "verdict" }
func (v Verdict) Lines() []string {
	l := []string{fmt.Sprintf("%s (round %d, %s)", strings.ToUpper(v.Status), v.Round, v.Took)}
	for _, f := range v.Findings {
		l = append(l, "- "+f.Text)
		if f.Remedy != "" {
			l = append(l, "  what to do: "+f.Remedy)
		}
	}
	if v.Table {
		l = append(l, table(v.Predicted, v.Quoted, v.Baseline)...)
	}
	if v.Round == 1 {
		l = append(l, "signed result (EAR, a JWT with ML-DSA-65): "+v.EARFile)
	}
	return l
}

// Summary ends a run.
type Summary struct {
	OK        bool                    `json:"ok"`                  // the last verdict was affirming and nothing failed
	Status    string                  `json:"status,omitempty"`    // of the last verdict
	Error     string                  `json:"error,omitempty"`     // what failed
	Remedy    string                  `json:"remedy,omitempty"`    // what to do
	Killed    bool                    `json:"killed"`              // the sample agent was killed and its end proven
	Predicted PCRs                    `json:"predicted,omitempty"` // of the last verdict
	Quoted    PCRs                    `json:"quoted,omitempty"`
	Baseline  PCRs                    `json:"baseline,omitempty"`
	Stages    map[string]Milliseconds `json:"stages_ms"` // time of each stage
	Order     []string                `json:"-"`         // of the stages
	Total     Milliseconds            `json:"total_ms"`  // since the command began
}

func (Summary) Name() string { return "summary" }
func (s Summary) Lines() []string {
	var l []string
	if s.OK {
		done := fmt.Sprintf("done: the host proved what it booted: %s", s.Status)
		if s.Killed {
			done += "; its agent ran on that, and its end is proven"
		}
		l = append(l, done)
	} else {
		l = append(l, "FAILED: "+s.Error)
		if s.Remedy != "" {
			l = append(l, "what to do: "+s.Remedy)
		}
	}
	l = append(l, table(s.Predicted, s.Quoted, s.Baseline)...)
	var times []string
	for _, k := range s.Order {
		times = append(times, fmt.Sprintf("%s %s", k, s.Stages[k]))
	}
	return append(l, strings.Join(append(times, fmt.Sprintf("total %s", s.Total)), ", "))
}

// table shows what was expected of the PCRs beside what the TPM quoted.
func table(predicted, quoted, baseline PCRs) []string {
	return append(compare("predicted", predicted["sha256"], quoted["sha256"]),
		compare("baseline of enrolment", baseline["sha256"], quoted["sha256"])...)
}

// compare shows values beside what the TPM quoted.
func compare(label string, want, quoted map[string]string) []string {
	var l []string
	for _, i := range sorted(want) {
		verb := "DIFFERS:"
		if quoted[i] == want[i] {
			verb = "equal:  "
		}
		l = append(l, fmt.Sprintf("PCR %-2s %s quoted %s, %s %s", i, verb, short(quoted[i]), label, short(want[i])))
	}
	return l
}

func sorted(m map[string]string) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
}

func indices(m map[string]string) string { return strings.Join(sorted(m), ", ") }

// short abbreviates a digest for people; JSON carries all of it.
func short(hex string) string {
	if len(hex) > 16 {
		return hex[:16] + "..."
	}
	return hex
}
