//go:build !aios

package main

import "fmt"

func main() { fmt.Println("this is the plain build; make test-target makes and boots the real one") }
