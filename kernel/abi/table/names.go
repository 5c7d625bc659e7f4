package table

// FirstCall is the lowest number of an AIOS call; below it lies the personality.
const FirstCall = 0x1000

// MaxErrno bounds error numbers: a result of -MaxErrno to -1 is an error.
const MaxErrno = 4095

// Types are the kinds of objects.
var Types = []Type{
	{1, "process", "Process", "", "the process itself", true},
	{2, "log", "Log", "*lineLog", "where lines of text go", true},
	{3, "clock", "Clock", "", "time since boot", true},
	{4, "stream", "Stream", "Stream", "a byte stream, both ways", false},
	{5, "attestor", "Attestor", "Attestor", "typed TPM operations", true},
	{6, "blob", "Blob", "Blob", "read-only bytes", true},
	{7, "endpoint", "Endpoint", "*ipc.Endpoint", "sends messages to one mailbox", true},
	{8, "mailbox", "Mailbox", "*ipc.Mailbox", "messages for the process", false},
	{9, "frames", "Frames", "Frames", "Ethernet frames, both ways", false},
	{10, "authority", "Authority", "Authority", "the lease, tokens and agents of this host", false},
}

// AllRights are the rights that exist.
var AllRights = []Right{
	{0, "read", "take bytes or time out of the object"},
	{1, "write", "put bytes into it"},
	{2, "invoke", "ask it for an operation"},
	{3, "control", "end it"},
	{4, "transfer", "pass the handle on in a message"},
}

// Errnos are the errors. Numbers are Linux's (asm-generic/errno.h) wherever the
// meaning agrees, so that a runtime's own texts make sense.
var Errnos = []Errno{
	{1, "Permission", "EPERM", "operation not permitted"},
	{2, "NoEntry", "ENOENT", "no such file"},
	{3, "NoProcess", "ESRCH", "no such thread in this process"},
	{4, "Interrupted", "EINTR", "interrupted by a signal"},
	{5, "IO", "EIO", "input or output failed"},
	{9, "BadHandle", "EBADF", "bad handle: closed, never granted, or of another process"},
	{11, "Again", "EAGAIN", "try again"},
	{12, "NoMemory", "ENOMEM", "memory quota exhausted"},
	{13, "Denied", "EACCES", "the handle lacks the right for this"},
	{14, "Fault", "EFAULT", "bad address: not mapped in this process, or not for this kind of access"},
	{17, "Exists", "EEXIST", "address range already in use"},
	{19, "NoDevice", "ENODEV", "only private anonymous memory can be mapped"},
	{22, "Invalid", "EINVAL", "invalid argument"},
	{24, "TooManyFiles", "EMFILE", "too many open descriptors, or no room for more handles"},
	{32, "Pipe", "EPIPE", "the other end is closed"},
	{38, "NoCall", "ENOSYS", "no such system call"},
	{40, "TooDeep", "ELOOP", "derived, or passed on, too many times"},
	{90, "MessageSize", "EMSGSIZE", "message too long, or too little room for the answer"},
	{95, "WrongType", "EOPNOTSUPP", "the handle names another type of object"},
	{110, "TimedOut", "ETIMEDOUT", "timed out"},
	{122, "Quota", "EDQUOT", "the quota of messages or of their bytes is used up for now"},
	{125, "Canceled", "ECANCELED", "canceled: the process is ending"},
	{127, "Lapsed", "EKEYEXPIRED", "lapsed: the token has ended, was revoked, or its lease is over"},
}

// Bounds are those of one call.
var Bounds = []Bound{
	{"MaxTransfer", 64 << 10, "64 << 10", "bytes moved by StreamRead, StreamWrite, BlobRead: more is cut to this"},
	{"MaxMessage", 16 << 10, "16 << 10", "bytes of an Attest request or response"},
	{"MaxLog", 4 << 10, "4 << 10", "bytes of one Log call"},
	{"MaxIPC", 64 << 10, "64 << 10", "bytes of an IPC message: more is refused before any of it is read"},
	{"MaxHandles", 8, "", "handles that an IPC message carries"},
	{"IPCInfo", 88, "", "bytes of what IPCRecv tells of a message: 24, and 8 for each handle"},
	{"MaxFrame", 1514, "", "bytes of an Ethernet frame without its check sequence"},
	{"MinFrameRoom", 2 + 1514, "2 + MaxFrame", "bytes of room that FrameRead needs: the longest frame and its length"},
	{"FrameInfoSize", 8, "", "bytes that FrameInfo tells"},
	{"MaxOrder", 80 << 10, "80 << 10", "bytes of an Authority request or response: a token with all its delegations fits"},
}

// EnvPrefix begins the names of the environment variables that tell a process the
// handles that it starts with.
const EnvPrefix = "AIOS_CAP_"

// Capabilities are what a process may start with, as its manifest grants them.
var Capabilities = []Capability{
	{"Self", "SELF", "process", ""},
	{"Log", "LOG", "log", ""},
	{"Clock", "CLOCK", "clock", ""},
	{"Channel", "CHANNEL", "stream", "to the verifier"},
	{"Attest", "ATTEST", "attestor", ""},
	{"EventLog", "EVENTLOG", "blob", "the merged event log of this boot"},
	{"Manifest", "MANIFEST", "blob", "the system manifest's payload"},
	{"Policy", "POLICY", "blob", "the policy bundle"},
	{"Mailbox", "MAILBOX", "mailbox", "messages for this process"},
	{"Send", "SEND_", "endpoint", "and a service's name: to that service"},
	{"Reply", "REPLY", "endpoint", "to this process's own mailbox, to be passed on"},
	{"Frames", "FRAMES", "frames", "the network device"},
	{"Author", "AUTHORITY", "authority", ""},
	{"Module", "MODULE", "blob", "the agent's image"},
}
