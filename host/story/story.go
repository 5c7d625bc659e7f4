// Package story tells what happens while a host is brought up, twice over: as
// plain lines for a person who has never seen it, and as one JSON object a line
// for programs. Both come from the same events, so neither can say something
// that the other does not know.
package story

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Event is one thing that happened. Its JSON form is its fields plus "event"
// and "at_ms"; names and fields are stable, new ones may be added.
type Event interface {
	// Name is the value of "event".
	Name() string
	// Lines says it in plain words; the first line is the headline.
	Lines() []string
}

// Teller writes events. Its methods may be called from any goroutine.
type Teller struct {
	mu      sync.Mutex
	w       io.Writer
	json    bool
	started time.Time
	now     func() time.Time
	err     error // first failure to write
}

// New returns a teller that counts time from now on.
func New(w io.Writer, asJSON bool) *Teller {
	return &Teller{w: w, json: asJSON, started: time.Now(), now: time.Now}
}

// Tell writes one event.
func (t *Teller) Tell(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.now().Sub(t.started)
	if t.json {
		t.write(encode(e, at))
		return
	}
	for i, l := range e.Lines() {
		head := strings.Repeat(" ", 21)
		if i == 0 {
			head = fmt.Sprintf("%7.1fs  %-10s ", at.Seconds(), e.Name())
		}
		t.write([]byte(strings.TrimRight(head+l, " ") + "\n"))
	}
}

// Err returns the first failure to write, such as a closed pipe.
func (t *Teller) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *Teller) write(b []byte) {
	if _, err := t.w.Write(b); err != nil && t.err == nil {
		t.err = err
	}
}

// encode puts "event" and "at_ms" before the event's own fields.
func encode(e Event, at time.Duration) []byte {
	head, _ := json.Marshal(struct {
		Event string `json:"event"`
		At    int64  `json:"at_ms"`
	}{e.Name(), at.Milliseconds()})
	body, err := json.Marshal(e)
	if err != nil || len(body) < 2 || body[0] != '{' {
		// Events are plain structs of ours: this is a mistake in one of them.
		panic(fmt.Sprintf("story: event %s has no JSON form: %v", e.Name(), err))
	}
	if len(body) == 2 {
		return append(head, '\n')
	}
	line := append(head[:len(head)-1], ',')
	return append(append(line, body[1:]...), '\n')
}

// progressAfter is how long a step may stay silent.
const progressAfter = 2 * time.Second

// Progress announces a step that may take long: if it has not ended within two
// seconds a line says what is going on, and one more every ten seconds. The
// step ends when stop is called.
func (t *Teller) Progress(what string) (stop func()) {
	done, idle := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(idle)
		begun, wait := time.Now(), progressAfter
		for {
			timer := time.NewTimer(wait)
			select {
			case <-done:
				timer.Stop()
				return
			case <-timer.C:
				t.Tell(Progress{What: what, For: Milliseconds(time.Since(begun))})
				wait = 10 * time.Second
			}
		}
	}()
	var once sync.Once
	return func() {
		once.Do(func() { close(done) })
		<-idle // nothing about this step is told after it
	}
}
