//go:build aios

package metal

import "sync/atomic"

// One lock covers the personality. Its waiters serve TLB shoot-downs while
// they spin, so that its holder may wait for them.
var bigLock uint32

func lock() {
	if ncpus == 1 {
		return
	}
	for !cas32(&bigLock, 0, 1) {
		for atomic.LoadUint32(&bigLock) != 0 {
			serveFlush()
			pause()
		}
	}
}

func unlock() {
	if ncpus == 1 {
		return
	}
	atomic.StoreUint32(&bigLock, 0)
}

func serveFlush() {
	c := thisCPU()
	if atomic.LoadUint32(&c.flush) != 0 {
		writeCR3(c.cr3)
		atomic.StoreUint32(&c.flush, 0)
	}
}

// flushOthers makes every other CPU forget its translations; when it returns
// none uses an old one. The lock is held.
func flushOthers() {
	if ncpus == 1 {
		return
	}
	me := thisCPU().index
	for i := 0; i < ncpus; i++ {
		if c := &cpus[i]; c.index != me && c.online != 0 {
			atomic.StoreUint32(&c.flush, 1)
			sendIPI(c.apic, vecFlush)
		}
	}
	for i := 0; i < ncpus; i++ {
		if c := &cpus[i]; c.index != me && c.online != 0 {
			for atomic.LoadUint32(&c.flush) != 0 {
				pause()
			}
		}
	}
}
