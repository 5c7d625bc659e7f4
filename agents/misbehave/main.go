//go:build wasip1

package main

import (
	"os"
	"strconv"

	"aios/sdk/go/agent"
)

// deeds by the agent's name.
var deeds = map[string]func(){
	"allocate": allocate, "flood-ipc": floodIPC, "flood-log": floodLog,
	"loop-forever": loopForever, "recurse": func() { recurse(0) },
}

func main() {
	deed, ok := deeds[os.Args[0]]
	if !ok {
		println("FAILED: no deed of the name", os.Args[0])
		os.Exit(1)
	}
	println("begin", os.Args[0])
	deed()
	println("FAILED: came to an end")
	os.Exit(1)
}

// kept holds on to what is allocated.
var kept [][]byte

func allocate() {
	for {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
	}
}

// floodIPC sends as fast as it can, never waits and never receives, so that the
// answers fill its own mailbox.
func floodIPC() {
	echod, err := agent.Peer("echod")
	if err != nil {
		println("FAILED:", err.Error())
		os.Exit(1)
	}
	payload := make([]byte, 32<<10)
	for refused := 0; ; {
		reply, err := agent.Reply()
		if err == nil {
			if _, err = echod.Send(payload, 0, reply.Handle); err != nil {
				agent.Close(reply.Handle)
			}
		}
		if err != nil {
			if refused++; refused == 1 {
				println("refused first:", err.Error())
			}
		}
	}
}

func floodLog() {
	line := "flood " + string(make([]byte, 400)) + " "
	for i := 0; ; i++ {
		agent.Log(line + strconv.Itoa(i)) // what becomes of it is the kernel's to say
	}
}

func loopForever() {
	for {
	}
}

// recurse cannot become a loop: its result is used after the call.
func recurse(n int) int { return recurse(n+1) + n }
