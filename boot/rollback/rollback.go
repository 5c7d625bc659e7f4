// Package rollback keeps the rollback floor in the TPM: the lowest system manifest
// version that this host may still boot. The boot stage reads it before it trusts a
// manifest; it is raised when a newer slot has proved healthy.
//
// The floor is an ordinary NV index (TPM 2.0 Library Part 1 section 37, Part 2 section
// 13) of eight bytes, a big-endian number:
//
//	index 0x01800A10, in the range that the TCG leaves to the owner
//	OWNERWRITE                writing needs owner authorization
//	OWNERREAD, AUTHREAD       anyone may read: the index authorization is empty
//	WRITEALL                  only the whole number can be written
//	WRITE_STCLEAR             Lock forbids writing until the TPM is reset
//	NO_DA                     failed attempts elsewhere do not lock the floor away
//
// # What protects it
//
// Raise never lowers the floor, but that is this program's promise and not the TPM's. An
// ordinary index can be overwritten, and be removed and defined anew, by whoever may send
// raw commands and holds owner authorization, and AIOS leaves that authorization empty.
// What protects the floor is therefore that the TPM belongs to the boot stage and the
// kernel: ring 3 has typed operations and no raw commands, and the boot stage locks the
// index before it starts the kernel when nothing is to be raised. Neither stops another
// operating system that is started on the machine, nor someone with the TPM's wires in
// hand; against them stand Secure Boot, the PCRs, and the verifier's own copy of the
// floor, which it compares with the version in the evidence. An index that the TPM
// itself keeps from going down (a counter, or writes under TPM2_PolicyNV) is later work.
package rollback

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Index is the NV index of the floor.
const Index tpm2.TPMHandle = 0x01800A10

const size = 8

var (
	// ErrUndefined says that the host has no floor yet.
	ErrUndefined = errors.New("the rollback floor is not defined")
	// ErrForeign says that something else, or something weaker, is at Index.
	ErrForeign = errors.New("the NV index is not a rollback floor of AIOS")
	// ErrLocked says that the floor cannot be written until the TPM is reset.
	ErrLocked = errors.New("the rollback floor is locked until the TPM is reset")
)

// attributes is what the index must have, apart from the two bits that say what happened
// to it (WRITTEN and WRITELOCKED).
var attributes = tpm2.TPMANV{
	OwnerWrite:   true,
	OwnerRead:    true,
	AuthRead:     true,
	WriteAll:     true,
	WriteSTClear: true,
	NoDA:         true,
	NT:           tpm2.TPMNTOrdinary,
}

// Read returns the floor. defined is false, and the floor 0, if the host has none: the
// index does not exist, or nothing has been written to it, as when Provision was cut off.
// An index with other attributes is an error (ErrForeign), because whoever made it may
// also be able to lower it.
func Read(tpm transport.TPM) (floor uint64, defined bool, err error) {
	index, err := readPublic(tpm)
	if errors.Is(err, ErrUndefined) || err == nil && !index.written {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	floor, err = index.read(tpm)
	return floor, err == nil, err
}

// Provision defines the index on a host that has none, with the given floor. On a host
// that has one it raises it, as Raise does.
func Provision(tpm transport.TPM, floor uint64) error {
	index, err := readPublic(tpm)
	if errors.Is(err, ErrUndefined) {
		if index, err = define(tpm); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return index.raise(tpm, floor)
}

// Raise sets the floor to newFloor if it is below it, and otherwise leaves it as it is.
// After a nil error the floor, read back from the TPM, is at least newFloor.
func Raise(tpm transport.TPM, newFloor uint64) error {
	index, err := readPublic(tpm)
	if err != nil {
		return err
	}
	return index.raise(tpm, newFloor)
}

// Lock forbids writing the floor until the TPM is reset, that is until the next boot.
// Locking twice is no error.
func Lock(tpm transport.TPM) error {
	index, err := readPublic(tpm)
	if err != nil {
		return err
	}
	if index.locked {
		return nil
	}
	if _, err := (tpm2.NVWriteLock{AuthHandle: owner(), NVIndex: index.handle()}).Execute(tpm); err != nil {
		return index.failed("lock", err)
	}
	if index, err = readPublic(tpm); err != nil {
		return err
	}
	if !index.locked {
		return index.failed("lock", errors.New("the TPM said yes and did not set TPMA_NV_WRITELOCKED"))
	}
	return nil
}

// nvIndex is the index as TPM2_NV_ReadPublic shows it.
type nvIndex struct {
	name            tpm2.TPM2BName
	written, locked bool
}

func owner() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
}

func (i *nvIndex) handle() tpm2.NamedHandle {
	return tpm2.NamedHandle{Handle: Index, Name: i.name}
}

func (i *nvIndex) failed(verb string, err error) error {
	if errors.Is(err, tpm2.TPMRCNVLocked) {
		return fmt.Errorf("%s NV index %#08x: %w; do it before the boot stage locks the index, or reset the host", verb, uint32(Index), ErrLocked)
	}
	if errors.Is(err, tpm2.TPMRCBadAuth) || errors.Is(err, tpm2.TPMRCAuthFail) {
		return fmt.Errorf("%s NV index %#08x: %w; AIOS expects an empty owner authorization, clear the TPM in the firmware setup", verb, uint32(Index), err)
	}
	return fmt.Errorf("%s NV index %#08x: %w", verb, uint32(Index), err)
}

// readPublic finds the index and checks that it is what define makes.
func readPublic(tpm transport.TPM) (*nvIndex, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: Index}.Execute(tpm)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, fmt.Errorf("NV index %#08x: %w; provision the host first", uint32(Index), ErrUndefined)
	}
	if err != nil {
		return nil, fmt.Errorf("read the attributes of NV index %#08x: %w", uint32(Index), err)
	}
	public, err := rsp.NVPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("read the attributes of NV index %#08x: %w", uint32(Index), err)
	}
	found := public.Attributes
	index := &nvIndex{name: rsp.NVName, written: found.Written, locked: found.WriteLocked}
	found.Written, found.WriteLocked = false, false
	const remedy = "find out who made it, remove it and provision the host again"
	switch {
	case public.NVIndex != Index:
		return nil, fmt.Errorf("NV index %#08x: %w: the TPM answered for index %#08x; %s", uint32(Index), ErrForeign, uint32(public.NVIndex), remedy)
	case found != attributes:
		return nil, fmt.Errorf("NV index %#08x: %w: attributes expected %+v found %+v; %s", uint32(Index), ErrForeign, attributes, found, remedy)
	case public.NameAlg != tpm2.TPMAlgSHA256 || len(public.AuthPolicy.Buffer) != 0:
		return nil, fmt.Errorf("NV index %#08x: %w: name algorithm expected SHA-256 and no policy, found algorithm %#04x and a policy of %d bytes; %s",
			uint32(Index), ErrForeign, uint16(public.NameAlg), len(public.AuthPolicy.Buffer), remedy)
	case public.DataSize != size:
		return nil, fmt.Errorf("NV index %#08x: %w: size expected %d bytes found %d; %s", uint32(Index), ErrForeign, size, public.DataSize, remedy)
	}
	return index, nil
}

func define(tpm transport.TPM) (*nvIndex, error) {
	_, err := tpm2.NVDefineSpace{
		AuthHandle: owner(),
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex:    Index,
			NameAlg:    tpm2.TPMAlgSHA256,
			Attributes: attributes,
			DataSize:   size,
		}),
	}.Execute(tpm)
	if err != nil {
		return nil, (*nvIndex)(nil).failed("define", err)
	}
	return readPublic(tpm)
}

func (i *nvIndex) read(tpm transport.TPM) (uint64, error) {
	rsp, err := tpm2.NVRead{
		AuthHandle: tpm2.AuthHandle{Handle: Index, Name: i.name, Auth: tpm2.PasswordAuth(nil)},
		NVIndex:    i.handle(),
		Size:       size,
	}.Execute(tpm)
	if err != nil {
		return 0, i.failed("read", err)
	}
	if len(rsp.Data.Buffer) != size {
		return 0, i.failed("read", fmt.Errorf("expected %d bytes, found %d", size, len(rsp.Data.Buffer)))
	}
	return binary.BigEndian.Uint64(rsp.Data.Buffer), nil
}

func (i *nvIndex) raise(tpm transport.TPM, floor uint64) error {
	if i.written {
		have, err := i.read(tpm)
		if err != nil || have >= floor {
			return err
		}
	}
	_, err := tpm2.NVWrite{
		AuthHandle: owner(),
		NVIndex:    i.handle(),
		Data:       tpm2.TPM2BMaxNVBuffer{Buffer: binary.BigEndian.AppendUint64(nil, floor)},
	}.Execute(tpm)
	if err != nil {
		return i.failed("write", err)
	}
	// The first write sets WRITTEN and so changes the name of the index.
	if i, err = readPublic(tpm); err != nil {
		return err
	}
	have, err := i.read(tpm)
	if err == nil && have != floor {
		err = i.failed("write", fmt.Errorf("wrote %d and read %d back", floor, have))
	}
	return err
}
