package manifest

import "strconv"

// Validate reports the first thing that keeps m from being a manifest.
func (m *Manifest) Validate() error {
	if m.Version == 0 {
		return formatError("version", "expected at least 1, found 0")
	}
	for _, n := range []struct {
		what        string
		found, most int
	}{{"services", len(m.Services), MaxServices}, {"runtimes", len(m.Runtimes), MaxRuntimes}, {"agents", len(m.Agents), MaxAgents}} {
		if n.found > n.most {
			return formatError(n.what, "expected at most "+strconv.Itoa(n.most)+", found "+strconv.Itoa(n.found))
		}
	}
	if m.Verifier != nil {
		if err := m.Verifier.validate(); err != nil {
			return err
		}
	}
	v := validator{files: map[string]string{"manifest": "the manifest"}, names: map[string]string{}}
	v.image("kernel", m.Kernel)
	for _, s := range m.Services {
		what := v.program("service", s.Name, s.Image)
		if s.Restart != RestartAlways && s.Restart != RestartNever {
			v.fail(what, "restart expected always or never, found "+quote(string(s.Restart)))
		}
		v.memory(what, s.Memory)
		v.caps(what, s.Caps)
	}
	runtimes := map[string]bool{}
	for _, r := range m.Runtimes {
		v.program("runtime", r.Name, r.Image)
		runtimes[r.Name] = true
	}
	for _, a := range m.Agents {
		what := v.program("agent", a.Name, a.Image)
		if !runtimes[a.Runtime] {
			v.fail(what, "runtime "+quote(a.Runtime)+": expected the name of a runtime of this manifest")
		}
		v.memory(what, a.Memory)
		v.caps(what, a.Caps)
	}
	v.image("policy", m.Policy)
	return v.err // and no manifest within these bounds is longer than MaxSize
}

// validator knows what was named so far, and keeps the first thing that was wrong.
type validator struct {
	files, names map[string]string // whose they are
	err          error
}

func (v *validator) fail(what, reason string) {
	if v.err == nil {
		v.err = formatError(what, reason)
	}
}

// program checks name and image of something that the boot stage hands over by name.
func (v *validator) program(kind, name string, i Image) (what string) {
	// kernel and policy are the boot stage's own names.
	if !validName(name, false) || name == "kernel" || name == "policy" {
		v.fail(kind+" "+quote(name), "expected a name of 1 to 32 of a-z 0-9 - that begins and ends with a letter or digit, other than kernel and policy")
	}
	what = kind + " " + name
	if other, ok := v.names[name]; ok {
		v.fail(what, "the name is already that of "+other)
	}
	v.names[name] = what
	v.image(what, i)
	return what
}

func (v *validator) image(what string, i Image) {
	if !validName(i.File, true) {
		v.fail(what, "file name "+quote(i.File)+": expected 1 to 32 of a-z 0-9 . - that begin and end with a letter or digit")
	}
	if other, ok := v.files[i.File]; ok {
		v.fail(what, "the file "+i.File+" is already "+other)
	}
	v.files[i.File] = what
	if i.Size < 1 || i.Size > MaxImageSize {
		v.fail(what, i.File+": size expected 1 to "+strconv.Itoa(MaxImageSize)+", found "+strconv.FormatInt(i.Size, 10))
	}
}

func (v *validator) memory(what string, bytes int64) {
	if bytes < 1 || bytes > MaxMemory {
		v.fail(what, "memory expected 1 to "+strconv.Itoa(MaxMemory)+" bytes, found "+strconv.FormatInt(bytes, 10))
	}
}

func (v *validator) caps(what string, caps []string) {
	if len(caps) > MaxCaps {
		v.fail(what, "expected at most "+strconv.Itoa(MaxCaps)+" capabilities, found "+strconv.Itoa(len(caps)))
	}
	for i, c := range caps {
		if !validName(c, false) {
			v.fail(what, "capability "+quote(c)+": expected 1 to 32 of a-z 0-9 - that begin and end with a letter or digit")
		}
		if i > 0 && caps[i-1] >= c {
			v.fail(what, "capabilities expected in ascending order, each once; found "+quote(caps[i-1])+" before "+quote(c))
		}
	}
}
