// Package ring3 is the part of the on-target suite that tests kernel/process
// with real programs: a stock Go executable (folder program) that does one
// named thing, and fragments of machine code that do what no compiler emits.
// Each case names how the program must end, what it must have said, and always
// that every frame came back. kernel/cmd/targettest runs it on the booted
// machine.
package ring3
