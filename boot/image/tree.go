package image

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// File is one file of the EFI system partition.
type File struct {
	Path string // absolute, "/" between names
	Data []byte
}

// node is a file or folder on its way into a volume.
type node struct {
	name     string
	short    [11]byte // the 8.3 name, padded with blanks
	long     bool     // whether name needs more than short
	folder   bool
	data     []byte
	children []*node
	cluster  uint32
}

// tree sorts files into folders and derives the disk's identity from them.
func tree(files []File) (*node, [32]byte, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	root, id := &node{folder: true}, sha256.New()
	for _, f := range files {
		if len(f.Data) > maxFile {
			return nil, [32]byte{}, fmt.Errorf("image: %s has %d bytes, more than FAT can hold", f.Path, len(f.Data))
		}
		if err := root.add(f); err != nil {
			return nil, [32]byte{}, err
		}
		sum := sha256.Sum256(f.Data)
		id.Write(binary.BigEndian.AppendUint32(nil, uint32(len(f.Path))))
		id.Write([]byte(f.Path))
		id.Write(sum[:])
	}
	root.shorten()
	return root, [32]byte(id.Sum(nil)), nil
}

const maxFile = 1<<32 - 1

func (n *node) add(f File) error {
	names := strings.Split(f.Path, "/")
	if names[0] != "" || len(names) < 2 {
		return fmt.Errorf("image: path %q is not absolute", f.Path)
	}
	for i, name := range names[1:] {
		if !goodName(name) {
			return fmt.Errorf("image: path %q: %q cannot be a name: use letters, digits, dot, hyphen and underscore, at most %d", f.Path, name, maxName)
		}
		last := i == len(names)-2
		at := slices.IndexFunc(n.children, func(c *node) bool { return strings.EqualFold(c.name, name) })
		switch {
		case at < 0:
			child := &node{name: name, folder: !last}
			n.children = append(n.children, child)
			n = child
		case last || !n.children[at].folder || n.children[at].name != name:
			return fmt.Errorf("image: path %q is there twice", f.Path) // FAT does not tell case apart
		default:
			n = n.children[at]
		}
	}
	n.data = f.Data
	return nil
}

const maxName = 64

func goodName(name string) bool {
	if name == "" || len(name) > maxName || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}) < 0
}

// shorten gives every node of the folder its 8.3 name, unique among them.
func (n *node) shorten() {
	taken := map[[11]byte]bool{}
	for _, c := range n.children {
		base, ext, dots := strings.Cut(strings.ToUpper(c.name), ".")
		fits := len(base) >= 1 && len(base) <= 8 && len(ext) <= 3 && !strings.Contains(ext, ".") && (!dots || ext != "")
		if fits {
			c.short = dosName(base, ext)
			c.long = c.name != strings.ToUpper(c.name)
		}
		if !fits || taken[c.short] {
			i := strings.LastIndexByte(c.name, '.')
			base, ext = strings.ToUpper(strings.ReplaceAll(c.name[:max(i, 0)], ".", "")), strings.ToUpper(c.name[i+1:])
			if i < 0 {
				base, ext = ext, ""
			}
			for k := 1; ; k++ {
				tail := fmt.Sprintf("~%d", k)
				c.short = dosName(base[:min(len(base), 8-len(tail))]+tail, ext[:min(len(ext), 3)])
				if !taken[c.short] {
					break
				}
			}
			c.long = true
		}
		taken[c.short] = true
		if c.folder {
			c.shorten()
		}
	}
}

func dosName(base, ext string) (s [11]byte) {
	copy(s[:], "           ")
	copy(s[:8], base)
	copy(s[8:], ext)
	return s
}
