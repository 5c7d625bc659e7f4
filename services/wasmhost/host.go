package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// host runs one module.
type host struct {
	kernel kernel
	name   string // the agent's
	memory uint32 // bound of the module's memory, in pages of 64 KiB

	compiled func() // called when the module is compiled; may be nil
}

// entry is the function that a WASI command begins with (WASI preview 1, application ABI).
const entry = "_start"

// run returns the module's exit status, or why it has none.
func (h *host) run(ctx context.Context, module []byte) (status uint32, err error) {
	defer func() {
		if p := recover(); p != nil { // a fault of the runtime's, which a module must not be able to reach
			err = fmt.Errorf("agent %s: the runtime failed: %v", h.name, p)
		}
	}()
	began := time.Now()
	out := &output{log: h.kernel.Log}
	m, err := h.load(ctx, module, out)
	if err != nil {
		return 0, fmt.Errorf("agent %s: %w", h.name, err)
	}
	h.kernel.Log(fmt.Appendf(nil, "ready module_bytes=%d memory_max_mib=%d start_ms=%d", len(module), h.memory>>4, time.Since(began).Milliseconds()))
	_, err = m.ExportedFunction(entry).Call(ctx)
	out.flush()
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("agent %s: it was ended by a trap: %s", h.name, brief(err))
	}
	return 0, nil
}

// load compiles and links the module, and runs nothing of it but a start function, if
// it has one: that is how WebAssembly initialises a module.
func (h *host) load(ctx context.Context, module []byte, out *output) (api.Module, error) {
	if err := bounded(module); err != nil {
		return nil, fmt.Errorf("its image cannot be run: %w; it is cut off, or no module", err)
	}
	ctx = experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(reserve))
	ctx = experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0))
	r := wazero.NewRuntimeWithConfig(ctx, engine().WithMemoryLimitPages(h.memory).WithDebugInfoEnabled(false))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	if err := h.exportCalls(ctx, r); err != nil {
		return nil, err
	}
	code, err := r.CompileModule(ctx, module)
	if err != nil {
		return nil, fmt.Errorf("its image cannot be run: %s; build it with GOOS=wasip1 GOARCH=wasm or for WASI preview 1", brief(err))
	}
	if f, ok := code.ExportedFunctions()[entry]; !ok || len(f.ParamTypes())+len(f.ResultTypes()) > 0 {
		return nil, fmt.Errorf("its module exports no function %s without parameters and results; build a command, not a library", entry)
	}
	if h.compiled != nil {
		h.compiled()
	}
	config := wazero.NewModuleConfig().WithName("").WithArgs(h.name).WithStdout(out).WithStderr(out).WithStartFunctions().
		WithRandSource(rand.Reader).WithSysWalltime().WithSysNanotime().WithSysNanosleep()
	m, err := r.InstantiateModule(ctx, code, config)
	if err != nil {
		return nil, fmt.Errorf("its module cannot be linked: %s; it gets wasi_snapshot_preview1 and aios", brief(err))
	}
	return m, nil
}

// brief is the first line of an error and no more than fits a line of the log: behind
// it comes a trace, which names what the module wants it to name.
func brief(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text[:min(len(text), 256)]
}
