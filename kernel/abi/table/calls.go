package table

// Pairs of an address and its length.
func in(max string) []Arg {
	return []Arg{{Name: "ptr", Class: In}, {Name: "len", Class: Length, Max: max}}
}
func inCut(max string) []Arg {
	return []Arg{{Name: "ptr", Class: In}, {Name: "len", Class: Length, Max: max, Cut: true}}
}
func outCut(max string) []Arg {
	return []Arg{{Name: "ptr", Class: Out}, {Name: "len", Class: Length, Max: max, Cut: true}}
}

// operation are the arguments of a call whose object has operations.
func operation(ops, max string) []Arg {
	return []Arg{
		{Name: "op", Class: Op, Ops: ops},
		{Name: "request", Class: In}, {Name: "requestlen", Class: Length, Max: max},
		{Name: "response", Class: Out}, {Name: "responselen", Class: Length, Max: max},
	}
}

var timeout = Arg{Name: "timeout", Class: Timeout}

// Calls are the AIOS calls, in the order of their numbers, without a gap.
var Calls = []Call{
	{
		Number: 0x1000, Name: "Null",
		Result: "0",
		Doc:    "Does nothing but the check of the handle.",
	}, {
		Number: 0x1001, Name: "Exit", Type: "process", Right: "control",
		Args:   []Arg{{Name: "code", Class: Code}},
		Result: "does not return", Audit: AuditProcess,
		Doc: "Ends the process with all its threads; code 0 is success.",
	}, {
		Number: 0x1002, Name: "Log", Type: "log", Right: "write",
		Args:   in("MaxLog"),
		Result: "bytes taken", Quota: QuotaMessage, Audit: AuditUse,
		Errors: []string{"Fault", "MessageSize"},
		Doc:    "Writes text to the log. Each line appears under the process's name; bytes that are not printable are replaced.",
	}, {
		Number: 0x1003, Name: "ClockRead", Type: "clock", Right: "read",
		Result: "nanoseconds since boot",
		Doc:    "Reads the monotonic clock.",
	}, {
		Number: 0x1004, Name: "Yield", Type: "process",
		Result: "0",
		Doc:    "Lets other threads run.",
	}, {
		Number: 0x1005, Name: "StreamRead", Type: "stream", Right: "read",
		Args:   outCut("MaxTransfer"),
		Result: "bytes read, 0 at the end", Waits: true, Audit: AuditUse,
		Errors: []string{"Fault", "IO"},
		Doc:    "Reads what is there, or waits for the first byte.",
	}, {
		Number: 0x1006, Name: "StreamWrite", Type: "stream", Right: "write",
		Args:   inCut("MaxTransfer"),
		Result: "bytes written", Waits: true, Audit: AuditUse,
		Errors: []string{"Fault", "IO", "Pipe"},
		Doc:    "Writes, waiting for room; may write less than len.",
	}, {
		Number: 0x1007, Name: "Attest", Type: "attestor", Right: "invoke",
		Args:   operation("Attest", "MaxMessage"),
		Result: "bytes of the response", Waits: true, Audit: AuditAuthority,
		Errors: []string{"Fault", "Invalid", "MessageSize", "IO", "Denied"},
		Doc:    "Asks the kernel for a typed TPM operation.",
	}, {
		Number: 0x1008, Name: "BlobRead", Type: "blob", Right: "read",
		Args:   append([]Arg{{Name: "offset", Class: Offset}}, outCut("MaxTransfer")...),
		Result: "bytes read, 0 at the end", Audit: AuditUse,
		Errors: []string{"Fault", "Invalid", "IO"},
		Doc:    "Reads from an offset.",
	}, {
		Number: 0x1009, Name: "Close", Bare: true,
		Result: "0", Audit: AuditCapability,
		Doc: "Gives the handle up. Whoever an endpoint led to learns that a sender is gone.",
	}, {
		Number: 0x100a, Name: "IPCSend", Type: "endpoint", Right: "write",
		Args: append(in("MaxIPC"),
			Arg{Name: "handles", Class: Handles}, Arg{Name: "count", Class: Count, Max: "MaxHandles"}, timeout),
		Result: "number of the message", Waits: true, Quota: QuotaMessage, Audit: AuditCapability,
		Errors: []string{"MessageSize", "Fault", "Pipe", "Again", "NoMemory", "TooDeep", "TimedOut", "Interrupted"},
		Doc:    "Sends bytes, and moves count handles (u64 each) out of this process; see ipc.md.",
	}, {
		Number: 0x100b, Name: "IPCRecv", Type: "mailbox", Right: "read",
		Args: []Arg{{Name: "ptr", Class: Out}, {Name: "len", Class: Length},
			{Name: "info", Class: Out}, {Name: "infolen", Class: Length, Min: "IPCInfo"}, timeout},
		Result: "bytes of the message", Waits: true, Audit: AuditCapability,
		Errors: []string{"MessageSize", "Fault", "Pipe", "Again", "TooManyFiles", "TimedOut", "Interrupted"},
		Doc:    "Takes the next message, and its handles into this process; see ipc.md.",
	}, {
		Number: 0x100c, Name: "IPCWait", Type: "mailbox", Right: "read",
		Args:   []Arg{timeout},
		Result: "0", Waits: true,
		Errors: []string{"Again", "TimedOut", "Interrupted"},
		Doc:    "Waits until there is something for IPCRecv.",
	}, {
		Number: 0x100d, Name: "FrameInfo", Type: "frames", Right: "read",
		Args:   []Arg{{Name: "ptr", Class: Out}, {Name: "len", Class: Length, Min: "FrameInfoSize"}},
		Result: "bytes written: 8",
		Errors: []string{"Fault", "MessageSize"},
		Doc:    "Tells the device's address (6 bytes) and its MTU (u16 little endian).",
	}, {
		Number: 0x100e, Name: "FrameRead", Type: "frames", Right: "read",
		Args: []Arg{{Name: "ptr", Class: Out}, {Name: "len", Class: Length, Min: "MinFrameRoom", Max: "MaxTransfer", Cut: true},
			timeout},
		Result: "bytes written", Waits: true, Audit: AuditUse,
		Errors: []string{"Fault", "MessageSize", "Again", "TimedOut", "Interrupted", "IO"},
		Doc:    "Takes the frames that are there and fit, each behind its length (u16 little endian), or waits for the first one.",
	}, {
		Number: 0x100f, Name: "FrameWrite", Type: "frames", Right: "write",
		Args:   in("MaxTransfer"),
		Result: "bytes taken", Waits: true, Audit: AuditUse,
		Errors: []string{"Fault", "Invalid", "MessageSize", "IO"},
		Doc:    "Sends frames, each behind its length (u16 little endian), waiting for room in the device.",
	}, {
		Number: 0x1010, Name: "Authority", Type: "authority", Right: "invoke",
		Args:   operation("Authority", "MaxOrder"),
		Result: "bytes of the response", Waits: true, Audit: AuditAuthority,
		Errors: []string{"Fault", "Invalid", "MessageSize", "IO"},
		Doc:    "Tells the kernel what the verifier grants and orders, and asks what became of it.",
	}, {
		Number: 0x1011, Name: "IPCReply", Type: "mailbox", Right: "read",
		Result: "handle", Handle: true, Audit: AuditCapability,
		Errors: []string{"TooManyFiles"},
		Doc:    "Makes an endpoint to the mailbox, to be passed on to whoever is to answer.",
	}, {
		Number: 0x1012, Name: "Derive", Bare: true,
		Args:   []Arg{{Name: "rights", Class: Rights}},
		Result: "handle", Handle: true, Audit: AuditCapability,
		Errors: []string{"Again", "TooDeep", "TooManyFiles"},
		Doc:    "Makes a handle with some of the handle's rights, which hangs from it: Revoke of the one ends the other, wherever it was passed on to.",
	}, {
		Number: 0x1013, Name: "Copy", Bare: true,
		Result: "handle", Handle: true, Audit: AuditCapability,
		Errors: []string{"TooManyFiles"},
		Doc:    "Makes a handle with the handle's rights, which hangs from what the handle hangs from.",
	}, {
		Number: 0x1014, Name: "Revoke", Bare: true,
		Result: "handles that there were", Audit: AuditCapability,
		Doc: "Ends all handles that were derived from the handle, and from those, wherever they are, in messages too. When it returns none of them works. The handle itself stays.",
	},
}
