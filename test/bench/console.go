package main

import (
	"strconv"
	"strings"
)

// measurement reads a line "B <name> <value> ns" of the console, whatever a
// kernel or a service put before it.
func measurement(line string) (name string, ns float64, ok bool) {
	f := strings.Fields(line)
	if len(f) < 4 {
		return "", 0, false
	}
	f = f[len(f)-4:]
	if f[0] != "B" || f[3] != "ns" {
		return "", 0, false
	}
	ns, err := strconv.ParseFloat(f[2], 64)
	if err != nil || !(ns > 0) {
		return "", 0, false
	}
	return f[1], ns, true
}

// batches are the measurements of one boot by name.
type batches map[string][]float64

// add takes a line of the console.
func (b batches) add(line string) {
	if name, ns, ok := measurement(line); ok {
		b[name] = append(b[name], ns)
	}
}
