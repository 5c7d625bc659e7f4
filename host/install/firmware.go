package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"aios/boot/secureboot"
	"aios/host/state"
)

// EnsureFirmware makes the host's variable store from the template of OVMF, with
// the Secure Boot keys in it, if the host has none. enforce says whether Secure
// Boot is on; tests switch it off.
func EnsureFirmware(d *state.Dir, sb *secureboot.Keys, template string, enforce bool) (made bool, err error) {
	flash, err := os.ReadFile(d.FirmwareVars())
	switch {
	case err == nil:
		return false, checkFirmware(d, sb, flash)
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	if flash, err = os.ReadFile(template); err != nil {
		return false, err
	}
	if flash, err = sb.Enrol(flash, time.Now(), enforce); err != nil {
		return false, fmt.Errorf("%s: %w", template, err)
	}
	return true, state.WriteFile(d.FirmwareVars(), flash, 0o600)
}

// checkFirmware finds out now what would otherwise be a refusal by the firmware.
func checkFirmware(d *state.Dir, sb *secureboot.Keys, flash []byte) error {
	vars, err := secureboot.List(flash)
	if err != nil {
		return fmt.Errorf("%s: %w", d.FirmwareVars(), err)
	}
	for _, v := range vars {
		if v.Name == "db" && v.Valid() && bytes.Equal(v.Data, sb.Variables().Db) {
			return nil
		}
	}
	return &OtherDbError{File: d.FirmwareVars()}
}

// OtherDbError says that the host's firmware trusts other keys.
type OtherDbError struct{ File string }

func (e *OtherDbError) Error() string {
	return fmt.Sprintf("the host's firmware (%s) does not have this installation's certificate in db: it would refuse our boot stage", e.File)
}
func (e *OtherDbError) Remedy() string {
	return "make the host anew: aios host reset; or put back the keys it was made with"
}
