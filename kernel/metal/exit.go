package metal

// Exit tells why RunUser returned.
type Exit uint64

const (
	ExitSyscall Exit = iota // the program made a system call
	ExitFault               // an exception: Vec, Err and CR2 of the context say which
	ExitQuantum             // its time was over
	ExitKick                // Kick
)
