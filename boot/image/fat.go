package image

import (
	"encoding/binary"
	"unicode/utf16"
)

// FAT32 as the EFI system partition uses it: UEFI 2.10 section 13.3, which
// takes the format from Microsoft's FAT32 File System Specification 1.03.
//
// Files lie in one piece each, in the order in which folders name them.
const (
	sectorsPerCluster = 2 // what keeps the smallest valid volume at 67 MB and the table short
	clusterSize       = sectorsPerCluster * sectorSize
	reservedSectors   = 32
	// A volume with fewer clusters is FAT16 by definition.
	minClusters = 65525 + 16 // some room, as the specification advises
	endOfChain  = 0x0fffffff
	direntSize  = 32

	attrVolume = 0x08
	attrFolder = 0x10
	attrFile   = 0x20
	attrLong   = 0x0f
	date1980   = 1<<5 | 1 // 1980-01-01: the image does not say when it was made
)

// volume is a FAT32 file system whose places are fixed and not yet written.
type volume struct {
	root       *node
	clusters   uint32
	used       uint32 // clusters
	fatSectors int
	sectors    int
}

// layOut gives every file and folder its clusters.
func layOut(root *node) *volume {
	v := &volume{root: root}
	next := uint32(2) // clusters 0 and 1 do not exist
	take := func(n *node, size int) {
		if size == 0 {
			return // an empty file has no cluster
		}
		n.cluster = next
		next += uint32((size + clusterSize - 1) / clusterSize)
	}
	var folders, files func(*node)
	folders = func(n *node) {
		take(n, max(1, n.entries(n == root))*direntSize)
		for _, c := range n.children {
			if c.folder {
				folders(c)
			}
		}
	}
	files = func(n *node) {
		for _, c := range n.children {
			if c.folder {
				files(c)
			} else {
				take(c, len(c.data))
			}
		}
	}
	folders(root)
	files(root)
	v.used = next - 2
	v.clusters = max(minClusters, v.used+v.used/8+1024)
	v.fatSectors = (int(v.clusters+2)*4 + sectorSize - 1) / sectorSize
	v.sectors = reservedSectors + 2*v.fatSectors + int(v.clusters)*sectorsPerCluster
	return v
}

// entries is how many directory entries a folder needs.
func (n *node) entries(root bool) int {
	count := 2 // "." and ".."
	if root {
		count = 1 // the volume's label
	}
	for _, c := range n.children {
		count += 1 + c.longEntries()
	}
	return count
}

// longEntries is how many entries carry the long name, 13 characters each.
func (n *node) longEntries() int {
	if !n.long {
		return 0
	}
	return (len(n.name) + 12) / 13
}

// write writes the volume into its partition, which is zero.
func (v *volume) write(p []byte, id [32]byte) {
	le := binary.LittleEndian
	b := p[:sectorSize]
	copy(b, []byte{0xeb, 0x58, 0x90})
	copy(b[3:], "AIOS    ")
	le.PutUint16(b[11:], sectorSize)
	b[13] = sectorsPerCluster
	le.PutUint16(b[14:], reservedSectors)
	b[16] = 2 // tables
	b[21] = 0xf8
	le.PutUint16(b[24:], 63) // sectors and heads: for the BIOS of old
	le.PutUint16(b[26:], 255)
	le.PutUint32(b[28:], partitionStart)
	le.PutUint32(b[32:], uint32(v.sectors))
	le.PutUint32(b[36:], uint32(v.fatSectors))
	le.PutUint32(b[44:], v.root.cluster)
	le.PutUint16(b[48:], 1) // FSInfo
	le.PutUint16(b[50:], 6) // copy of the boot sector
	b[64] = 0x80
	b[66] = 0x29
	serial := guid(id, "volume")
	copy(b[67:71], serial[:4])
	copy(b[71:], "AIOS       FAT32   ")
	b[510], b[511] = 0x55, 0xaa

	info := p[sectorSize:][:sectorSize]
	le.PutUint32(info, 0x41615252)
	le.PutUint32(info[484:], 0x61417272)
	le.PutUint32(info[488:], v.clusters-v.used)
	le.PutUint32(info[492:], v.used+2)
	le.PutUint32(info[508:], 0xaa550000)
	copy(p[6*sectorSize:], p[:2*sectorSize])

	fat := p[reservedSectors*sectorSize:][:v.fatSectors*sectorSize]
	le.PutUint32(fat, 0x0ffffff8)
	le.PutUint32(fat[4:], endOfChain)
	v.writeNode(p, fat, v.root, nil)
	copy(p[(reservedSectors+v.fatSectors)*sectorSize:], fat)
}

// writeNode writes the content and the chain of a node, and its children.
func (v *volume) writeNode(p, fat []byte, n, parent *node) {
	data := n.data
	if n.folder {
		data = n.directory(parent, v.root)
	}
	if n.cluster != 0 {
		copy(p[v.offset(n.cluster):], data)
		count := uint32((len(data) + clusterSize - 1) / clusterSize)
		for c := n.cluster; c < n.cluster+count; c++ {
			next := c + 1
			if next == n.cluster+count {
				next = endOfChain
			}
			binary.LittleEndian.PutUint32(fat[4*c:], next)
		}
	}
	for _, c := range n.children {
		v.writeNode(p, fat, c, n)
	}
}

// offset is where a cluster begins in the partition.
func (v *volume) offset(cluster uint32) int {
	return (reservedSectors+2*v.fatSectors)*sectorSize + int(cluster-2)*clusterSize
}

// directory is the content of a folder.
func (n *node) directory(parent, root *node) []byte {
	var b []byte
	if n == root {
		b = dirent(b, dosName("AIOS", ""), attrVolume, 0, 0)
	} else {
		up := parent.cluster
		if parent == root {
			up = 0 // so says the specification, for the root's children
		}
		b = dirent(b, dosName(".", ""), attrFolder, n.cluster, 0)
		b = dirent(b, dosName("..", ""), attrFolder, up, 0)
	}
	for _, c := range n.children {
		b = c.appendLong(b)
		attr := byte(attrFile)
		if c.folder {
			attr = attrFolder
		}
		b = dirent(b, c.short, attr, c.cluster, uint32(len(c.data)))
	}
	return b
}

func dirent(b []byte, name [11]byte, attr byte, cluster, size uint32) []byte {
	var e [direntSize]byte
	le := binary.LittleEndian
	copy(e[:], name[:])
	e[11] = attr
	for _, at := range []int{16, 18, 24} { // created, accessed, written
		le.PutUint16(e[at:], date1980)
	}
	le.PutUint16(e[20:], uint16(cluster>>16))
	le.PutUint16(e[26:], uint16(cluster))
	le.PutUint32(e[28:], size)
	return append(b, e[:]...)
}

// appendLong writes the entries that carry a long name, last part first.
func (n *node) appendLong(b []byte) []byte {
	name := utf16.Encode([]rune(n.name))
	sum := shortSum(n.short)
	for part := n.longEntries(); part > 0; part-- {
		var e [direntSize]byte
		e[0] = byte(part)
		if part == n.longEntries() {
			e[0] |= 0x40
		}
		e[11], e[13] = attrLong, sum
		for i, at := range longPlaces {
			c := uint16(0xffff)
			switch k := (part-1)*13 + i; {
			case k < len(name):
				c = name[k]
			case k == len(name):
				c = 0
			}
			binary.LittleEndian.PutUint16(e[at:], c)
		}
		b = append(b, e[:]...)
	}
	return b
}

// longPlaces are where the 13 characters of a long entry sit.
var longPlaces = [13]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}

// shortSum ties long entries to the short one that follows them.
func shortSum(name [11]byte) (sum byte) {
	for _, c := range name {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}
