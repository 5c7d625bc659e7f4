package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// report is what one run measured. Its JSON form is .build/bench.json.
type report struct {
	Commit  string  `json:"commit"`
	Machine machine `json:"machine"`
	Peers   peers   `json:"peers"`
	Rounds  int     `json:"rounds"`
	Took    string  `json:"took"`
	Rows    []row   `json:"rows"`
}

// write shows the report and stores it.
func (r *report) write(terminal io.Writer, jsonFile, docFile string) error {
	fmt.Fprint(terminal, "\n"+r.text())
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(jsonFile, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(terminal, "\nthe same as JSON: %s\n", jsonFile)
	if docFile == "" {
		return nil
	}
	if err := os.WriteFile(docFile, []byte(r.markdown()), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(terminal, "the same as Markdown: %s\n", docFile)
	return nil
}

// facts are the lines above the table.
func (r *report) facts() [][2]string {
	lost := "none"
	var names []string
	for _, row := range r.Rows {
		if row.Lost {
			names = append(names, row.Name)
		}
	}
	if len(names) > 0 {
		lost = strings.Join(names, ", ")
	}
	return [][2]string{
		{"machine", r.Machine.String()},
		{"commit", r.Commit},
		{"peers", fmt.Sprintf("%s; %s; go-attestation %s; filippo.io/mldsa %s; jwx %s; biscuit-go %s; macaroon %s",
			r.Peers.Kernel, r.Peers.Stub, r.Peers.GoAttestation, r.Peers.SecondMLDSA, r.Peers.JWX, r.Peers.Biscuit, r.Peers.Macaroon)},
		{"turns", fmt.Sprintf("%d of each machine, %d of the Go benchmarks, taken in alternation; %s in all", r.Rounds, hotRounds, r.Took)},
		{"lost", lost},
	}
}

var heads = []string{"what", "AIOS", "peer", "ratio", ""}

// cells are a row as people read it.
func (r row) cells() []string {
	c := []string{r.Text, r.Ours.duration(), "", "", ""}
	if r.Peer != nil {
		c[2] = r.Peer.duration()
		c[3] = r.Ratio.plain()
	}
	if r.Lost {
		c[4] = "LOST"
	}
	return c
}

// text is the report for a terminal.
func (r *report) text() string {
	var s strings.Builder
	for _, f := range r.facts() {
		fmt.Fprintf(&s, "%-8s %s\n", f[0], f[1])
	}
	table := [][]string{heads}
	for _, row := range r.Rows {
		table = append(table, row.cells())
	}
	return s.String() + alignedTable(table) + r.tokenText()
}

// alignedTable puts columns below each other; the first line is the head.
func alignedTable(table [][]string) string {
	var s strings.Builder
	widths := make([]int, len(table[0]))
	for _, line := range table {
		for i, c := range line {
			widths[i] = max(widths[i], len(c))
		}
	}
	for i, line := range table {
		var l strings.Builder
		for j, c := range line {
			fmt.Fprintf(&l, "%-*s  ", widths[j], c)
		}
		s.WriteString("\n" + strings.TrimRight(l.String(), " "))
		if i == 0 {
			s.WriteString("\n" + strings.Repeat("-", l.Len()-2))
		}
	}
	return s.String() + "\n"
}

// markdown is the report as a document.
func (r *report) markdown() string {
	var s strings.Builder
	s.WriteString(`# Benchmarks

Made by ` + "`make bench DOC=1`" + `; ` + "`make bench`" + ` measures again. What is compared was measured in turns on one machine: the
table gives medians with the lowest and the highest turn, the ratio of the medians, and how far the ratio of single turns
strayed from it. Less is better; a row in which AIOS took longer is marked LOST.

`)
	for _, f := range r.facts() {
		fmt.Fprintf(&s, "- %s: %s\n", f[0], f[1])
	}
	s.WriteString("\n| " + strings.Join(heads, " | ") + " |\n|" + strings.Repeat(" --- |", len(heads)) + "\n")
	for _, row := range r.Rows {
		s.WriteString("| " + strings.Join(row.cells(), " | ") + " |\n")
	}
	s.WriteString(r.tokenMarkdown() + r.goals() + `
## What is compared with what

- **System calls**: a loop of the bare call in assembly, in ring 3 of each kernel, in batches of about 50 ms; the two
  virtual machines differ in their disk alone. "null" checks a capability and returns; it and ClockRead are answered in
  the entry of the system call. Whatever else runs on the host disturbs most batches of some boots, hence the row of the
  fastest. The Linux personality serves what the Go runtime of a ring-3 program asks for: each of its calls wakes a
  goroutine of the kernel. time.Now makes none: it reads a page that the kernel gave the program; Linux's does the same
  where Linux trusts the processor's counter, which it does not under emulation. Under emulation (TCG) the ratios hold for
  this virtual machine and say little about KVM or hardware.
- **IPC**: bytes from one process to another and as many back, both waiting by a blocking call; on Debian's kernel over two
  pipes, where its scheduler puts the two, and with both held to one processor. A message here carries its sender's id
  and its number, and each call checks a capability. Short messages to a process that waits are copied in trap context;
  longer ones, as the 4 KiB, and those with handles wake goroutines of the kernel, which takes several times as long.
- **Killing**: an agent that spins in a loop, from the kernel's entry to the operation until nothing of it is left: threads
  stopped, handles closed, memory given back. That covers the receipt's facts but not its signing by the TPM, nor the
  way from the operator through the verifier, which ` + "`make run`" + ` shows. Linux has nothing to compare it with: a SIGKILL
  proves nothing.
- **HTTP**: one page of 16 MiB from a server on the host, with the connection's opening, by the same Go client in a
  service of AIOS and in the init of Debian's kernel; three times in each boot, and the same virtio card on QEMU's user
  network, without offloads. In Debian's kernel TCP/IP runs in ring 0 and the client reads from a socket. Here the page
  passes through two processes: each frame goes from the kernel to netd by a call that wakes a goroutine, through a
  TCP/IP stack in Go, and from there in messages of up to 32 KiB, which are copied into the kernel and out of it again, to the client.
  What that buys is that nothing in ring 0 parses what comes from the network.
- **Tokens**: all four name agent, host, times and rights, and are checked for them. Passed on, they have three of the four
  rights and half the time left, each time again; ours names the key of each receiver besides, who alone can pass it on,
  while whoever has a Biscuit or a macaroon can. A JWT cannot be narrowed by its holder. Ours is signed with ML-DSA-65 and
  is ten times as long; ES256 and Ed25519 are signatures that a quantum computer could forge; a macaroon is a chain of
  HMACs, which none could, but whoever verifies it can make others. Issuers' keys are parsed before. What the libraries
  cost beside the signature counts: that is what an application pays.
- **Reset to verdict**: from the start of QEMU until a verifier has the host's quote, has appraised it and has said
  "affirming" (` + "`aios up --once`" + `, image built, host enrolled), beside the time until Debian's kernel runs the first
  program of its initial RAM disk, and proves nothing. That kernel is a signed unified kernel image with systemd's EFI
  stub and an initial RAM disk of that one program: a Debian system takes longer.
- **Quotes**: ours checks a signature itself, to say which condition failed, and has go-attestation check it once more.
- **Replay**: parsing a log, replaying it and comparing with every PCR of every bank that both can compute, over those
  recorded logs that both accept.
`)
	return s.String()
}
