package service

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

const labelRule = "1 to 63 of A-Z a-z 0-9 . _ / = -, the first a letter or a digit"

const maxLabels = 32 // of one host

// labels says which host has which, in one document. It calls nothing while it is
// locked, since the authority asks it while it is locked itself.
type labels struct {
	file document

	mu     sync.Mutex
	byHost map[string][]string // ascending
}

func openLabels(file document) (*labels, error) {
	l := &labels{file: file, byHost: map[string][]string{}}
	if err := file.read(&l.byHost); err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	return l, nil
}

func (l *labels) of(host string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.byHost[host])
}

// hosts with a label, ascending.
func (l *labels) hosts(label string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, host := range slices.Sorted(maps.Keys(l.byHost)) {
		if slices.Contains(l.byHost[host], label) {
			out = append(out, host)
		}
	}
	return out
}

// set replaces the labels of a host; none removes it.
func (l *labels) set(host string, to []string) error {
	for _, label := range to {
		if !validLabel.MatchString(label) {
			return fmt.Errorf("label %q: %w: expected %s", label, ErrInvalid, labelRule)
		}
	}
	to = slices.Compact(slices.Sorted(slices.Values(to)))
	if len(to) > maxLabels {
		return fmt.Errorf("labels of %s: %w: expected at most %d, found %d", host, ErrInvalid, maxLabels, len(to))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := maps.Clone(l.byHost)
	next[host] = to
	if len(to) == 0 {
		delete(next, host)
	}
	if err := l.file.write(next); err != nil {
		return err
	}
	l.byHost = next
	return nil
}
