package image

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Files returns the files of a disk, in the order of its folders. It reads what
// Build writes and checks every bound, since a disk may come from anywhere.
func Files(disk []byte) ([]File, error) {
	p, err := findPartition(disk)
	if err != nil {
		return nil, err
	}
	r, err := openVolume(p)
	if err != nil {
		return nil, err
	}
	var files []File
	if err := r.folder(r.root, "", 0, &files); err != nil {
		return nil, err
	}
	return files, nil
}

// reader reads a FAT32 volume.
type reader struct {
	fat, data []byte
	cluster   int // bytes
	root      uint32
	budget    int // clusters still to be read: a chain may loop
}

func openVolume(p []byte) (*reader, error) {
	le := binary.LittleEndian
	bad := func(what string) (*reader, error) { return nil, fmt.Errorf("%w: %s", ErrFormat, what) }
	if len(p) < reservedSectors*sectorSize || p[510] != 0x55 || p[511] != 0xaa || le.Uint16(p[11:]) != sectorSize || le.Uint16(p[22:]) != 0 {
		return bad("no FAT32 file system")
	}
	reserved, fats, fatSectors := int(le.Uint16(p[14:])), int(p[16]), int(le.Uint32(p[36:]))
	perCluster := int(p[13])
	data := (reserved + fats*fatSectors) * sectorSize
	if perCluster == 0 || fats == 0 || fatSectors > len(p)/sectorSize || data > len(p) {
		return bad("the file system is larger than its partition")
	}
	r := &reader{fat: p[reserved*sectorSize:][:fatSectors*sectorSize], data: p[data:], cluster: perCluster * sectorSize, root: le.Uint32(p[44:])}
	r.budget = 2 * len(r.data) / r.cluster
	return r, nil
}

// chain returns the content of a chain of clusters.
func (r *reader) chain(first uint32) ([]byte, error) {
	var b []byte
	for c := first; c < 0x0ffffff8; {
		if r.budget--; r.budget < 0 {
			return nil, fmt.Errorf("%w: a chain of clusters does not end", ErrFormat)
		}
		at := (int64(c) - 2) * int64(r.cluster)
		if c < 2 || at+int64(r.cluster) > int64(len(r.data)) || 4*int64(c)+4 > int64(len(r.fat)) {
			return nil, fmt.Errorf("%w: cluster %d does not exist", ErrFormat, c)
		}
		b = append(b, r.data[at:at+int64(r.cluster)]...)
		c = binary.LittleEndian.Uint32(r.fat[4*c:]) & 0x0fffffff
	}
	return b, nil
}

// maxDepth bounds folders in folders.
const maxDepth = 8

func (r *reader) folder(cluster uint32, path string, depth int, files *[]File) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: folders in %s are nested too deeply", ErrFormat, path)
	}
	dir, err := r.chain(cluster)
	if err != nil {
		return err
	}
	var long []uint16
	for e := dir; len(e) >= direntSize && e[0] != 0; e = e[direntSize:] {
		switch {
		case e[0] == 0xe5: // deleted
			long = nil
		case e[11] == attrLong:
			var part []uint16
			for _, at := range longPlaces {
				if c := binary.LittleEndian.Uint16(e[at:]); c != 0 && c != 0xffff {
					part = append(part, c)
				}
			}
			long = append(part, long...)
		case e[11]&attrVolume != 0 || e[0] == '.':
			long = nil
		default:
			name := string(utf16.Decode(long))
			if long == nil {
				name = strings.TrimRight(string(e[:8]), " ")
				if ext := strings.TrimRight(string(e[8:11]), " "); ext != "" {
					name += "." + ext
				}
			}
			long = nil
			if err := r.entry(e[:direntSize], path+"/"+name, depth, files); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) entry(e []byte, path string, depth int, files *[]File) error {
	le := binary.LittleEndian
	cluster := uint32(le.Uint16(e[20:]))<<16 | uint32(le.Uint16(e[26:]))
	if e[11]&attrFolder != 0 {
		return r.folder(cluster, path, depth+1, files)
	}
	size := int64(le.Uint32(e[28:]))
	var data []byte
	if size > 0 {
		var err error
		if data, err = r.chain(cluster); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if size > int64(len(data)) {
		return fmt.Errorf("%w: %s has %d bytes of %d", ErrFormat, path, len(data), size)
	}
	*files = append(*files, File{path, data[:size]})
	return nil
}
