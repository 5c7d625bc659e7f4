package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
)

// Bounds of a bundle. The default policy has some ten kilobytes.
const (
	MaxBundle  = 1 << 20   // bytes, packed and unpacked
	MaxModule  = 256 << 10 // bytes of one file
	MaxModules = 64
)

// ErrBundle is wrapped by every error about the form of a bundle.
var ErrBundle = errors.New("not a policy bundle")

// moduleName admits plain file names only, so a bundle cannot name a path.
var moduleName = regexp.MustCompile(`^[a-z0-9_]{1,60}\.rego$`)

// Bundle packs modules into the image's policy.tar.gz. The same modules give the same
// bytes: entries are sorted, owners and times are zero, and nothing is compressed,
// since a compressor's output may change from one release to the next.
func Bundle(modules map[string]string) ([]byte, error) {
	archive, err := pack(modules)
	if err != nil {
		return nil, fmt.Errorf("pack policy: %w", err)
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	if err != nil {
		return nil, fmt.Errorf("pack policy: %w", err)
	}
	if _, err := w.Write(archive); err != nil {
		return nil, fmt.Errorf("pack policy: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack policy: %w", err)
	}
	if out.Len() > MaxBundle {
		return nil, fmt.Errorf("pack policy: %w: %d bytes, at most %d; split or shorten the policy", ErrBundle, out.Len(), MaxBundle)
	}
	return out.Bytes(), nil
}

// pack writes the tar archive: USTAR, mode 0644, everything else zero.
func pack(modules map[string]string) ([]byte, error) {
	if len(modules) == 0 || len(modules) > MaxModules {
		return nil, fmt.Errorf("%w: %d modules, expected 1 to %d", ErrBundle, len(modules), MaxModules)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		text := modules[name]
		if !moduleName.MatchString(name) {
			return nil, fmt.Errorf("%w: module %q: the name must be lower-case letters, digits and _, ending in .rego", ErrBundle, name)
		}
		if len(text) == 0 || len(text) > MaxModule {
			return nil, fmt.Errorf("%w: module %s: %d bytes, expected 1 to %d", ErrBundle, name, len(text), MaxModule)
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text)), Mode: 0o644, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("module %s: %w", name, err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return nil, fmt.Errorf("module %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// LoadBundle unpacks what Bundle packs, and nothing else: the archive inside must be
// byte for byte the one that Bundle makes from the modules in it. That leaves no room
// for paths, links, duplicate names, or content beside the modules.
func LoadBundle(data []byte) (map[string]string, error) {
	archive, err := unzip(data)
	if err != nil {
		return nil, fmt.Errorf("load policy bundle: %w; make it again with `aios` from the policy's files", err)
	}
	modules := map[string]string{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("load policy bundle: %w: entry %d: %w", ErrBundle, len(modules), err)
		}
		switch _, twice := modules[header.Name]; {
		case !moduleName.MatchString(header.Name) || header.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("load policy bundle: %w: entry %q of type %q: expected a plain file with a module's name", ErrBundle, header.Name, header.Typeflag)
		case twice:
			return nil, fmt.Errorf("load policy bundle: %w: module %s is there twice", ErrBundle, header.Name)
		case len(modules) == MaxModules:
			return nil, fmt.Errorf("load policy bundle: %w: more than %d modules", ErrBundle, MaxModules)
		case header.Size > MaxModule:
			return nil, fmt.Errorf("load policy bundle: %w: module %s: %d bytes, at most %d", ErrBundle, header.Name, header.Size, MaxModule)
		}
		text, err := io.ReadAll(reader) // bounded by the archive
		if err != nil {
			return nil, fmt.Errorf("load policy bundle: %w: module %s: %w", ErrBundle, header.Name, err)
		}
		modules[header.Name] = string(text)
	}
	canonical, err := pack(modules)
	if err != nil {
		return nil, fmt.Errorf("load policy bundle: %w", err)
	}
	if !bytes.Equal(canonical, archive) {
		return nil, fmt.Errorf("load policy bundle: %w: the archive is not in the one form that is accepted (sorted plain files, zero times and owners, nothing after them)", ErrBundle)
	}
	return modules, nil
}

// unzip takes one gzip member without a name, a time or bytes after it.
func unzip(data []byte) ([]byte, error) {
	if len(data) > MaxBundle {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrBundle, len(data), MaxBundle)
	}
	in := bytes.NewReader(data)
	r, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	r.Multistream(false)
	if r.Name != "" || r.Comment != "" || len(r.Extra) > 0 || !r.ModTime.IsZero() {
		return nil, fmt.Errorf("%w: the gzip header carries a name, comment, extra field or time", ErrBundle)
	}
	out, err := io.ReadAll(io.LimitReader(r, MaxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if len(out) > MaxBundle {
		return nil, fmt.Errorf("%w: more than %d bytes when unpacked", ErrBundle, MaxBundle)
	}
	if in.Len() > 0 {
		return nil, fmt.Errorf("%w: %d bytes after the end", ErrBundle, in.Len())
	}
	return out, nil
}
