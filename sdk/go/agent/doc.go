// Package agent is what an agent calls: a program for GOOS=wasip1 GOARCH=wasm that a
// host of AIOS runs in a process of its own, under the runtime wasmhost.
//
//	echod, err := agent.Peer("echod")
//	answer, err := agent.Ask(echod, []byte("hello"), buf, time.Second)
//
// What fmt prints to standard output and standard error goes to the log, a line at a
// time. There are no files, no sockets and no environment; os.Args[0] is the agent's
// name. Time, random numbers, goroutines and os.Exit work as elsewhere, but the program
// has one thread: a call that waits holds up all of its goroutines.
//
// An agent reaches nothing but what its manifest line wants and its token admits. A call
// beyond that is abi.Denied, and the kernel says so in the host's log; one after the
// token or the host's lease has ended is abi.Lapsed, shortly before the agent itself
// ends; one above its quota is abi.Quota.
package agent
