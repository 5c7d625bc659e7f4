package process

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"aios/kernel/abi"
	"aios/kernel/ipc"
)

// numbers are the calls that fuzzing favours: all that exist, and some that do not.
var numbers = []uint64{
	sysRead, sysWrite, sysClose, sysMmap, sysMprotect, sysMunmap, sysRtSigaction, sysRtSigprocmask, sysRtSigreturn,
	sysSchedYield, sysMincore, sysMadvise, sysNanosleep, sysGetpid, sysClone, sysKill, sysFcntl, sysSigaltstack,
	sysPrctl, sysArchPrctl, sysGettid, sysFutex, sysSchedGetaffinity, sysSetTidAddress, sysClockGettime,
	sysEpollWait, sysEpollCtl, sysTgkill, sysOpenat, sysEpollPwait, sysEventfd2, sysEpollCreate1, sysPrlimit64,
	sysGetrandom, sysExit, 59, 511, 1 << 40,
	uint64(abi.CallNull), uint64(abi.CallLog), uint64(abi.CallClockRead), uint64(abi.CallYield), uint64(abi.CallStreamRead),
	uint64(abi.CallStreamWrite), uint64(abi.CallAttest), uint64(abi.CallBlobRead), uint64(abi.CallClose),
	uint64(abi.CallIPCSend), uint64(abi.CallIPCRecv), uint64(abi.CallIPCWait), uint64(abi.CallIPCWait) + 1,
}

// values are the arguments that fuzzing favours.
var values = []uint64{
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 17, 64, 100, 128, 4095, 4096, 4097, 1 << 16, 1 << 20, 1 << 21, 1 << 30, 1 << 39, 1 << 46, 1 << 62, 1 << 63, ^uint64(0), ^uint64(4095),
	entry, dataAt, dataAt + 8, dataAt + 64, dataAt + 0xffc, dataAt + 0x2ff8, stackEnd - 4096, stackStart, mmapStart, mmapStart + 4096, mmapEnd, abi.UserTop, abi.UserTop - 4096, abi.ImageEnd, abi.ImageEnd - 8,
	0xc000000000, mapPrivate | mapAnonymous, mapPrivate | mapAnonymous | mapFixed, cloneNeeded, cloneNeeded | cloneSetTLS | cloneClearTID, archSetFS, archGetFS,
	handlerAt, saRestorer | saOnStack, restorerAt,
	uint64(abi.MakeHandle(0, 1)), uint64(abi.MakeHandle(1, 1)), uint64(abi.MakeHandle(2, 1)), uint64(abi.MakeHandle(3, 1)),
	uint64(abi.MakeHandle(4, 1)), uint64(abi.MakeHandle(5, 1)), uint64(abi.MakeHandle(6, 1)), uint64(abi.MakeHandle(7, 1)), uint64(abi.MakeHandle(8, 1)), uint64(abi.MakeHandle(9, 1)),
	uint64(abi.MakeHandle(10, 1)), uint64(abi.MakeHandle(0, 2)),
}

// A program made of bytes: each call is a number and seven choices. Whatever
// it asks, the kernel neither panics nor hangs, and gets every frame back.
func FuzzCalls(f *testing.F) {
	f.Add([]byte("\x03\x00\x10\x03\x2e\x00\x00\x00"))
	f.Add([]byte("\x0e\x33\x00\x00\x00\x00\x00\x00\x15\x21\x00\x00\x00\x00\x00\x00"))
	seed := []byte{}
	for i := range 40 * 7 {
		seed = append(seed, byte(i*37))
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 7*300 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			next := func() []byte {
				mu.Lock()
				defer mu.Unlock()
				if len(code) < 7 {
					return nil
				}
				op := code[:7]
				code = code[7:]
				return op
			}
			m := newFake()
			m.setHandler(handlerAt, func(*user, int, uint64, uint64) {})
			main := func(u *user) {
				for op := next(); op != nil; op = next() {
					var a []uint64
					for _, b := range op[1:] {
						a = append(a, values[int(b)%len(values)])
					}
					n := numbers[int(op[0])%len(numbers)]
					if op[0] == 255 {
						u.store64(a[0], a[1:]...)
						continue
					}
					u.sys(n, a...)
				}
			}
			m.setProgram(handlerAt, main)
			m.setProgram(dataAt, main)
			in := make(chan []byte, 1)
			in <- []byte("some input")
			port := &ipc.Port{} // it can send to itself
			grants := append(allGrants(&lines{}, &pipe{in: in, out: make(chan []byte, 3)}),
				Grant{"SEND", abi.TypeEndpoint, abi.RightWrite | abi.RightTransfer, port})
			p := m.launch(t, Config{Memory: 2 << 20, Threads: 6, Port: port, Grants: grants}, main)
			select {
			case <-p.Done():
			case <-time.After(time.Hour):
				p.Kill("an hour is over")
			}
			if e := p.Wait(); e.Lost != 0 {
				t.Errorf("%+v", e)
			}
		})
	})
}
