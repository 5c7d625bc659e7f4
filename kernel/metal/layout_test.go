package metal

import (
	"os"
	"regexp"
	"strconv"
	"testing"
	"unsafe"
)

// TestLayout holds the assembly's offsets against the Go structs. A thread
// frame that is off by eight bytes boots, and corrupts a register now and then.
func TestLayout(t *testing.T) {
	var th thread
	var c percpu
	want := map[string]uintptr{
		"T_R15": unsafe.Offsetof(th.r15), "T_R14": unsafe.Offsetof(th.r14), "T_R13": unsafe.Offsetof(th.r13),
		"T_R12": unsafe.Offsetof(th.r12), "T_RIP": unsafe.Offsetof(th.rip), "T_CS": unsafe.Offsetof(th.cs),
		"T_FLAGS": unsafe.Offsetof(th.flags), "T_SP": unsafe.Offsetof(th.sp), "T_FRAME": unsafe.Offsetof(th.ss) + 8,
		"T_FS": unsafe.Offsetof(th.fs), "T_CR3": unsafe.Offsetof(th.cr3), "T_FXV": unsafe.Offsetof(th.fxv),
		"T_FXP": unsafe.Offsetof(th.fxp), "T_FAST": unsafe.Offsetof(th.fast), "T_FX": offFX,
		"C_SELF": unsafe.Offsetof(c.self), "C_CUR": unsafe.Offsetof(c.cur), "C_KSTACK": unsafe.Offsetof(c.kstack),
		"C_SCRATCH": unsafe.Offsetof(c.scratch), "C_INKERNEL": unsafe.Offsetof(c.inKernel), "C_CR3": unsafe.Offsetof(c.cr3),
		"C_IST1": unsafe.Offsetof(c.ist1), "C_TLSG": unsafe.Offsetof(c.tlsG), "C_TLS": unsafe.Offsetof(c.tls),
		"C_FASTSP": unsafe.Offsetof(c.fastSP), "C_FASTX15": unsafe.Offsetof(c.fastX15),
		"KERNEL_CS": kernelCS, "KERNEL_SS": kernelSS, "USER_CS": userCS, "USER_SS": userSS,
	}
	b, err := os.ReadFile("layout_amd64.h")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+)\t(\w+)$`).FindAllStringSubmatch(string(b), -1) {
		v, err := strconv.ParseUint(m[2], 0, 64)
		if err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		w, ok := want[m[1]]
		if !ok {
			t.Errorf("layout_amd64.h defines %s, which no struct field here explains", m[1])
		} else if uint64(w) != v {
			t.Errorf("%s: assembly has %d, the struct %d", m[1], v, w)
		}
		seen++
	}
	if seen != len(want) {
		t.Errorf("layout_amd64.h defines %d offsets, want %d", seen, len(want))
	}
	if s := unsafe.Sizeof(th); s > offFX {
		t.Errorf("thread is %d bytes and reaches into its vector state at %d", s, offFX)
	}
	if offFX%64 != 0 || offFX2%64 != 0 || offFX2+fxSize > threadSize {
		t.Error("vector state is misplaced in the thread's page")
	}
}
