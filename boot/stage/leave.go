package stage

import (
	"crypto/sha512"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"aios/boot/efi"
	"aios/boot/handoff"
	"aios/boot/manifest"
)

const (
	memoryMapRoom  = 64 << 10  // firmware maps have some hundred descriptors of 48 bytes
	finalEventRoom = 128 << 10 // ExitBootServices measures two short events
)

// leave collects what the kernel needs, ends the firmware's services and enters the kernel.
func (s *Stage) leave(signed *manifest.Signed, kernel *kernelImage) error {
	memoryMap, log, info, err := s.gather(signed, kernel)
	if err != nil {
		return refuse("handoff", err, remedyFirmware)
	}
	logged := s.info.EventLogSize
	s.mark("handoff")
	s.line("%s", s.timing())
	s.line("exit boot services")

	m, err := s.Firmware.ExitBootServices(memoryMap)
	// Whether it worked or not: firmware may be half gone, so nothing calls it any more.
	s.exited = true
	if err != nil {
		return refuse("exit", err, remedyFirmware)
	}
	merged, err := s.Firmware.FinalEvents(log.Data[:logged])
	if err == nil && len(merged) > len(log.Data) {
		err = fmt.Errorf("event log grew from %d to %d bytes, there is room for %d", logged, len(merged), len(log.Data))
	}
	if err != nil {
		return refuse("eventlog", err, remedyFirmware)
	}
	s.info.MemMapSize, s.info.MemDescSize = m.Size, m.DescriptorSize
	s.info.EventLogSize = uint64(len(merged))
	s.info.HandoffTSC = s.Machine.TSC()
	if err := s.write(info); err != nil {
		return refuse("handoff", err, remedyFirmware)
	}
	s.Machine.Enter(s.info.TablesPhys, kernel.entry, info.Phys)
	return nil
}

// gather fills s.info and the blocks that it points to, as far as that is possible before ExitBootServices.
func (s *Stage) gather(signed *manifest.Signed, kernel *kernelImage) (memoryMap, log, info efi.Block, err error) {
	i := &s.info
	fail := func(err error) (_, _, _ efi.Block, _ error) { return efi.Block{}, efi.Block{}, efi.Block{}, err }

	i.KernelPhys, i.KernelSize, i.KernelVirt = kernel.block.Phys, uint64(len(kernel.block.Data)), handoff.WindowStart
	tables, err := s.Firmware.Allocate(tablesSize, efi.PageSize, window)
	if err != nil {
		return fail(err)
	}
	buildTables(tables.Data, tables.Phys, i.KernelPhys, i.KernelSize)
	i.TablesPhys, i.TablesSize = tables.Phys, tablesSize

	text, err := s.place(signed.Payload, 0)
	if err != nil {
		return fail(err)
	}
	i.ManifestPhys, i.ManifestSize = text.Phys, uint64(len(signed.Payload))
	if len(s.conf.Cmdline) > 0 {
		line, err := s.place([]byte(s.conf.Cmdline), 0)
		if err != nil {
			return fail(err)
		}
		i.CmdlinePhys, i.CmdlineSize = line.Phys, uint64(len(s.conf.Cmdline))
	}
	i.Slot = uint64(s.conf.Slot[0])

	dma, err := s.Firmware.Allocate(handoff.DMASize, handoff.LargePage, window)
	if err != nil {
		return fail(err)
	}
	i.DMAPhys, i.DMASize = dma.Phys, handoff.DMASize

	if i.RSDP, err = s.Firmware.RSDP(); err != nil {
		return fail(err)
	}
	if i.Seed, err = s.seed(); err != nil {
		return fail(err)
	}
	if err := s.clock(); err != nil {
		return fail(err)
	}
	if memoryMap, err = s.Firmware.Allocate(memoryMapRoom, efi.PageSize, window); err != nil {
		return fail(err)
	}
	if info, err = s.Firmware.Allocate(handoff.EncodedSize, efi.PageSize, window); err != nil {
		return fail(err)
	}
	// The last firmware call that measures or could measure lies behind us.
	events, err := s.Firmware.EventLog()
	if err != nil {
		return fail(err)
	}
	if log, err = s.place(events, finalEventRoom); err != nil {
		return fail(err)
	}
	i.EventLogPhys, i.EventLogSize = log.Phys, uint64(len(events))

	// What is wrong with it is better found while the firmware's console still works.
	i.MemMapPhys, i.MemMapSize, i.MemDescSize = memoryMap.Phys, handoff.MemDescMin, handoff.MemDescMin
	return memoryMap, log, info, s.write(info)
}

// write encodes s.info into its block and checks it.
func (s *Stage) write(info efi.Block) error {
	if err := s.info.Encode(info.Data); err != nil {
		return err
	}
	return s.info.Check()
}

// place copies data to a block of its own with room behind it.
func (s *Stage) place(data []byte, room int) (efi.Block, error) {
	block, err := s.Firmware.Allocate(uint64(len(data)+room), efi.PageSize, window)
	if err == nil {
		copy(block.Data, data)
	}
	return block, err
}

// clock notes the time of day together with the counter that the kernel goes on from.
func (s *Stage) clock() error {
	now, err := s.Firmware.Time()
	if err != nil {
		return err
	}
	if now.UnixNano() < 0 {
		return fmt.Errorf("clock shows %s, expected a time after 1970", now)
	}
	s.info.UnixNanos, s.info.TSCAtUnix = uint64(now.UnixNano()), s.Machine.TSC()
	return nil
}

// seed gathers randomness for the kernel's generator: EFI_RNG_PROTOCOL and the TPM, of which one must work, and what the
// processor has. The hash makes the result as good as the best of them.
func (s *Stage) seed() ([64]byte, error) {
	var pool [160]byte
	rngErr := s.Firmware.Random(pool[:64])
	random, tpmErr := tpm2.GetRandom{BytesRequested: 32}.Execute(s.Firmware)
	if tpmErr == nil {
		if n := copy(pool[64:96], random.RandomBytes.Buffer); n < 16 {
			tpmErr = fmt.Errorf("TPM2_GetRandom gave %d bytes", n)
		}
	}
	if rngErr != nil && tpmErr != nil {
		return [64]byte{}, fmt.Errorf("no source of randomness: %w", errors.Join(rngErr, tpmErr))
	}
	s.Machine.Random(pool[96:])
	seed := sha512.Sum512(pool[:])
	clear(pool[:])
	return seed, nil
}
