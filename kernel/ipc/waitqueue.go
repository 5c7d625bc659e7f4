package ipc

// waitQueue is a list of callers that wait, the longest first. A caller stays in
// it until it leaves by itself, woken or not; so nobody who comes later
// overtakes it meanwhile. All of it under the mailbox's lock.
type waitQueue struct{ head, tail *Caller }

// add puts c at the end, if it is not in the queue already.
func (q *waitQueue) add(c *Caller) {
	if c.queue == q {
		return
	}
	if c.queue != nil {
		panic("ipc: a caller that waits makes another call")
	}
	c.queue, c.prev, c.next = q, q.tail, nil
	if q.tail == nil {
		q.head = c
	} else {
		q.tail.next = c
	}
	q.tail = c
}

// leave takes c out, if it is in the queue.
func (q *waitQueue) leave(c *Caller) {
	if c.queue != q {
		return
	}
	if c.prev == nil {
		q.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		q.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.queue, c.prev, c.next = nil, nil, nil
}

// turn tells whether nobody waits before c.
func (q *waitQueue) turn(c *Caller) bool { return q.head == nil || q.head == c }

func (q *waitQueue) wakeAll() {
	for c := q.head; c != nil; c = c.next {
		c.Waiter.Wake()
	}
}
