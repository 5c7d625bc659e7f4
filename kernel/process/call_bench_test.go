package process

import (
	"testing"

	"aios/kernel/abi"
)

// BenchmarkCall is what a call costs from its number to its method: the look at the
// table, the check of the handle, the dispatcher.
func BenchmarkCall(b *testing.B) {
	m := newFake()
	m.setProgram(entry, func(u *user) { u.sys(sysFutex, dataAt+16, futexWait, 0) })
	p, err := Start(m, Config{Name: "bench", PID: 1, Image: testELF(), Memory: 16 << 20, Grants: allGrants(&lines{}, nil)[:3]})
	if err != nil {
		b.Fatal(err)
	}
	m.p = p
	close(m.ready)
	defer func() { p.Kill("it is measured"); p.Wait() }()
	t := &thread{p: p, ctx: &abi.UserContext{}}
	self, clock, log := uint64(abi.MakeHandle(0, 1)), uint64(abi.MakeHandle(1, 1)), uint64(abi.MakeHandle(2, 1))
	for _, c := range []struct {
		name   string
		number abi.Number
		args   [6]uint64
		want   abi.Errno
	}{
		{"Null", abi.CallNull, [6]uint64{self}, 0},
		{"ClockRead", abi.CallClockRead, [6]uint64{clock}, 0},
		{"Log, too long", abi.CallLog, [6]uint64{log, dataAt, abi.MaxLog + 1}, abi.MessageSize},
		{"bad handle", abi.CallIPCReply, [6]uint64{1 << 40}, abi.BadHandle},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r := t.call(uint64(c.number), c.args); c.want != 0 && r != c.want.Result() || c.want == 0 && int64(r) < 0 {
					b.Fatalf("result %#x", r)
				}
			}
		})
	}
}
