// Command hello is the sample agent: it does a little of everything that an agent can
// do, tries one thing that it has no right to, and then spins for ever on purpose, so
// that whoever stops it stops a program that does not cooperate. Built with
// GOOS=wasip1 GOARCH=wasm; in the plain tree it is an empty program.
package main
