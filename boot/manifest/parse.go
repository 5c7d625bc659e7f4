package manifest

import (
	"encoding/hex"
	"strconv"
	"strings"
)

const header = "aios-manifest 1"

// Parse reads a payload. It accepts exactly what Encode writes.
func Parse(payload []byte) (*Manifest, error) {
	if len(payload) == 0 {
		return nil, formatError("system manifest", "it is empty")
	}
	if len(payload) > MaxSize {
		return nil, formatError("system manifest", "size expected at most "+strconv.Itoa(MaxSize)+" bytes, found "+strconv.Itoa(len(payload)))
	}
	text, whole := strings.CutSuffix(string(payload), "\n")
	lines := strings.Split(text, "\n")
	if !whole {
		return nil, lineError(len(lines), "ends without a newline, so the text was cut off")
	}
	if lines[0] != header {
		return nil, lineError(1, "expected "+quote(header)+", found "+quote(lines[0]))
	}
	if len(lines) < 4 {
		return nil, lineError(len(lines)+1, "missing: expected at least the four lines aios-manifest, version, kernel and policy")
	}
	m := new(Manifest)
	last := len(lines) - 1
	for i, line := range lines[1:] {
		i++
		var err error
		switch {
		case i == 1:
			m.Version, err = parseVersion(line)
		case i == 2:
			m.Kernel, err = parseFile(line, "kernel")
		case i == last:
			m.Policy, err = parseFile(line, "policy")
		default:
			var s Service
			s, err = parseService(line)
			m.Services = append(m.Services, s)
		}
		if err != nil {
			return nil, lineError(i+1, err.Error())
		}
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	// The readers above take each field by itself and may be lenient somewhere; this is
	// what makes the text unique.
	if canonical := string(m.Encode()); canonical != text+"\n" {
		for i, line := range strings.Split(canonical, "\n") {
			if i > last || line != lines[i] {
				return nil, lineError(i+1, "not in canonical form: expected "+quote(line)+", found "+quote(lines[min(i, last)]))
			}
		}
	}
	return m, nil
}

// fieldError is a reason that still lacks its line number.
type fieldError string

func (e fieldError) Error() string { return string(e) }

func parseVersion(line string) (uint64, error) {
	text, ok := strings.CutPrefix(line, "version ")
	if !ok {
		return 0, fieldError("expected \"version <number>\", found " + quote(line))
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fieldError("version: expected a number below 2^64, found " + quote(text))
	}
	return v, nil
}

// parseFile reads "<keyword> <file> sha256:<hex> <size>".
func parseFile(line, keyword string) (Image, error) {
	f := strings.Split(line, " ")
	if len(f) != 4 || f[0] != keyword {
		return Image{}, fieldError("expected \"" + keyword + " <file> sha256:<hex> <bytes>\", found " + quote(line))
	}
	return parseImage(f[1:])
}

func parseImage(f []string) (Image, error) {
	i := Image{File: f[0]}
	text, ok := strings.CutPrefix(f[1], "sha256:")
	sum, err := hex.DecodeString(text)
	if !ok || err != nil || len(sum) != len(i.SHA256) {
		return i, fieldError(quote(f[0]) + ": expected \"sha256:\" and 64 hex digits, found " + quote(f[1]))
	}
	copy(i.SHA256[:], sum)
	if i.Size, err = strconv.ParseInt(f[2], 10, 64); err != nil {
		return i, fieldError(quote(f[0]) + ": expected a size in bytes, found " + quote(f[2]))
	}
	return i, nil
}

func parseService(line string) (Service, error) {
	f := strings.Split(line, " ")
	if len(f) != 8 || f[0] != "service" {
		return Service{}, fieldError("expected \"service <name> <file> sha256:<hex> <bytes> restart=<rule> memory=<bytes> caps=<names>\", found " + quote(line))
	}
	image, err := parseImage(f[2:5])
	if err != nil {
		return Service{}, err
	}
	s := Service{Name: f[1], Image: image}
	restart, ok1 := strings.CutPrefix(f[5], "restart=")
	memory, ok2 := strings.CutPrefix(f[6], "memory=")
	caps, ok3 := strings.CutPrefix(f[7], "caps=")
	if !ok1 || !ok2 || !ok3 {
		return s, fieldError("service " + quote(s.Name) + ": expected restart=, memory= and caps=, found " + quote(strings.Join(f[5:], " ")))
	}
	s.Restart = Restart(restart)
	if s.Memory, err = strconv.ParseInt(memory, 10, 64); err != nil {
		return s, fieldError("service " + quote(s.Name) + ": expected memory in bytes, found " + quote(memory))
	}
	if caps != "" {
		s.Caps = strings.Split(caps, ",")
	}
	return s, nil
}
