package abi

// Number is an AIOS system call number.
type Number uint64

// FirstCall is the lowest AIOS number; below it lies the Linux personality.
const FirstCall = 0x1000

// Attest operations (the op argument of CallAttest). Requests and responses
// are sequences of fields, see [AppendField].
const (
	AttestIdentity = 1 // () -> EK certificate, EK public, AK public, creation data, creation attestation, creation signature
	AttestActivate = 2 // (credential, secret) -> secret bytes
	AttestQuote    = 3 // (nonce) -> TPMS_ATTEST, TPMT_SIGNATURE, 24 PCR values of the sha256 bank
	AttestRandom   = 4 // (u32 LE count) -> bytes
)

// Authority operations (the op argument of CallAuthority). Requests and responses
// are sequences of fields. The first field of every response is a reason: empty
// if it was done, else why it was refused, and then nothing was changed and no
// field follows. Ids are 16 bytes, numbers u64 little endian.
const (
	AuthorityRequest     = 1  // () -> reason, nonce (32), boot id, TPM reset count, id of the lease that is held (zeros: none), highest revocation sequence, ids of the tokens that are held (16 bytes each), sequence of the revocation list that is held
	AuthorityLease       = 2  // (lease) -> reason
	AuthorityToken       = 3  // (token, proof of possession over the nonce) -> reason; the nonce is spent, whatever comes of it
	AuthorityOrders      = 4  // (sequence, one byte: 1 if no agent may run, names of agents that may not, each with a newline) -> reason; what it forbids is gone when it returns
	AuthorityStart       = 5  // (agent) -> reason, instance
	AuthorityKill        = 6  // (command id, agent or nothing for all) -> reason, receipt...; what it names is gone when it returns
	AuthorityQuote       = 7  // (nonce (32), receipt) -> reason, TPMS_ATTEST, TPMT_SIGNATURE, 24 PCR values; only for a receipt of this kernel
	AuthorityWatch       = 8  // (number, nanoseconds) -> reason, event...; waits until there is an event of a higher number
	AuthorityNonce       = 9  // () -> reason, nonce (32) for the proof of possession of one token; the one before is worth nothing then
	AuthorityRevocations = 10 // (revocation list) -> reason; what hangs from what it names is gone when it returns
)

// Forever is the timeout of an IPC call that waits as long as it takes. Other
// timeouts are nanoseconds; 0 does not wait.
const Forever = ^uint64(0)

// Arg is one argument after the handle.
type Arg struct {
	Name string
	Kind Kind
}

// Kind says how an argument is used.
type Kind uint8

const (
	Value Kind = iota // a number
	In                // address of bytes that the kernel reads; the next argument is their count
	Out               // address of bytes that the kernel writes; the next argument is the room
)

// Audit is how a journal treats a call that was let through. One that was refused at
// its handle is recorded whatever its class.
type Audit uint8

const (
	AuditNone       Audit = iota // not at all: it moves nothing and changes nothing
	AuditUse                     // counted for each process and object: it moves bytes
	AuditCapability              // each, if it makes, moves or ends capabilities
	AuditAuthority               // each: it speaks for the host or changes who may do what
	AuditProcess                 // each: it ends a process
)

// Call describes one system call.
type Call struct {
	Number  Number
	Name    string
	Type    Type   // of the handle; TypeNone: any
	Right   Rights // that the handle must carry
	Bare    bool   // it is about the handle, not about what that names: no revocation waits for it
	Metered uint8  // it takes a message out of the quotas, and as many bytes as this argument says, counted from the handle; 0: nothing
	Audit   Audit
	Args    []Arg
	Result  string
	Errors  []Errno // beyond BadHandle, WrongType and Denied, which every call can return
	Doc     string
}

// Lookup returns the description of a call, nil if there is none of that number.
func Lookup(n uint64) *Call {
	if n < FirstCall || n >= uint64(callEnd) {
		return nil
	}
	return &Calls[n-FirstCall]
}
