package process

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"aios/kernel/abi"
)

// Descriptors. A program has no files; these exist for the Go runtime's
// network poller, which wakes itself through an eventfd in an epoll set.
const (
	firstFD = 3
	maxFDs  = 64

	efdNonblock = 0x800
	efdCloexec  = 0x80000

	epollAdd = 1
	epollDel = 2
	epollMod = 3
	epollIn  = 1

	epollEventSize = 12 // packed on x86-64
	maxEpollEvents = 1024
)

// files is a process's descriptor table. One lock and one broadcast channel
// serve all of it: there is one poller in a program.
type files struct {
	mu      sync.Mutex
	open    map[uint64]any // *eventFD or *epollSet
	changed chan struct{}  // closed and replaced when an eventfd becomes readable
}

type eventFD struct{ count uint64 }

type epollSet struct{ interest map[uint64]epollInterest }

type epollInterest struct {
	events uint32
	data   [8]byte
}

func (f *files) init() {
	f.open = map[uint64]any{}
	f.changed = make(chan struct{})
}

func (f *files) add(object any) (uint64, abi.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for fd := uint64(firstFD); fd < firstFD+maxFDs; fd++ {
		if f.open[fd] == nil {
			f.open[fd] = object
			return fd, 0
		}
	}
	return 0, abi.TooManyFiles
}

// standard tells whether fd is one of the three that are always open.
func standard(fd uint64) bool { return fd < firstFD }

func (f *files) isOpen(fd uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return standard(fd) || f.open[fd] != nil
}

func (f *files) close(fd uint64) abi.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	if standard(fd) {
		return 0
	}
	if f.open[fd] == nil {
		return abi.BadHandle
	}
	delete(f.open, fd)
	for _, object := range f.open {
		if s, ok := object.(*epollSet); ok {
			delete(s.interest, fd)
		}
	}
	return 0
}

// readEvent takes an eventfd's count. It never waits: the descriptors are
// non-blocking, whatever they were opened as.
func (f *files) readEvent(fd uint64) (uint64, abi.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.open[fd].(*eventFD)
	switch {
	case !ok:
		return 0, abi.BadHandle
	case e.count == 0:
		return 0, abi.Again
	}
	n := e.count
	e.count = 0
	return n, 0
}

func (f *files) writeEvent(fd, n uint64) abi.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.open[fd].(*eventFD)
	switch {
	case !ok:
		return abi.BadHandle
	case n == ^uint64(0):
		return abi.Invalid
	case e.count+n < n || e.count+n == ^uint64(0):
		return abi.Again
	}
	e.count += n
	close(f.changed)
	f.changed = make(chan struct{})
	return 0
}

// ready lists the events of an epoll set that are due, and the channel that
// closes when that may have changed.
func (f *files) ready(epfd uint64, limit int) (events []byte, n int, changed <-chan struct{}, e abi.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.open[epfd].(*epollSet)
	if !ok {
		return nil, 0, nil, abi.BadHandle
	}
	for _, fd := range slices.Sorted(maps.Keys(s.interest)) {
		ev, ok := f.open[fd].(*eventFD)
		if i := s.interest[fd]; ok && ev.count > 0 && i.events&epollIn != 0 && n < limit {
			events = binary.LittleEndian.AppendUint32(events, epollIn)
			events = append(events, i.data[:]...)
			n++
		}
	}
	return events, n, f.changed, 0
}

func (t *thread) epollCtl(epfd, op, fd, eventAt uint64) abi.Errno {
	var b [epollEventSize]byte
	if op == epollAdd || op == epollMod {
		if e := t.p.copyIn(eventAt, b[:]); e != 0 {
			return e
		}
	}
	f := &t.p.files
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.open[epfd].(*epollSet)
	if !ok || !standard(fd) && f.open[fd] == nil {
		return abi.BadHandle
	}
	if _, ok := f.open[fd].(*eventFD); !ok {
		return abi.Permission // as Linux says of what cannot be polled
	}
	_, known := s.interest[fd]
	switch op {
	case epollAdd:
		if known {
			return abi.Exists
		}
	case epollDel, epollMod:
		if !known {
			return abi.NoEntry
		}
	default:
		return abi.Invalid
	}
	if op == epollDel {
		delete(s.interest, fd)
		return 0
	}
	s.interest[fd] = epollInterest{binary.LittleEndian.Uint32(b[:]), [8]byte(b[4:])}
	return 0
}

// epollWait serves epoll_wait and epoll_pwait without a mask.
func (t *thread) epollWait(epfd, eventsAt, limit uint64, timeout int32) (uint64, abi.Errno) {
	if limit == 0 || limit > maxEpollEvents {
		return 0, abi.Invalid
	}
	d := forever
	var until time.Duration
	if timeout >= 0 {
		d = time.Duration(timeout) * time.Millisecond
		until = t.p.machine.Now() + d
	}
	for {
		events, n, changed, e := t.p.files.ready(epfd, int(limit))
		if e != 0 {
			return 0, e
		}
		if n > 0 {
			return uint64(n), t.p.copyOut(eventsAt, events)
		}
		if d == 0 {
			return 0, 0
		}
		switch o := t.wait(changed, d); o {
		case timedOut:
			return 0, 0
		case woken:
		default:
			return 0, o.errno()
		}
		if timeout >= 0 {
			d = max(0, until-t.p.machine.Now())
		}
	}
}
