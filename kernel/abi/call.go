package abi

// Number is an AIOS system call number.
type Number uint64

// FirstCall is the lowest AIOS number; below it lies the Linux personality.
const FirstCall = 0x1000

const (
	CallNull        Number = FirstCall + iota // 0x1000
	CallExit                                  // 0x1001
	CallLog                                   // 0x1002
	CallClockRead                             // 0x1003
	CallYield                                 // 0x1004
	CallStreamRead                            // 0x1005
	CallStreamWrite                           // 0x1006
	CallAttest                                // 0x1007
	CallBlobRead                              // 0x1008
	CallClose                                 // 0x1009
	CallIPCSend                               // 0x100a
	CallIPCRecv                               // 0x100b
	CallIPCWait                               // 0x100c
	CallFrameInfo                             // 0x100d
	CallFrameRead                             // 0x100e
	CallFrameWrite                            // 0x100f
	CallAuthority                             // 0x1010
	CallIPCReply                              // 0x1011
	CallDerive                                // 0x1012
	CallCopy                                  // 0x1013
	CallRevoke                                // 0x1014
	callEnd
)

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
	AuthorityRequest = 1 // () -> reason, nonce (32), boot id, TPM reset count, id of the lease that is held (zeros: none), highest revocation sequence, ids of the tokens that are held (16 bytes each)
	AuthorityLease   = 2 // (lease) -> reason
	AuthorityToken   = 3 // (token) -> reason
	AuthorityOrders  = 4 // (sequence, epoch, ids of revoked tokens, ids of revoked leases, one byte: 1 if no agent may run, names of agents that may not, each with a newline) -> reason; what it forbids is gone when it returns
	AuthorityStart   = 5 // (agent) -> reason, instance
	AuthorityKill    = 6 // (command id, agent or nothing for all) -> reason, receipt...; what it names is gone when it returns
	AuthorityQuote   = 7 // (nonce (32), receipt) -> reason, TPMS_ATTEST, TPMT_SIGNATURE, 24 PCR values; only for a receipt of this kernel
	AuthorityWatch   = 8 // (number, nanoseconds) -> reason, event...; waits until there is an event of a higher number
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

// Call describes one system call.
type Call struct {
	Number Number
	Name   string
	Type   Type   // of the handle; TypeNone: any
	Right  Rights // that the handle must carry
	Args   []Arg
	Result string
	Errors []Errno // beyond BadHandle, WrongType and Denied, which every call can return
	Doc    string
}

// Calls is every AIOS call, in the order of their numbers.
var Calls = []Call{
	{CallNull, "Null", TypeNone, 0, nil, "0", nil,
		"Does nothing but the check of the handle."},
	{CallExit, "Exit", TypeProcess, RightControl, []Arg{{"code", Value}}, "does not return", nil,
		"Ends the process with all its threads; code 0 is success."},
	{CallLog, "Log", TypeLog, RightWrite, []Arg{{"ptr", In}, {"len", Value}}, "bytes taken", []Errno{Fault, MessageSize},
		"Writes text to the log. Each line appears under the process's name; bytes that are not printable are replaced."},
	{CallClockRead, "ClockRead", TypeClock, RightRead, nil, "nanoseconds since boot", nil,
		"Reads the monotonic clock."},
	{CallYield, "Yield", TypeProcess, 0, nil, "0", nil,
		"Lets other threads run."},
	{CallStreamRead, "StreamRead", TypeStream, RightRead, []Arg{{"ptr", Out}, {"len", Value}}, "bytes read, 0 at the end", []Errno{Fault, IO},
		"Reads what is there, or waits for the first byte."},
	{CallStreamWrite, "StreamWrite", TypeStream, RightWrite, []Arg{{"ptr", In}, {"len", Value}}, "bytes written", []Errno{Fault, IO, Pipe},
		"Writes, waiting for room; may write less than len."},
	{CallAttest, "Attest", TypeAttestor, RightInvoke,
		[]Arg{{"op", Value}, {"request", In}, {"requestlen", Value}, {"response", Out}, {"responselen", Value}}, "bytes of the response",
		[]Errno{Fault, Invalid, MessageSize, IO, Denied},
		"Asks the kernel for a typed TPM operation."},
	{CallBlobRead, "BlobRead", TypeBlob, RightRead, []Arg{{"offset", Value}, {"ptr", Out}, {"len", Value}}, "bytes read, 0 at the end", []Errno{Fault, Invalid, IO},
		"Reads from an offset."},
	{CallClose, "Close", TypeNone, 0, nil, "0", nil,
		"Gives the handle up. Whoever an endpoint led to learns that a sender is gone."},
	{CallIPCSend, "IPCSend", TypeEndpoint, RightWrite,
		[]Arg{{"ptr", In}, {"len", Value}, {"handles", In}, {"count", Value}, {"timeout", Value}}, "number of the message",
		[]Errno{MessageSize, Fault, Pipe, Again, NoMemory, TooDeep, TimedOut, Interrupted},
		"Sends bytes, and moves count handles (u64 each) out of this process; see ipc.md."},
	{CallIPCRecv, "IPCRecv", TypeMailbox, RightRead,
		[]Arg{{"ptr", Out}, {"len", Value}, {"info", Out}, {"infolen", Value}, {"timeout", Value}}, "bytes of the message",
		[]Errno{MessageSize, Fault, Pipe, Again, TooManyFiles, TimedOut, Interrupted},
		"Takes the next message, and its handles into this process; see ipc.md."},
	{CallIPCWait, "IPCWait", TypeMailbox, RightRead, []Arg{{"timeout", Value}}, "0", []Errno{Again, TimedOut, Interrupted},
		"Waits until there is something for IPCRecv."},
	{CallFrameInfo, "FrameInfo", TypeFrames, RightRead, []Arg{{"ptr", Out}, {"len", Value}}, "bytes written: 8", []Errno{Fault, MessageSize},
		"Tells the device's address (6 bytes) and its MTU (u16 little endian)."},
	{CallFrameRead, "FrameRead", TypeFrames, RightRead, []Arg{{"ptr", Out}, {"len", Value}, {"timeout", Value}}, "bytes written",
		[]Errno{Fault, MessageSize, Again, TimedOut, Interrupted, IO},
		"Takes the frames that are there and fit, each behind its length (u16 little endian), or waits for the first one."},
	{CallFrameWrite, "FrameWrite", TypeFrames, RightWrite, []Arg{{"ptr", In}, {"len", Value}}, "bytes taken",
		[]Errno{Fault, Invalid, MessageSize, IO},
		"Sends frames, each behind its length (u16 little endian), waiting for room in the device."},
	{CallAuthority, "Authority", TypeAuthority, RightInvoke,
		[]Arg{{"op", Value}, {"request", In}, {"requestlen", Value}, {"response", Out}, {"responselen", Value}}, "bytes of the response",
		[]Errno{Fault, Invalid, MessageSize, IO, Canceled},
		"Tells the kernel what the verifier grants and orders, and asks what became of it."},
	{CallIPCReply, "IPCReply", TypeMailbox, RightRead, nil, "handle", []Errno{TooManyFiles},
		"Makes an endpoint to the mailbox, to be passed on to whoever is to answer."},
	{CallDerive, "Derive", TypeNone, 0, []Arg{{"rights", Value}}, "handle", []Errno{Again, TooDeep, TooManyFiles},
		"Makes a handle with some of the handle's rights, which hangs from it: Revoke of the one ends the other, wherever it was passed on to."},
	{CallCopy, "Copy", TypeNone, 0, nil, "handle", []Errno{TooManyFiles},
		"Makes a handle with the handle's rights, which hangs from what the handle hangs from."},
	{CallRevoke, "Revoke", TypeNone, 0, nil, "handles that there were", nil,
		"Ends all handles that were derived from the handle, and from those, wherever they are, in messages too. When it returns none of them works. The handle itself stays."},
}

// Lookup returns the description of a call, nil if there is none of that number.
func Lookup(n uint64) *Call {
	if n < FirstCall || n >= uint64(callEnd) {
		return nil
	}
	return &Calls[n-FirstCall]
}
