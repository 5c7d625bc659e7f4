// Package manifest is the system manifest: the signed text that names, by digest,
// everything one boot slot consists of. The boot stage opens it before it loads
// anything; the kernel checks every service against it; the verifier reads it out of
// the evidence.
//
//	aios-manifest 1
//	version 7
//	kernel kernel.elf sha256:<64 hex digits> <bytes>
//	service attestd attestd.elf sha256:<64 hex digits> <bytes> restart=always memory=268435456 caps=attest,log
//	policy policy.tar.gz sha256:<64 hex digits> <bytes>
//
//	signature ml-dsa-65 <32 hex digits of the key id> <base64>
//
// The payload is everything up to the newline before the empty line. The lines come in
// this order; there is one service line for each service, in the order in which they are
// started and measured, and one signature line for each key, in ascending order of key
// ids. Nothing is optional, nothing may be added, and there is exactly one text for
// one manifest: Parse accepts x if and only if Parse(x).Encode() is x. So the hash of
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
)

// Bounds on what is accepted. MaxSize covers the whole envelope.
const (
	MaxSize       = 64 << 10
	MaxServices   = 32
	MaxCaps       = 32
	MaxSignatures = 8
	MaxName       = 32
	MaxImageSize  = 1 << 30 // boot loads each image into one block below 4 GiB
	MaxMemory     = 1 << 40
)

// Manifest describes one boot slot.
type Manifest struct {
	Version  uint64 // compared with the rollback floor; at least 1
	Kernel   Image
	Policy   Image
	Services []Service // in start order
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

// Encode returns the payload text. It is what Parse accepts if m.Validate() is nil.
func (m *Manifest) Encode() []byte {
	b := make([]byte, 0, 1024)
	b = append(b, header+"\nversion "...)
	b = strconv.AppendUint(b, m.Version, 10)
	b = append(b, "\nkernel "...)
	b = appendImage(b, m.Kernel)
	b = append(b, '\n')
	for _, s := range m.Services {
		b = append(b, "service "+s.Name+" "...)
		b = appendImage(b, s.Image)
		b = append(b, " restart="+string(s.Restart)+" memory="...)
		b = strconv.AppendInt(b, s.Memory, 10)
		b = append(b, " caps="+strings.Join(s.Caps, ",")+"\n"...)
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

// Validate reports the first thing that keeps m from being a manifest.
func (m *Manifest) Validate() error {
	if m.Version == 0 {
		return formatError("version", "expected at least 1, found 0")
	}
	if len(m.Services) > MaxServices {
		return formatError("services", "expected at most "+strconv.Itoa(MaxServices)+", found "+strconv.Itoa(len(m.Services)))
	}
	files := map[string]string{"manifest": "the manifest"}
	names := map[string]bool{}
	image := func(what string, i Image) error {
		if !validName(i.File, true) {
			return formatError(what, "file name "+quote(i.File)+": expected 1 to 32 of a-z 0-9 . - that begin and end with a letter or digit")
		}
		if other, ok := files[i.File]; ok {
			return formatError(what, "the file "+i.File+" is already "+other)
		}
		files[i.File] = what
		if i.Size < 1 || i.Size > MaxImageSize {
			return formatError(what, i.File+": size expected 1 to "+strconv.Itoa(MaxImageSize)+", found "+strconv.FormatInt(i.Size, 10))
		}
		return nil
	}
	if err := image("kernel", m.Kernel); err != nil {
		return err
	}
	for _, s := range m.Services {
		// The boot stage hands the images over by name, and these two names are its own.
		if !validName(s.Name, false) || s.Name == "kernel" || s.Name == "policy" {
			return formatError("service "+quote(s.Name), "expected a name of 1 to 32 of a-z 0-9 - that begins and ends with a letter or digit, other than kernel and policy")
		}
		what := "service " + s.Name
		if names[s.Name] {
			return formatError(what, "named twice")
		}
		names[s.Name] = true
		if err := image(what, s.Image); err != nil {
			return err
		}
		if s.Restart != RestartAlways && s.Restart != RestartNever {
			return formatError(what, "restart expected always or never, found "+quote(string(s.Restart)))
		}
		if s.Memory < 1 || s.Memory > MaxMemory {
			return formatError(what, "memory expected 1 to "+strconv.Itoa(MaxMemory)+" bytes, found "+strconv.FormatInt(s.Memory, 10))
		}
		if len(s.Caps) > MaxCaps {
			return formatError(what, "expected at most "+strconv.Itoa(MaxCaps)+" capabilities, found "+strconv.Itoa(len(s.Caps)))
		}
		for i, c := range s.Caps {
			if !validName(c, false) {
				return formatError(what, "capability "+quote(c)+": expected 1 to 32 of a-z 0-9 - that begin and end with a letter or digit")
			}
			if i > 0 && s.Caps[i-1] >= c {
				return formatError(what, "capabilities expected in ascending order, each once; found "+s.Caps[i-1]+" before "+c)
			}
		}
	}
	if err := image("policy", m.Policy); err != nil {
		return err
	}
	return nil // and no manifest within these bounds is longer than MaxSize
}

// validName keeps names to what a FAT file system, a console line and a path take as
// they stand: no case, no leading or trailing dot, nothing that could name a directory.
func validName(s string, dots bool) bool {
	if len(s) < 1 || len(s) > MaxName {
		return false
	}
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
	return true
}
