//go:build !wasip1

package main

import "fmt"

func main() { fmt.Println("this is the plain build; GOOS=wasip1 GOARCH=wasm makes the agent") }
