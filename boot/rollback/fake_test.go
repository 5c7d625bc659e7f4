package rollback

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"
)

// fakeTPM answers the five NV commands as TPM 2.0 Library Part 3 section 31 says, for
// one index. It reads commands as bytes and knows nothing of go-tpm, so that it also
// checks what go-tpm is told to send. The tests with the build tag swtpm run the same
// cases against a real implementation.
type fakeTPM struct {
	t *testing.T

	defined bool
	public  []byte // TPMS_NV_PUBLIC without WRITTEN and WRITELOCKED
	written bool
	locked  bool
	data    []byte

	ownerAuth   string            // what owner authorization the TPM wants
	fail        map[uint32]uint32 // response codes to force, by command code
	forgetLock  bool              // NV_WriteLock says yes and does nothing
	forgetWrite bool              // NV_Write says yes and does nothing
	commands    []string          // what was sent, in hex
}

const (
	ccDefine, ccWrite, ccWriteLock, ccRead, ccReadPublic = 0x12A, 0x137, 0x138, 0x14E, 0x169

	rcHandle1, rcHandle2, rcBadAuth, rcLocked, rcUninitialized = 0x18B, 0x28B, 0x9A2, 0x148, 0x14A

	bitWriteLocked, bitWritten = 1 << 11, 1 << 29
)

func (f *fakeTPM) Send(command []byte) ([]byte, error) {
	f.commands = append(f.commands, hex.EncodeToString(command))
	r := &reader{f.t, command}
	tag, size, code := r.u16(), r.u32(), r.u32()
	if int(size) != len(command) {
		f.t.Errorf("command of %d bytes says that it has %d", len(command), size)
	}
	if rc, ok := f.fail[code]; ok {
		return response(0x8001, rc, nil), nil
	}
	handles := map[uint32]int{ccDefine: 1, ccWrite: 2, ccWriteLock: 2, ccRead: 2, ccReadPublic: 1}[code]
	if handles == 0 {
		return nil, fmt.Errorf("unexpected command %#x", code)
	}
	h := []uint32{r.u32()}
	if handles == 2 {
		h = append(h, r.u32())
		if !f.defined || h[1] != uint32(Index) {
			return response(0x8001, rcHandle2, nil), nil
		}
	}
	if code == ccReadPublic {
		if tag != 0x8001 {
			f.t.Errorf("NV_ReadPublic with tag %#x", tag)
		}
		if !f.defined || h[0] != uint32(Index) {
			return response(0x8001, rcHandle1, nil), nil
		}
		public := f.currentPublic()
		name := sha256.Sum256(public)
		return response(0x8001, 0, cat(sized(public), sized(cat([]byte{0, 0x0B}, name[:])))), nil
	}
	// One password session: TPM_RS_PW, no nonce, attributes, password.
	if tag != 0x8002 {
		f.t.Errorf("command %#x with tag %#x, want a session", code, tag)
	}
	auth := &reader{f.t, r.take(int(r.u32()))}
	if session := auth.u32(); session != 0x40000009 {
		f.t.Errorf("command %#x: session %#x, want TPM_RS_PW", code, session)
	}
	auth.sized()
	auth.take(1)
	password := string(auth.sized())
	if len(auth.b) > 0 {
		f.t.Errorf("command %#x: more than one session", code)
	}
	switch h[0] {
	case 0x40000001: // TPM_RH_OWNER
		if password != f.ownerAuth {
			return response(0x8001, rcBadAuth, nil), nil
		}
	case uint32(Index):
		if code != ccRead {
			f.t.Errorf("command %#x is authorized by the index, which has no AUTHWRITE", code)
		}
		if password != "" {
			return response(0x8001, 0x98E, nil), nil
		}
	default:
		f.t.Errorf("command %#x is authorized by handle %#x", code, h[0])
	}
	var out []byte
	switch code {
	case ccDefine:
		if auth := r.sized(); len(auth) != 0 {
			f.t.Errorf("the index gets the authorization %x, want none", auth)
		}
		f.public, f.defined = r.sized(), true
		f.data = bytes.Repeat([]byte{0xff}, int(binary.BigEndian.Uint16(f.public[len(f.public)-2:])))
	case ccWrite:
		data, offset := r.sized(), r.u16()
		if f.locked {
			return response(0x8001, rcLocked, nil), nil
		}
		if len(data) != len(f.data) || offset != 0 {
			f.t.Errorf("wrote %x at %d, want %d bytes at 0", data, offset, len(f.data))
		}
		if !f.forgetWrite {
			f.data = bytes.Clone(data)
		}
		f.written = true
	case ccRead:
		n, offset := r.u16(), r.u16()
		if !f.written {
			return response(0x8001, rcUninitialized, nil), nil
		}
		out = sized(f.data[offset : offset+n])
	case ccWriteLock:
		f.locked = !f.forgetLock
	}
	if len(r.b) > 0 {
		f.t.Errorf("command %#x has %d bytes too many", code, len(r.b))
	}
	return response(0x8002, 0, cat(u32(uint32(len(out))), out, []byte{0, 0, 1, 0, 0})), nil
}

// reset is what a restart of the host does.
func (f *fakeTPM) reset() { f.locked = false }

func (f *fakeTPM) currentPublic() []byte {
	public := bytes.Clone(f.public)
	attributes := binary.BigEndian.Uint32(public[6:])
	if f.written {
		attributes |= bitWritten
	}
	if f.locked {
		attributes |= bitWriteLocked
	}
	binary.BigEndian.PutUint32(public[6:], attributes)
	return public
}

func response(tag uint16, rc uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, tag)
	b = binary.BigEndian.AppendUint32(b, uint32(10+len(body)))
	return append(binary.BigEndian.AppendUint32(b, rc), body...)
}

func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// reader takes a command apart; a command that is too short fails the test.
type reader struct {
	t *testing.T
	b []byte
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.t.Fatalf("command too short: expected %d more bytes, found %d", n, len(r.b))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u16() uint16   { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32   { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) sized() []byte { return r.take(int(r.u16())) }
