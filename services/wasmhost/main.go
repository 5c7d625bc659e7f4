// Command wasmhost runs one agent that is a WebAssembly module: one process in ring 3
// for each agent. It is granted what the agent is granted and the agent's image as the
// capability MODULE, and its arguments are its own name and the agent's. The module gets
// WASI preview 1 without files and sockets, and the functions of the host module "aios"
// (sdk/go/agent). It has no authority of its own to lend or to lose: handles are the
// kernel's, which checks every call that a module makes through here.
//
// When the module has ended, or cannot run, the process ends: with the module's exit
// status, or with 1 and the reason in the log.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"aios/boot/manifest"
	"aios/kernel/abi"
	aios "aios/sdk/go"
)

func main() {
	k := newSystem()
	code, err := run(k)
	if err != nil {
		k.Log(fmt.Appendf(nil, "FAILED reason=%q", err)) // if this fails too, the status has to do
		code = 1
	}
	os.Exit(int(code))
}

func run(k *system) (status uint32, err error) {
	if len(os.Args) != 2 {
		return 0, fmt.Errorf("expected the arguments runtime and agent, found %q: wasmhost is started by the kernel for an agent", os.Args)
	}
	module, err := readModule()
	if err != nil {
		return 0, err
	}
	quota, err := memoryQuota()
	if err != nil {
		return 0, err
	}
	h := &host{kernel: k, name: os.Args[1], memory: guestMemory(quota)}
	// While the module is compiled it has no memory yet: the compiler may use that, and
	// a collection would only hold it up.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(int64(quota) / 4 * 3)
	h.compiled = func() {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(hostMemory / 2) // the other half is code, stacks and page tables
		debug.FreeOSMemory()
	}
	return h.run(context.Background(), module)
}

func readModule() ([]byte, error) {
	b, err := aios.OpenBlob(abi.CapModule)
	if err != nil {
		return nil, err
	}
	return b.ReadAll(manifest.MaxImageSize)
}
