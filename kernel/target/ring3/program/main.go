// Command program is a stock Go executable that does one named thing in ring 3
// and says how it went: what the cases of package ring3 run.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// things are what the program can do, by the name in its first argument. An
// error is printed, and makes the exit status 1.
var things = map[string]func() error{}

func main() {
	if len(os.Args) < 2 || things[os.Args[1]] == nil {
		var names []string
		for n := range things {
			names = append(names, n)
		}
		slices.Sort(names)
		fmt.Println("usage: program", strings.Join(names, "|"))
		os.Exit(2)
	}
	if err := things[os.Args[1]](); err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func handle(name string) abi.Handle {
	h, err := aios.Cap(name)
	if err != nil {
		panic(err)
	}
	return h
}

func expect[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}
