//go:build !aios

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bootx64: this is the program of a machine's firmware; build the EFI image with boot/cmd/mkmetal")
	os.Exit(2)
}
