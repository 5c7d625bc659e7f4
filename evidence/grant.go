package evidence

// LeaseRequest is what a host asks of the token authority with its evidence. Its
// kernel makes it: the lease that answers counts from that moment.
type LeaseRequest struct {
	Nonce  [32]byte   `cbor:"1,keyasint"` // of the host's kernel
	Boot   [16]byte   `cbor:"2,keyasint"` // the kernel's id of this boot
	Resets uint32     `cbor:"3,keyasint"` // reset count of the TPM, as the kernel read it
	Held   [16]byte   `cbor:"4,keyasint"` // lease that it holds; zeros: none
	Seen   uint64     `cbor:"5,keyasint"` // highest revocation sequence that it has seen
	Tokens [][16]byte `cbor:"6,keyasint"` // ids of the tokens that it holds
	List   uint64     `cbor:"7,keyasint"` // sequence of the revocation list that it holds, 0: none
	Holder [32]byte   `cbor:"8,keyasint"` // thumbprint of the key that is to hold its tokens
}

// Grant is what a good verdict brings.
type Grant struct {
	Lease  []byte   `cbor:"1,keyasint"` // signed (docs/token-format.md)
	Tokens [][]byte `cbor:"2,keyasint"` // signed
	Orders Orders   `cbor:"3,keyasint"`
	Start  []string `cbor:"4,keyasint"` // agents that are to run
}

// Granted is what the host made of a Grant.
type Granted struct {
	// Refused says what its kernel did not take, and why. What is not in it was
	// taken.
	Refused []string `cbor:"1,keyasint"`
}

// Orders is all that a host has to be told: what is good no more, and what it has
// yet to prove. They are complete, and take the place of those before.
type Orders struct {
	Sequence uint64   `cbor:"1,keyasint"`           // revocation sequence; the host takes none that is lower than one it took
	List     []byte   `cbor:"2,keyasint,omitempty"` // revocation list, signed (docs/token-format.md); absent if the host holds the newest
	All      bool     `cbor:"3,keyasint"`           // no agent may run
	Agents   []string `cbor:"4,keyasint"`           // agents that may not
	Kills    []Kill   `cbor:"5,keyasint"`           // of which receipts are awaited, the oldest first
}

// Kill is an operator's command that the host has to carry out and prove.
type Kill struct {
	Command [16]byte `cbor:"1,keyasint"`
	Agents  []string `cbor:"2,keyasint"` // whose receipts are awaited
	Nonce   [32]byte `cbor:"3,keyasint"` // for the quote (captoken.ReceiptQuote)
}

// Obeyed answers Orders once all of it was done.
type Obeyed struct {
	Receipts []ProvenReceipt `cbor:"1,keyasint"`
	Refused  []string        `cbor:"2,keyasint"` // what could not be done or proven, and why
}

// ProvenReceipt is a kernel's receipt with the quote that carries its hash.
type ProvenReceipt struct {
	Command   [16]byte `cbor:"1,keyasint"`
	Receipt   []byte   `cbor:"2,keyasint"` // captoken.ParseReceipt
	Attest    []byte   `cbor:"3,keyasint"` // TPMS_ATTEST
	Signature []byte   `cbor:"4,keyasint"` // TPMT_SIGNATURE
	PCRs      [][]byte `cbor:"5,keyasint"` // 24 values of the sha256 bank
}

// Events is what happened to the host's agents since the event that was named.
type Events struct {
	Events []Event `cbor:"1,keyasint"` // ascending; a gap says that some were lost
}

// Event is the host's word, as a log is; what has to be proven is in receipts.
type Event struct {
	Number   uint64 `cbor:"1,keyasint"` // from 1 in each boot
	Nanos    uint64 `cbor:"2,keyasint"` // since boot
	Instance uint64 `cbor:"3,keyasint"` // of the agent, 0 if it is about none
	Kind     string `cbor:"4,keyasint"` // start, denied, gone, lease
	Agent    string `cbor:"5,keyasint"`
	Text     string `cbor:"6,keyasint"` // for people
	Receipt  []byte `cbor:"7,keyasint,omitempty"`
}
