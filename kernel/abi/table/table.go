// Package table is the system call table: what a call's number, name, handle,
// arguments, quota, audit class and errors are, once. Dispatcher, constants for
// Go, Rust, TypeScript and Python, manual page, documentation and the grammar of
// the fuzzers are made from it:
//
//	go run ./kernel/abi/gen
//
// Nothing that runs imports this package, so that it may spend words. A number
// that was published is never given another meaning.
package table

// Class says what an argument is: how the dispatcher passes it, and what a
// fuzzer puts there.
type Class uint8

const (
	Number  Class = iota // any number
	In                   // address of bytes that the kernel reads; a Length follows
	Out                  // address of bytes that the kernel writes; a Length follows
	Handles              // address of handles, u64 each, that the kernel reads; a Count follows
	Length               // bytes at the address before
	Count                // handles at the address before
	Timeout              // nanoseconds; Forever waits as long as it takes, 0 not at all
	Op                   // an operation; see Arg.Ops
	Offset               // in a blob
	Rights               // a mask of rights
	Code                 // exit status
	FD                   // of the personality: a descriptor
	Region               // of the personality: address of pages that come and go
	Pick                 // of the personality: one of Arg.Values
)

// Arg is one argument, in one register.
type Arg struct {
	Name  string
	Class Class

	// Of a Length or Count, names of bounds: what is below Min is MessageSize, and
	// so is what is above Max, unless it is Cut to it.
	Min, Max string
	Cut      bool

	Ops    string   // of an Op: how the names of its operations begin; 1 to the last is valid
	Values []uint64 // of a Pick: what makes sense
}

// Quota is what a call takes out of the quotas of the token that its process
// hangs from, whether it then succeeds or not.
type Quota uint8

const (
	QuotaNone    Quota = iota
	QuotaMessage       // one message, and as many bytes as the call's first Length says
)

// Audit is how a journal treats a call that was let through. One that was refused
// at its handle is recorded whatever its class.
type Audit uint8

const (
	AuditNone       Audit = iota // not at all: it moves nothing and changes nothing
	AuditUse                     // counted for each process and object: it moves bytes
	AuditCapability              // each, if it makes, moves or ends capabilities
	AuditAuthority               // each: it speaks for the host or changes who may do what
	AuditProcess                 // each: it ends or makes a process
)

// AuditClasses are their names, with what a journal does.
var AuditClasses = [...]struct{ Name, Doc string }{
	AuditNone:       {"none", "not recorded: it moves nothing and changes nothing"},
	AuditUse:        {"use", "counted for each process and object: it moves bytes"},
	AuditCapability: {"capability", "recorded each time that it makes, moves or ends a capability"},
	AuditAuthority:  {"authority", "recorded each time: it speaks for the host, or changes who may do what"},
	AuditProcess:    {"process", "recorded each time: it ends a process"},
}

// Call is one system call. Its handle is the first argument, and not in Args.
type Call struct {
	Number uint64
	Name   string
	Type   string // of the handle; empty: any
	Right  string // that the handle must carry; empty: none
	Bare   bool   // it is about the handle, not about what that names: no revocation waits for it
	Args   []Arg
	Result string
	Handle bool // the result is a new handle
	Waits  bool // it may wait, so it gives Canceled when its process ends
	Quota  Quota
	Audit  Audit
	Errors []string // beside those that every call gives, see CommonErrors
	Doc    string
}

// CommonErrors are those of the check of the handle, in the order in which it
// finds them; the last two only where the process hangs from a token.
var CommonErrors = []string{"BadHandle", "WrongType", "Denied", "Lapsed", "Quota"}

// Type is a kind of object.
type Type struct {
	Value uint8
	Name  string // as it is written
	Ident string // behind "Type", and "TYPE_"
	Go    string // what the dispatcher passes, of package process; empty: nothing
	Doc   string

	// Derivable: there may be more than one handle on such an object. Calls on one do
	// not wait, or end when the handle does, so that a revocation can wait for them.
	Derivable bool
}

// Right is one bit of a handle's rights.
type Right struct {
	Bit  uint8
	Name string
	Doc  string
}

// Errno is an error of a system call.
type Errno struct {
	Value uint16
	Name  string
	Linux string // its name there
	Text  string
}

// Bound is a number that bounds or sizes what a call takes.
type Bound struct {
	Name  string
	Value uint64
	Expr  string // how it is written in Go, where that says more than the number
	Doc   string
}

// Capability is one that a process may start with.
type Capability struct {
	Ident string // behind "Cap" in Go
	Name  string // behind AIOS_CAP_; one that ends in _ goes on with a name
	Type  string
	Doc   string
}
