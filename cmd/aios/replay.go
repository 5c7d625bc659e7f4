package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"aios/verifier/eventlog"
)

// replayCmd shows what a log says, by itself.
type replayCmd struct {
	File string `arg:"" help:"Event log, as in /sys/kernel/security/tpm0/binary_bios_measurements; - for standard input."`
	JSON bool   `help:"Everything, as one JSON object."`
}

func (c replayCmd) Run(e *env) error {
	b, err := readLog(c.File)
	if err != nil {
		return err
	}
	report, code := eventlog.ReplayReport(b)
	if c.JSON {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = printReport(e.stdout, report)
	}
	if err != nil || code == eventlog.ExitComplete {
		return err
	}
	return &exitError{code: code, err: fmt.Errorf("%s: %s", c.File, report.Error)}
}

// readLog reads one byte more than a log may have, for the parser to object to.
func readLog(name string) ([]byte, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	return io.ReadAll(io.LimitReader(f, eventlog.MaxSize+1))
}

func printReport(w io.Writer, r eventlog.Report) error {
	for _, ev := range r.Events {
		fmt.Fprintf(w, "%4d  PCR %-2d  %-32s %-11s %s\n", ev.Index, ev.PCR, ev.Type, ev.DigestCheck, ev.Description)
	}
	for _, bank := range slices.Sorted(maps.Keys(r.PCRs)) {
		for i := range eventlog.MaxPCR {
			if v, ok := r.PCRs[bank][strconv.Itoa(i)]; ok {
				fmt.Fprintf(w, "%s PCR %-2d %s\n", bank, i, v)
			}
		}
	}
	fmt.Fprintf(w, "Secure Boot: %s (%s)\n", r.SecureBoot.State, r.SecureBoot.Reason)
	for _, warning := range r.Warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	_, err := fmt.Fprintf(w, "%d events, %s\n", len(r.Events), r.Format)
	return err
}
