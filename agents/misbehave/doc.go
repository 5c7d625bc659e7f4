// Command misbehave is the agents of the tests that do one thing wrong each, on purpose:
// the name that it is started under says which. None of them may harm more than itself.
//
//	allocate      allocates without end
//	flood-ipc     sends messages without end, and takes no answer
//	flood-log     logs without end
//	loop-forever  does nothing, and never lets go
//	recurse       calls itself without end
//
// Built with GOOS=wasip1 GOARCH=wasm; in the plain tree it is an empty program.
package main
