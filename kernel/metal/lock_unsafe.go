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

var barrier uint32

// flushOthers makes the other CPUs forget their translations of a space, or of
// all (root 0); when it returns none uses an old one. A CPU that is not on the
// space has none: there are no global pages, and loading CR3 drops the rest.
// The lock is held.
func flushOthers(root uint64) {
	if ncpus == 1 {
		return
	}
	// A CPU that enters the space from here on finds the tables as they are
	// now: the entries are written before its CR3 is looked at.
	atomic.AddUint32(&barrier, 1)
	me := thisCPU().index
	for i := 0; i < ncpus; i++ {
		c := &cpus[i]
		if c.index != me && c.online != 0 && (root == 0 || atomic.LoadUint64(&c.cr3) == root) {
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
