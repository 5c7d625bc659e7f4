package captoken

import (
	"crypto/sha256"
	"strconv"
	"time"

	"aios/captoken/cbor"
)

// kindReceipt begins every receipt.
const kindReceipt kind = "application/aios-receipt+cbor"

// MaxReceipt bounds an encoded receipt, in bytes.
const MaxReceipt = 512

// Cause is why an agent ended.
type Cause uint8

// The causes.
const (
	CauseCommand Cause = 1 // an operator's
	CauseLease   Cause = 2 // the lease lapsed
	CauseRevoked Cause = 3 // its token was revoked
	CauseQuota   Cause = 4 // it used more than it may
	CauseFault   Cause = 5 // it failed
	CauseParent  Cause = 6 // what started it ended it
	CauseExit    Cause = 7 // it ended by itself
	endOfCauses  Cause = 8
)

func (c Cause) String() string {
	if c > 0 && c < endOfCauses {
		return [...]string{"command", "lease", "revoked", "quota", "fault", "parent", "exit"}[c-1]
	}
	return "cause " + strconv.Itoa(int(c))
}

// Receipt is what the kernel states when an agent is gone. It is not signed: its hash
// goes into a TPM quote, beside the PCRs that say which kernel states it.
type Receipt struct {
	Host     string
	Boot     Boot
	Agent    string
	Instance uint64 // of the agent, counted by the kernel
	Cause    Cause
	Command  ID            // zero if no command caused it
	Frames   uint64        // that were scrubbed and given back
	Handles  uint64        // that are dead
	Asked    time.Duration // since boot: when the kernel learnt of the cause
	Gone     time.Duration // since boot: when nothing of the agent was left
}

// Keys of a receipt.
const (
	receiptHost       = 1
	receiptBoot       = 2  // 16 bytes
	receiptResetCount = 3  // of the TPM
	receiptAgent      = 4  // text
	receiptInstance   = 5  // number
	receiptCause      = 6  // number
	receiptCommand    = 7  // 16 bytes, left out when none
	receiptFrames     = 8  // number
	receiptHandles    = 9  // number
	receiptAsked      = 10 // nanoseconds since boot
	receiptGone       = 11 // nanoseconds since boot
)

var receiptClaims = []int64{receiptHost, receiptBoot, receiptResetCount, receiptAgent, receiptInstance, receiptCause,
	receiptFrames, receiptHandles, receiptAsked, receiptGone}

func (v *Receipt) validate(object string) error {
	switch {
	case !validName(v.Host):
		return claimError(object, "host "+quote(v.Host)+": expected "+nameRule)
	case !validName(v.Agent):
		return claimError(object, "agent "+quote(v.Agent)+": expected "+nameRule)
	case v.Boot.ID.IsZero():
		return claimError(object, "boot id expected, found none")
	case v.Cause == 0 || v.Cause >= endOfCauses:
		return claimError(object, "cause expected 1 to "+strconv.Itoa(int(endOfCauses-1))+", found "+strconv.Itoa(int(v.Cause)))
	case (v.Cause == CauseCommand) == v.Command.IsZero():
		return claimError(object, "expected the id of a command if and only if one is the cause")
	case v.Asked < 0 || v.Gone < v.Asked:
		return claimError(object, "expected the agent gone after it was asked for, found "+v.Asked.String()+" and "+v.Gone.String())
	}
	return nil
}

// Encode returns the receipt in its one form.
func (v *Receipt) Encode() ([]byte, error) {
	if err := v.validate("receipt"); err != nil {
		return nil, err
	}
	b := cbor.AppendText(cbor.AppendArray(make([]byte, 0, 256), 2), string(kindReceipt))
	n := len(receiptClaims)
	if !v.Command.IsZero() {
		n++
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendText(cbor.AppendInt(b, receiptHost), v.Host)
	b = cbor.AppendBytes(cbor.AppendInt(b, receiptBoot), v.Boot.ID[:])
	b = cbor.AppendUint(cbor.AppendInt(b, receiptResetCount), uint64(v.Boot.ResetCount))
	b = cbor.AppendText(cbor.AppendInt(b, receiptAgent), v.Agent)
	b = cbor.AppendUint(cbor.AppendInt(b, receiptInstance), v.Instance)
	b = cbor.AppendUint(cbor.AppendInt(b, receiptCause), uint64(v.Cause))
	if !v.Command.IsZero() {
		b = cbor.AppendBytes(cbor.AppendInt(b, receiptCommand), v.Command[:])
	}
	b = cbor.AppendUint(cbor.AppendInt(b, receiptFrames), v.Frames)
	b = cbor.AppendUint(cbor.AppendInt(b, receiptHandles), v.Handles)
	b = cbor.AppendUint(cbor.AppendInt(b, receiptAsked), uint64(v.Asked))
	return cbor.AppendUint(cbor.AppendInt(b, receiptGone), uint64(v.Gone)), nil
}

// ReceiptHash is what a quote has to carry for an encoded receipt. It begins with its
// kind, so the hash stands for nothing else.
func ReceiptHash(encoded []byte) [32]byte { return sha256.Sum256(encoded) }

// ParseReceipt reads what Encode writes. It proves nothing: compare ReceiptHash with a
// quote of the host and boot that the receipt names.
func ParseReceipt(encoded []byte) (*Receipt, error) {
	const object = "receipt"
	if len(encoded) > MaxReceipt {
		return nil, formError(object, "expected at most "+strconv.Itoa(MaxReceipt)+" bytes, found "+strconv.Itoa(len(encoded)))
	}
	v := new(Receipt)
	r := cbor.NewReader(encoded)
	r.Array(2, 2)
	at := r.Offset()
	if found := r.Text(1, maxKind); r.Err() == nil && string(found) != string(kindReceipt) {
		r.Fail(at, "type expected "+string(kindReceipt)+", found "+quote(string(found)))
	}
	s := newClaimSet(r, receiptClaims, receiptCommand)
	for key, ok := s.next(); ok; key, ok = s.next() {
		switch key {
		case receiptHost:
			v.Host = readName(r)
		case receiptBoot:
			v.Boot.ID = readID(r)
		case receiptResetCount:
			v.Boot.ResetCount = uint32(readBounded(r, 1<<32-1))
		case receiptAgent:
			v.Agent = readName(r)
		case receiptInstance:
			v.Instance = r.Uint()
		case receiptCause:
			v.Cause = Cause(readBounded(r, 255))
		case receiptCommand:
			if v.Command = readID(r); v.Command.IsZero() {
				r.Fail(at, "command id expected, or left out")
			}
		case receiptFrames:
			v.Frames = r.Uint()
		case receiptHandles:
			v.Handles = r.Uint()
		case receiptAsked:
			v.Asked = time.Duration(readBounded(r, 1<<63-1))
		case receiptGone:
			v.Gone = time.Duration(readBounded(r, 1<<63-1))
		}
	}
	if err := s.end(); err != nil {
		return nil, formError(object, err.Error())
	}
	if err := v.validate(object); err != nil {
		return nil, received(err)
	}
	return v, nil
}
