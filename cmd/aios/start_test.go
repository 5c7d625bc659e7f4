package main

import (
	"errors"
	"testing"
	"time"
)

// What cannot work is a mistake of usage, found before anything is made.
func TestFlagsAreChecked(t *testing.T) {
	for _, c := range []struct {
		cpus   int
		memory string
		ok     bool
	}{
		{2, "1500M", true}, {1, "1G", true}, {32, "64G", true}, {1, "512M", true},
		{0, "1500M", false}, {-1, "1500M", false}, {33, "1500M", false},
		{2, "", false}, {2, "M", false}, {2, "1500", false}, {2, "10M", false}, {2, "banana", false}, {2, "-1G", false},
		{2, "1GM", false}, {2, "1T", false}, {2, "1 G", false}, {2, "9999999999G", false}, {2, "1G,foo=bar", false},
	} {
		err := machineFlags{CPUs: c.cpus, Memory: c.memory}.check()
		if (err == nil) != c.ok {
			t.Errorf("%d CPUs, memory %q: %v", c.cpus, c.memory, err)
		}
		var exit *exitError
		if err != nil && (!errors.As(err, &exit) || exit.code != exitUsage) {
			t.Errorf("%d CPUs, memory %q: %v is not a mistake of usage", c.cpus, c.memory, err)
		}
	}
	for d, ok := range map[time.Duration]bool{30 * time.Second: true, time.Second: true, 0: false, -time.Second: false, time.Millisecond: false} {
		if err := (roundFlags{Interval: d}).check(); (err == nil) != ok {
			t.Errorf("interval %s: %v", d, err)
		}
	}
}

func TestJitterStaysWithinATenth(t *testing.T) {
	for range 1000 {
		if d := jitter(30 * time.Second); d < 27*time.Second || d > 33*time.Second {
			t.Fatalf("30s became %s", d)
		}
	}
}
