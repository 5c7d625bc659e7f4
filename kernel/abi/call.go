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
		[]Errno{MessageSize, Fault, Pipe, Again, NoMemory, TimedOut, Interrupted},
		"Sends bytes, and moves count handles (u64 each) out of this process; see ipc.md."},
	{CallIPCRecv, "IPCRecv", TypeMailbox, RightRead,
		[]Arg{{"ptr", Out}, {"len", Value}, {"info", Out}, {"infolen", Value}, {"timeout", Value}}, "bytes of the message",
		[]Errno{MessageSize, Fault, Pipe, Again, TooManyFiles, TimedOut, Interrupted},
		"Takes the next message, and its handles into this process; see ipc.md."},
	{CallIPCWait, "IPCWait", TypeMailbox, RightRead, []Arg{{"timeout", Value}}, "0", []Errno{Again, TimedOut, Interrupted},
		"Waits until there is something for IPCRecv."},
}

// Lookup returns the description of a call, nil if there is none of that number.
func Lookup(n uint64) *Call {
	if n < FirstCall || n >= uint64(callEnd) {
		return nil
	}
	return &Calls[n-FirstCall]
}
