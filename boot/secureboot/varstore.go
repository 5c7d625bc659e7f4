package secureboot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf16"

	"aios/boot/predict"
)

// ErrVarstore is wrapped by errors about a variable store that cannot be used.
var ErrVarstore = errors.New("not a UEFI variable store of OVMF")

// Layout of OVMF's variable flash: a firmware volume (PI 1.8 volume 3 section
// 3.2.1) that holds a variable store of authenticated variables
// (MdeModulePkg/Include/Guid/VariableFormat.h of EDK II).
const (
	volumeSignature   = 40 // "_FVH"
	volumeHeaderLen   = 48 // u16
	storeHeaderSize   = 28
	storeSizeAt       = 16
	storeFormatAt     = 20
	storeFormatted    = 0x5a
	storeHealthy      = 0xfe
	variableHeader    = 60
	variableStart     = 0x55aa
	variableAdded     = 0x3f // VAR_ADDED
	erased            = 0xff
	attrBootServices  = 0x03 // non-volatile, boot services
	attrAuthenticated = 0x27 // and run time, time-based authenticated writes
)

// GUIDs in the byte order in which they are stored.
var (
	authenticatedStore = [16]byte{0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92}
	globalVariable     = [16]byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	imageSecurity      = [16]byte{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
	secureBootEnable   = [16]byte{0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44}
	certX509           = [16]byte{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
	// owner names who added a certificate; any GUID of one's own will do.
	owner = [16]byte{0x41, 0x49, 0x4f, 0x53, 0x00, 0x00, 0x00, 0x80, 0x80, 0x00, 0x73, 0x65, 0x63, 0x62, 0x6f, 0x6f}
)

// Variables are the contents of PK, KEK and db that Enrol writes: what the
// predictor needs to know.
func (k *Keys) Variables() predict.Variables {
	return predict.Variables{PK: list(k.PK), KEK: list(k.KEK), Db: list(k.Db)}
}

// list is an EFI_SIGNATURE_LIST with one certificate (UEFI 2.10 section 32.4.1).
func list(p Pair) []byte {
	le := binary.LittleEndian
	b := append([]byte(nil), certX509[:]...)
	b = le.AppendUint32(b, uint32(28+16+len(p.Cert.Raw)))
	b = le.AppendUint32(b, 0) // no header
	b = le.AppendUint32(b, uint32(16+len(p.Cert.Raw)))
	return append(append(b, owner[:]...), p.Cert.Raw...)
}

// Enrol returns a copy of a variable store that has never booted, with the keys
// enrolled: Secure Boot is on from the first boot, or off with the keys in
// place if enforce is false.
func (k *Keys) Enrol(template []byte, now time.Time, enforce bool) ([]byte, error) {
	store, end, err := findStore(template)
	if err != nil {
		return nil, err
	}
	free := end
	for v, err := range variables(template, store, end) {
		if err != nil {
			return nil, err
		}
		if v.State == variableAdded && (v.Name == "PK" || v.Name == "db") {
			return nil, fmt.Errorf("%w: it has %s already: start from OVMF_VARS_4M.fd as Debian ships it", ErrVarstore, v.Name)
		}
		free = v.next
	}
	if free == end {
		free = store + storeHeaderSize
	}
	vars := k.Variables()
	enable := byte(0)
	if enforce {
		enable = 1
	}
	out := bytes.Clone(template)
	for _, v := range []Variable{
		{Name: "db", GUID: imageSecurity, Attributes: attrAuthenticated, Data: vars.Db},
		{Name: "KEK", GUID: globalVariable, Attributes: attrAuthenticated, Data: vars.KEK},
		{Name: "PK", GUID: globalVariable, Attributes: attrAuthenticated, Data: vars.PK},
		{Name: "SecureBootEnable", GUID: secureBootEnable, Attributes: attrBootServices, Data: []byte{enable}},
	} {
		b := v.encode(now.UTC())
		if free+len(b) > end {
			return nil, fmt.Errorf("%w: no room for %s", ErrVarstore, v.Name)
		}
		copy(out[free:], b)
		free += len(b)
	}
	return out, nil
}

// Variable is one entry of a variable store.
type Variable struct {
	Name       string
	GUID       [16]byte
	Attributes uint32
	State      byte
	Data       []byte
	next       int
}

// Valid says whether the firmware sees it: entries are not erased, only marked.
func (v Variable) Valid() bool { return v.State == variableAdded }

func (v Variable) encode(now time.Time) []byte {
	le := binary.LittleEndian
	var name []byte
	for _, c := range append(utf16.Encode([]rune(v.Name)), 0) {
		name = le.AppendUint16(name, c)
	}
	h := make([]byte, variableHeader)
	le.PutUint16(h, variableStart)
	h[2] = variableAdded
	le.PutUint32(h[4:], v.Attributes)
	if v.Attributes == attrAuthenticated { // EFI_TIME; later writes must be newer
		le.PutUint16(h[16:], uint16(now.Year()))
		h[18], h[19] = byte(now.Month()), byte(now.Day())
		h[20], h[21], h[22] = byte(now.Hour()), byte(now.Minute()), byte(now.Second())
	}
	le.PutUint32(h[36:], uint32(len(name)))
	le.PutUint32(h[40:], uint32(len(v.Data)))
	copy(h[44:], v.GUID[:])
	b := append(append(h, name...), v.Data...)
	for len(b)%4 != 0 {
		b = append(b, erased)
	}
	return b
}

// List returns all entries of a variable store, also those that are no longer
// valid.
func List(flash []byte) ([]Variable, error) {
	store, end, err := findStore(flash)
	if err != nil {
		return nil, err
	}
	var all []Variable
	for v, err := range variables(flash, store, end) {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// findStore returns where the store's header begins and where the store ends.
func findStore(flash []byte) (start, end int, err error) {
	le := binary.LittleEndian
	if len(flash) < volumeHeaderLen+2 || string(flash[volumeSignature:][:4]) != "_FVH" {
		return 0, 0, fmt.Errorf("%w: no firmware volume", ErrVarstore)
	}
	start = int(le.Uint16(flash[volumeHeaderLen:]))
	if start+storeHeaderSize > len(flash) || [16]byte(flash[start:start+16]) != authenticatedStore {
		return 0, 0, fmt.Errorf("%w: no store of authenticated variables", ErrVarstore)
	}
	if f, s := flash[start+storeFormatAt], flash[start+storeFormatAt+1]; f != storeFormatted || s != storeHealthy {
		return 0, 0, fmt.Errorf("%w: format %#x, state %#x", ErrVarstore, f, s)
	}
	size := int(le.Uint32(flash[start+storeSizeAt:]))
	if size < storeHeaderSize || size > len(flash)-start {
		return 0, 0, fmt.Errorf("%w: a store of %d bytes in a flash of %d", ErrVarstore, size, len(flash))
	}
	return start, start + size, nil
}

// variables goes through the entries in order, up to the first free place.
func variables(flash []byte, store, end int) func(yield func(Variable, error) bool) {
	return func(yield func(Variable, error) bool) {
		le := binary.LittleEndian
		for at := store + storeHeaderSize; at+variableHeader <= end; {
			h := flash[at:]
			if le.Uint16(h) != variableStart {
				return
			}
			name, data := int64(le.Uint32(h[36:])), int64(le.Uint32(h[40:]))
			body := int64(at) + variableHeader
			if body+name+data > int64(end) || name%2 != 0 {
				yield(Variable{}, fmt.Errorf("%w: the variable at %#x is longer than the store", ErrVarstore, at))
				return
			}
			v := Variable{Attributes: le.Uint32(h[4:]), State: h[2], GUID: [16]byte(h[44:60])}
			var u []uint16
			for b := flash[body : body+name]; len(b) > 0; b = b[2:] {
				u = append(u, le.Uint16(b))
			}
			if len(u) > 0 {
				v.Name = string(utf16.Decode(u[:len(u)-1]))
			}
			v.Data = flash[body+name : body+name+data]
			at = int(body+name+data+3) &^ 3
			v.next = at
			if !yield(v, nil) {
				return
			}
		}
	}
}
