// Package manifest is the system manifest: the signed text that names, by digest,
// everything one boot slot consists of. The boot stage opens it before it loads
// anything; the kernel checks every service against it; the verifier reads it out of
// the evidence.
//
//	aios-manifest 2
//	version 7
//	kernel kernel.elf sha256:<64 hex digits> <bytes>
//	verifier 10.0.2.2:8470 grace=180000 identity=<base64> issuer=<base64>
//	service attestd attestd.elf sha256:<64 hex digits> <bytes> restart=always memory=268435456 caps=attest,log
//	runtime wasmhost wasmhost.elf sha256:<64 hex digits> <bytes>
//	agent hello hello.wasm sha256:<64 hex digits> <bytes> runtime=wasmhost memory=134217728 caps=clock,log
//	policy policy.tar.gz sha256:<64 hex digits> <bytes>
//
//	signature ml-dsa-65 <32 hex digits of the key id> <base64>
//
// The payload is everything up to the newline before the empty line. The lines come in
// this order; there is one service line for each service, in the order in which they are
// started and measured, one line for each runtime and each agent, and one signature line
// for each key, in ascending order of key ids. Only the verifier line may be missing,
// nothing may be added, and there is exactly one text for one manifest: Parse accepts x if and only if Parse(x).Encode() is x. So the hash of
// the payload identifies the manifest.
//
// The package runs in ring 0 and in the boot stage, so it does without reflection and
// without any third party but ML-DSA verification.
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// Bounds on what is accepted. MaxSize covers the whole envelope.
const (
	MaxSize       = 128 << 10
	MaxServices   = 32
	MaxRuntimes   = 4
	MaxAgents     = 32
	MaxCaps       = 32 // of one service or agent
	MaxSignatures = 8
	MaxName       = 32
	MaxImageSize  = 1 << 30 // boot loads each image into one block below 4 GiB
	MaxMemory     = 1 << 40
	MaxHost       = 253 // characters of a DNS name (RFC 1035 section 2.3.4)
	MaxGrace      = 24 * time.Hour
)

// Manifest describes one boot slot.
type Manifest struct {
	Version  uint64 // compared with the rollback floor; at least 1
	Kernel   Image
	Policy   Image
	Verifier *Verifier // nil: none
	Services []Service // in start order
	Runtimes []Runtime
	Agents   []Agent
}

// Image is a file of the slot, pinned by digest and size.
type Image struct {
	File   string
	SHA256 [32]byte
	Size   int64
}

// Restart says what becomes of a service that has ended.
type Restart string

// The two restart rules.
const (
	RestartAlways Restart = "always"
	RestartNever  Restart = "never"
)

// Service is a ring-3 program that the kernel starts.
type Service struct {
	Name string
	Image
	Restart Restart
	Memory  int64    // quota in bytes
	Caps    []string // names of the capabilities it is granted, ascending
}

// Runtime is a ring-3 program that runs agents, one process for each agent. It starts with
// an agent and has nothing of its own: what it is granted is what its agent is granted.
type Runtime struct {
	Name string
	Image
}

// Agent is a program that the kernel starts only while the verifier lets it.
type Agent struct {
	Name string
	Image
	Runtime string   // name of the runtime that reads the image
	Memory  int64    // quota of its process in bytes, which its token can only lower
	Caps    []string // names of the capabilities it wants, ascending; its token says which it gets
}

// Program is an image that the boot stage hands to the kernel under a name.
type Program struct {
	Kind string // "service", "runtime" or "agent"
	Name string
	Image
}

// Programs lists what is handed over, in the order in which it is measured.
func (m *Manifest) Programs() []Program {
	list := make([]Program, 0, len(m.Services)+len(m.Runtimes)+len(m.Agents))
	for _, s := range m.Services {
		list = append(list, Program{"service", s.Name, s.Image})
	}
	for _, r := range m.Runtimes {
		list = append(list, Program{"runtime", r.Name, r.Image})
	}
	for _, a := range m.Agents {
		list = append(list, Program{"agent", a.Name, a.Image})
	}
	return list
}

// Encode returns the payload text. It is what Parse accepts if m.Validate() is nil.
func (m *Manifest) Encode() []byte {
	b := make([]byte, 0, 1024)
	b = append(b, header+"\nversion "...)
	b = strconv.AppendUint(b, m.Version, 10)
	b = append(b, "\nkernel "...)
	b = appendImage(b, m.Kernel)
	b = append(b, '\n')
	if m.Verifier != nil {
		b = appendVerifier(b, m.Verifier)
	}
	for _, s := range m.Services {
		b = append(b, "service "+s.Name+" "...)
		b = appendImage(b, s.Image)
		b = append(b, " restart="+string(s.Restart)+" memory="...)
		b = strconv.AppendInt(b, s.Memory, 10)
		b = append(b, " caps="+strings.Join(s.Caps, ",")+"\n"...)
	}
	for _, r := range m.Runtimes {
		b = append(b, "runtime "+r.Name+" "...)
		b = appendImage(b, r.Image)
		b = append(b, '\n')
	}
	for _, a := range m.Agents {
		b = append(b, "agent "+a.Name+" "...)
		b = appendImage(b, a.Image)
		b = append(b, " runtime="+a.Runtime+" memory="...)
		b = strconv.AppendInt(b, a.Memory, 10)
		b = append(b, " caps="+strings.Join(a.Caps, ",")+"\n"...)
	}
	b = append(b, "policy "...)
	b = appendImage(b, m.Policy)
	return append(b, '\n')
}

func appendImage(b []byte, i Image) []byte {
	b = append(b, i.File+" sha256:"...)
	b = hex.AppendEncode(b, i.SHA256[:])
	b = append(b, ' ')
	return strconv.AppendInt(b, i.Size, 10)
}

// Check compares data with the image that the manifest promises.
func (i Image) Check(data []byte) error {
	if int64(len(data)) != i.Size {
		return &Error{ErrDigest, i.File, "size expected " + strconv.FormatInt(i.Size, 10) +
			" found " + strconv.Itoa(len(data)), remedyImage}
	}
	if sum := sha256.Sum256(data); sum != i.SHA256 {
		return &Error{ErrDigest, i.File, "sha256 expected " + hex.EncodeToString(i.SHA256[:]) +
			" found " + hex.EncodeToString(sum[:]), remedyImage}
	}
	return nil
}

// CheckFloor refuses a manifest that is older than the rollback floor.
func CheckFloor(m *Manifest, floor uint64) error {
	if m.Version < floor {
		return &Error{ErrRollback, "system manifest", "version expected at least " +
			strconv.FormatUint(floor, 10) + " found " + strconv.FormatUint(m.Version, 10),
			"the host has already run a newer version; install an image whose version is not below the floor"}
	}
	return nil
}

// validName keeps names to what a FAT file system, a console line and a path take as
// they stand: no case, no leading or trailing dot, nothing that could name a directory.
func validName(s string, dots bool) bool { return len(s) <= MaxName && wellFormed(s, dots) }

func wellFormed(s string, dots bool) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '-' || dots && c == '.':
			if i == 0 || i == len(s)-1 {
				return false
			}
		default:
			return false
		}
	}
	return s != ""
}
