// Command targettest is a kernel that tests itself: the cases of
// kernel/target/ring0, devices and ring3 on the booted machine, one line each
// on the console; then the machine is switched off, or the kernel fails in the
// way that its command line names. It boots by the same chain as the kernel;
// the program of the ring-3 cases comes in place of the first service.
// test/target boots it and reads the lines.
package main
