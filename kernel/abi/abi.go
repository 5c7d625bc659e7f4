// Package abi is the contract between the AIOS kernel and programs in ring 3:
// system call numbers, errors, handles, message fields and the register frame.
//
// # Calling convention
//
// The SYSCALL instruction, as on Linux x86-64: RAX holds the number, RDI the
// handle, RSI RDX R10 R8 R9 the further arguments; the result comes back in
// RAX, where -4095..-1 is a negated [Errno]. RCX and R11 are lost. Numbers
// below 512 belong to the Linux personality, which serves the program's
// runtime (memory, threads, futexes, time); AIOS calls start at [FirstCall].
// Every AIOS call names a handle first, and the kernel checks that handle,
// its type and its rights before it looks at any other argument.
//
// [Calls] describes each call; documentation and stubs are made from it.
package abi

// Handle names an object in the calling process's capability space: the slot
// in the low 32 bits, the slot's generation in the high 32. Zero is never valid.
type Handle uint64

// MakeHandle puts a handle together; only the kernel has a use for it.
func MakeHandle(index, generation uint32) Handle {
	return Handle(generation)<<32 | Handle(index)
}

// Index is the slot in the process's handle table.
func (h Handle) Index() uint32 { return uint32(h) }

// Generation is the slot's generation when the handle was made.
func (h Handle) Generation() uint32 { return uint32(h >> 32) }

// Type is the kind of object that a handle names.
type Type uint8

const (
	TypeNone      Type = iota // a free slot
	TypeProcess               // the process itself
	TypeLog                   // where lines of text go
	TypeClock                 // time since boot
	TypeStream                // a byte stream, both ways
	TypeAttestor              // typed TPM operations
	TypeBlob                  // read-only bytes
	TypeEndpoint              // sends messages to one mailbox
	TypeMailbox               // messages for the process
	TypeFrames                // Ethernet frames, both ways
	TypeAuthority             // the lease, tokens and agents of this host
	typeEnd
)

func (t Type) String() string {
	if t < typeEnd {
		return [...]string{"none", "process", "log", "clock", "stream", "attestor", "blob", "endpoint", "mailbox", "frames", "authority"}[t]
	}
	return "unknown"
}

// Derivable tells whether there may be more than one handle on an object of this type:
// whether one can be derived from another. Calls on one that is derivable do not wait,
// or end when the handle does, so that a revocation can wait for them.
func (t Type) Derivable() bool {
	switch t {
	case TypeProcess, TypeLog, TypeClock, TypeAttestor, TypeBlob, TypeEndpoint:
		return true
	}
	return false
}

// Rights say what a handle may be used for.
type Rights uint32

const (
	RightRead     Rights = 1 << iota // take bytes or time out of the object
	RightWrite                       // put bytes into it
	RightInvoke                      // ask it for an operation
	RightControl                     // end it
	RightTransfer                    // pass the handle on in a message
)

// AllRights is every right that exists.
const AllRights = RightRead | RightWrite | RightInvoke | RightControl | RightTransfer

func (r Rights) String() string {
	if r == 0 {
		return "none"
	}
	s := ""
	for i, name := range [...]string{"read", "write", "invoke", "control", "transfer"} {
		if r&(1<<i) != 0 {
			if s != "" {
				s += "|"
			}
			s += name
		}
	}
	return s
}

// The handles that a process starts with reach it as environment variables,
// AIOS_CAP_<NAME>=0x<hex>, one for each capability that its manifest grants.
const (
	EnvPrefix   = "AIOS_CAP_"
	CapSelf     = "SELF"      // process
	CapLog      = "LOG"       // log
	CapClock    = "CLOCK"     // clock
	CapChannel  = "CHANNEL"   // stream to the verifier
	CapAttest   = "ATTEST"    // attestor
	CapEventLog = "EVENTLOG"  // blob: the merged event log of this boot
	CapManifest = "MANIFEST"  // blob: the system manifest's payload
	CapPolicy   = "POLICY"    // blob: the policy bundle
	CapMailbox  = "MAILBOX"   // mailbox: messages for this process
	CapSend     = "SEND_"     // and a service's name: endpoint to it
	CapReply    = "REPLY"     // endpoint to this process's own mailbox, to be passed on
	CapFrames   = "FRAMES"    // frames: the network device
	CapAuthor   = "AUTHORITY" // authority
	CapModule   = "MODULE"    // blob: the agent's image
)

// Bounds on one call.
const (
	MaxTransfer = 64 << 10 // bytes moved by StreamRead, StreamWrite, BlobRead: more is cut to this
	MaxMessage  = 16 << 10 // bytes of an Attest request or response
	MaxLog      = 4 << 10  // bytes of one Log call
	MaxIPC      = 64 << 10 // bytes of an IPC message: more is refused before any of it is read
	MaxHandles  = 8        // handles that an IPC message carries
	IPCInfo     = 88       // bytes of what IPCRecv tells of a message: 24, and 8 for each handle
	MaxFrame    = 1514     // bytes of an Ethernet frame without its check sequence
	MaxOrder    = 80 << 10 // bytes of an Authority request or response: a token with all its delegations fits
)
