//go:build !aios

package main

import "fmt"

func main() { fmt.Println("this is the plain build; boot/cmd/mkmetal -kind kernel makes the kernel") }
