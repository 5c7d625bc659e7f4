//go:build aios

package main

import (
	_ "embed"
	"fmt"
	"os"
	"time"

	"aios/boot/efi"
	"aios/boot/stage"
	"aios/captoken/mldsa"
	"aios/kernel/metal"
)

// version of the boot stage; the build may set it.
var version = "1"

// trustedKeys holds the ML-DSA-65 public keys whose signature a system manifest must carry, in PEM. The build puts the
// installation's own file here.
//
//go:embed trusted.keys
var trustedKeys []byte

func main() {
	fw, err := efi.New(machine{}, uint64(metal.EFIHandle), uint64(metal.EFISystemTable), scratchStart(), len(metal.EFIScratch())-callArea)
	if err != nil {
		fmt.Fprintf(os.Stdout, "aios boot: REFUSED stage=\"firmware\" reason=%q remedy=%q\n", err, "update the firmware of the machine")
		rest(nil)
	}
	s := &stage.Stage{Firmware: fw, Machine: machine{}, Version: version}
	s.Trusted, err = mldsa.ParsePublicKeys(trustedKeys)
	if err == nil {
		err = s.Run()
	} else {
		err = fmt.Errorf("keys built into the boot stage: %w", err)
	}
	s.Refuse(err)
	if s.Exited() {
		fw = nil
	}
	rest(fw)
}

// rest stops for good: the machine must be reset by hand. Asleep in the firmware if that is still there.
func rest(fw *efi.Firmware) {
	for {
		if fw == nil || fw.WaitForKey() != nil {
			time.Sleep(time.Hour)
		}
	}
}
