package manifest

import (
	"encoding/hex"
	"strconv"
	"strings"
)

const header = "aios-manifest 2"

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
		switch keyword, _, _ := strings.Cut(line, " "); {
		case i == 1:
			m.Version, err = parseVersion(line)
		case i == 2:
			m.Kernel, err = parseFile(line, "kernel")
		case i == last:
			m.Policy, err = parseFile(line, "policy")
		case i == 3 && keyword == "verifier":
			m.Verifier, err = parseVerifier(line)
		case keyword == "agent":
			m.Agents, err = parsed(m.Agents, parseAgent, line)
		case keyword == "runtime" && len(m.Agents) == 0:
			m.Runtimes, err = parsed(m.Runtimes, parseRuntime, line)
		case keyword == "service" && len(m.Runtimes)+len(m.Agents) == 0:
			m.Services, err = parsed(m.Services, parseService, line)
		default:
			err = fieldError("expected at most one verifier, then services, runtimes and agents, in this order; found " + quote(line))
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

// parsed appends what read makes of a line.
func parsed[T any](list []T, read func(string) (T, error), line string) ([]T, error) {
	v, err := read(line)
	return append(list, v), err
}

func parseService(line string) (Service, error) {
	const form = "service <name> <file> sha256:<hex> <bytes> restart=<rule> memory=<bytes> caps=<names>"
	name, image, v, err := parseProgram(line, form)
	if err != nil {
		return Service{}, err
	}
	s := Service{Name: name, Image: image, Restart: Restart(v[0]), Caps: splitCaps(v[2])}
	s.Memory, err = parseMemory("service", name, v[1])
	return s, err
}

func parseRuntime(line string) (Runtime, error) {
	name, image, _, err := parseProgram(line, "runtime <name> <file> sha256:<hex> <bytes>")
	return Runtime{name, image}, err
}

func parseAgent(line string) (Agent, error) {
	const form = "agent <name> <file> sha256:<hex> <bytes> runtime=<name> memory=<bytes> caps=<names>"
	name, image, v, err := parseProgram(line, form)
	if err != nil {
		return Agent{}, err
	}
	a := Agent{Name: name, Image: image, Runtime: v[0], Caps: splitCaps(v[2])}
	a.Memory, err = parseMemory("agent", name, v[1])
	return a, err
}

// parseProgram reads a line of the form and returns the values behind the equal signs.
func parseProgram(line, form string) (name string, image Image, values []string, err error) {
	f, want := strings.Split(line, " "), strings.Split(form, " ")
	if len(f) != len(want) {
		return "", Image{}, nil, fieldError("expected " + strconv.Quote(form) + ", found " + quote(line))
	}
	if image, err = parseImage(f[2:5]); err != nil {
		return "", Image{}, nil, err
	}
	for i := 5; i < len(f); i++ {
		key, _, _ := strings.Cut(want[i], "=")
		v, ok := strings.CutPrefix(f[i], key+"=")
		if !ok {
			return "", Image{}, nil, fieldError(f[0] + " " + quote(f[1]) + ": expected " + key + "=, found " + quote(f[i]))
		}
		values = append(values, v)
	}
	return f[1], image, values, nil
}

func parseMemory(kind, name, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fieldError(kind + " " + quote(name) + ": expected memory in bytes, found " + quote(text))
	}
	return n, nil
}

func splitCaps(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
