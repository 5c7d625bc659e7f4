package authority

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"syscall"
)

// The journal is a file that only grows: a magic, then frames. docs/authority.md
// describes it.
//
//	length of the body  u32, big endian
//	head check          u32: CRC-32C of the length and of the frame's offset in the file (u64)
//	body                one record
//	check               the first 16 bytes of SHA-256(check of the frame before || length || body)
//	end                 0xa5
//
// The head has a check of its own, or one flipped bit of a length would make all that
// follows look like a write that was cut. The end is no zero byte, so that a frame
// whose end the disk never wrote, but filled with zeros, is told from a damaged one.
const (
	journalMagic = "AIOSTA1\n"
	headSize     = 8
	checkSize    = 16
	frameEnd     = 0xa5
	frameSize    = headSize + checkSize + 1 // without the body
	// MaxRecord bounds a body, in bytes.
	MaxRecord = 16 << 20
)

const (
	journalName = "journal"
	newName     = "journal.new"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func headCheck(length uint32, offset int64) uint32 {
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], length)
	binary.BigEndian.PutUint64(b[4:], uint64(offset))
	return crc32.Checksum(b[:], castagnoli)
}

// chain is the check of a frame.
func chain(before [checkSize]byte, length [4]byte, body []byte) (c [checkSize]byte) {
	h := sha256.New()
	h.Write(before[:])
	h.Write(length[:])
	h.Write(body)
	copy(c[:], h.Sum(nil))
	return c
}

// firstCheck is what the check of the first frame follows.
func firstCheck() (c [checkSize]byte) {
	sum := sha256.Sum256([]byte(journalMagic))
	copy(c[:], sum[:])
	return c
}

// appendFrame writes the frame of a body that begins at offset of the file.
func appendFrame(b []byte, offset int64, before [checkSize]byte, body []byte) ([]byte, [checkSize]byte) {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(body)))
	check := chain(before, length, body)
	b = append(b, length[:]...)
	b = binary.BigEndian.AppendUint32(b, headCheck(uint32(len(body)), offset))
	b = append(b, body...)
	b = append(b, check[:]...)
	return append(b, frameEnd), check
}

// ErrDamaged says that the journal is not what was written.
var ErrDamaged = errors.New("the journal is damaged")

// damaged names the place; the caller adds the file.
func damaged(offset int64, format string, a ...any) error {
	return fmt.Errorf("%w at byte %d: %s", ErrDamaged, offset, fmt.Sprintf(format, a...))
}

// replay reads a journal and hands the body of each frame on. It returns where the last
// good frame ends and its check; torn is how many bytes after that belong to a write
// that was cut short, 0 if the journal is whole. Everything else that is not as it was
// written is damage.
func replay(b []byte, apply func(body []byte) error) (end int64, check [checkSize]byte, torn int, err error) {
	if len(b) < len(journalMagic) || string(b[:len(journalMagic)]) != journalMagic {
		return 0, check, 0, damaged(0, "expected %q, found %q", journalMagic, b[:min(len(b), len(journalMagic))])
	}
	off := len(journalMagic)
	check = firstCheck()
	for off < len(b) {
		rest := b[off:]
		if cutShort(rest, int64(off)) {
			return int64(off), check, len(rest), nil
		}
		length := binary.BigEndian.Uint32(rest) // there are 8 bytes, or it were cut short
		if !headGood(rest, int64(off)) {
			return 0, check, 0, damaged(int64(off), "head check expected %08x, found %08x", headCheck(length, int64(off)), rest[4:headSize])
		}
		if length == 0 || length > MaxRecord {
			return 0, check, 0, damaged(int64(off), "length of a record expected 1 to %d, found %d", MaxRecord, length)
		}
		size := frameSize + int(length) // all there, for the same reason
		body := rest[headSize : headSize+length]
		want := chain(check, [4]byte(rest), body)
		if found := rest[headSize+length : size-1]; !bytes.Equal(found, want[:]) || rest[size-1] != frameEnd {
			return 0, check, 0, damaged(int64(off), "check of the record expected %x and %02x, found %x and %02x", want, frameEnd, found, rest[size-1])
		}
		if err := apply(body); err != nil {
			return 0, check, 0, damaged(int64(off), "%v", err)
		}
		check = want
		off += size
	}
	return int64(off), check, 0, nil
}

// cutShort tells whether rest, the end of the file, is a frame whose write was cut: it
// ends, but for zeros that the disk put there, before the frame does.
func cutShort(rest []byte, offset int64) bool {
	written := len(bytes.TrimRight(rest, "\x00"))
	if written < headSize {
		return true
	}
	length := binary.BigEndian.Uint32(rest)
	return headGood(rest, offset) && length > 0 && length <= MaxRecord && written < frameSize+int(length)
}

func headGood(rest []byte, offset int64) bool {
	return binary.BigEndian.Uint32(rest[4:]) == headCheck(binary.BigEndian.Uint32(rest), offset)
}

// journal is one that is open for writing.
type journal struct {
	disk  Disk
	file  File
	size  int64
	check [checkSize]byte
	fixed int64 // size when it was last written as a whole
	// broken is why nothing may be written any more: what is on the disk is not known.
	broken error
}

// ErrStore says that the state could not be written. Nothing was done.
var ErrStore = errors.New("the authority's state could not be written, nothing was done")

// storeError adds what to do.
func storeError(disk Disk, err error) error {
	remedy := "look at the disk under " + fmt.Sprint(disk)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		remedy = "the disk is full: free space under " + fmt.Sprint(disk) + " and try again"
	}
	return fmt.Errorf("%w: %w; %s", ErrStore, err, remedy)
}

// write appends a record and returns when it is on the disk. After an error it is not
// in the journal, or the journal takes nothing more and a restart tells.
func (j *journal) write(body []byte) error {
	if j.broken != nil {
		return fmt.Errorf("%w: %w", ErrStore, j.broken)
	}
	if len(body) == 0 || len(body) > MaxRecord {
		return fmt.Errorf("%w: a record has 1 to %d bytes, this one %d; do it in smaller parts", ErrStore, MaxRecord, len(body))
	}
	frame, check := appendFrame(nil, j.size, j.check, body)
	n, err := j.file.Write(frame)
	if err == nil && n != len(frame) {
		err = fmt.Errorf("%d of %d bytes were written", n, len(frame))
	}
	if err != nil {
		if cut := errors.Join(j.file.Truncate(j.size), j.file.Sync()); cut != nil {
			j.fail(errors.Join(err, cut))
		}
		return storeError(j.disk, err)
	}
	if err := j.file.Sync(); err != nil {
		// After a failed sync nobody knows what is on the disk, and a second one may
		// succeed without having written anything.
		j.fail(err)
		return storeError(j.disk, err)
	}
	j.size += int64(len(frame))
	j.check = check
	return nil
}

func (j *journal) fail(err error) {
	j.broken = fmt.Errorf("%w; after this error what is on the disk is uncertain: restart the verifier, it reads the journal again", err)
}

// rewrite puts a journal of these records in the place of what is there, in one step.
// After an error the old one is still the journal, or nothing more is taken.
func (j *journal) rewrite(bodies [][]byte) (err error) {
	if j.broken != nil {
		return fmt.Errorf("%w: %w", ErrStore, j.broken)
	}
	b := []byte(journalMagic)
	check := firstCheck()
	for _, body := range bodies {
		if len(body) == 0 || len(body) > MaxRecord {
			return fmt.Errorf("%w: a record has 1 to %d bytes, one of the snapshot %d", ErrStore, MaxRecord, len(body))
		}
		b, check = appendFrame(b, int64(len(b)), check, body)
	}
	f, err := j.disk.Create(newName)
	if err != nil {
		return storeError(j.disk, err)
	}
	n, err := f.Write(b)
	if err == nil && n != len(b) {
		err = errors.New(strconv.Itoa(n) + " of " + strconv.Itoa(len(b)) + " bytes were written")
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.disk.Rename(newName, journalName)
	}
	if err != nil {
		return storeError(j.disk, errors.Join(err, f.Close(), j.disk.Remove(newName)))
	}
	if j.file != nil {
		j.file.Close() // nothing is written to it any more, and all of it is on the disk
	}
	j.file, j.size, j.check, j.fixed = f, int64(len(b)), check, int64(len(b))
	if err := j.disk.Sync(); err != nil { // a power cut could bring the old file back, without what is written from now on
		j.fail(err)
		return storeError(j.disk, err)
	}
	return nil
}

func (j *journal) close() error {
	if j.broken == nil {
		j.broken = errors.New("the authority is closed")
	}
	if j.file == nil {
		return nil
	}
	f := j.file
	j.file = nil
	return f.Close()
}
