//go:build aios

package devices

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/usbarmory/tamago/dma"

	"aios/captoken"
	"aios/kernel/abi"
	"aios/kernel/hal/console"
	"aios/kernel/hal/tpmio"
	"aios/kernel/metal"
	"aios/kernel/target/ring0"
	"aios/kernel/tpm"
)

// EchoSize is how many bytes the peer on the channel (test/target) sends and
// wants back.
const EchoSize = 256 << 10

// Cases tests the TPM over the interface that the machine is said to have (""
// for any), and the channel, whose peer is asked to begin by ready.
func Cases(tpmInterface string, ready func()) []ring0.Case {
	start, size := metal.DMA()
	dma.Init(uint(start), size)
	return []ring0.Case{
		{Name: "devices: the TPM quotes", Run: func() error { return quote(tpmInterface) }},
		{Name: "devices: the TPM refuses a bad command and goes on", Run: badCommand},
		{Name: "devices: the network card asks and is answered", Run: network},
		{Name: "devices: the virtio console echoes 256 KiB", Run: func() error { return echo(ready) }},
	}
}

func openTPM() (tpmio.Transport, error) {
	base, err := metal.MapDevice(tpmio.Base, tpmio.Size)
	if err != nil {
		return nil, err
	}
	return tpmio.Open(tpmio.At(base), tpmio.Monotonic{})
}

// quote takes the way that a service's call takes, behind the system call.
func quote(want string) error {
	t, err := openTPM()
	if err != nil {
		return err
	}
	defer t.Close()
	if want != "" && t.Interface() != want {
		return fmt.Errorf("interface %s, want %s", t.Interface(), want)
	}
	root, err := tpm.Open(t)
	if err != nil {
		return err
	}
	defer root.Close()
	nonce := []byte("nonce of the on-target suite")
	response, err := root.Attest(context.Background(), abi.AttestQuote, abi.Message(nonce))
	if err != nil {
		return err
	}
	fields, err := abi.Fields(response, 3)
	if err != nil {
		return err
	}
	if want := captoken.ChallengeQuote(nonce); !bytes.Contains(fields[0], want[:]) {
		return fmt.Errorf("the quote of %d bytes does not hold %x, which stands for the nonce", len(fields[0]), want)
	}
	receipt := []byte("receipt")
	proof, err := root.QuoteReceipt([captoken.NonceSize]byte{1}, receipt)
	if err != nil {
		return err
	}
	if want := captoken.ReceiptQuote([captoken.NonceSize]byte{1}, captoken.ReceiptHash(receipt)); !bytes.Contains(proof.Attest, want[:]) {
		return errors.New("the quote of a receipt does not hold its hash")
	}
	id, err := root.HostID()
	if err != nil {
		return err
	}
	resets, err := root.ResetCount()
	if err != nil {
		return err
	}
	if len(id) != len("host-0123456789abcdef") || resets == 0 {
		return fmt.Errorf("host id %q, reset count %d", id, resets)
	}
	// What boot measured is there: PCR 9 has the manifest and the kernel.
	if pcr9 := fields[2][9*32:][:32]; bytes.Equal(pcr9, make([]byte, 32)) {
		return errors.New("PCR 9 is zero")
	}
	return nil
}

// badCommand sends what is not a command, and one that is.
func badCommand() error {
	t, err := openTPM()
	if err != nil {
		return err
	}
	defer t.Close()
	command := []byte{0x80, 0x01, 0, 0, 0, 12, 0xde, 0xad, 0xbe, 0xef, 0, 0}
	response, err := t.Send(command)
	if err != nil {
		return err
	}
	if code := binary.BigEndian.Uint32(response[6:]); code == 0 {
		return errors.New("a command code that does not exist succeeded")
	}
	random := []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 16} // TPM2_GetRandom(16)
	if response, err = t.Send(random); err != nil {
		return err
	}
	if code := binary.BigEndian.Uint32(response[6:]); code != 0 || len(response) != 28 {
		return fmt.Errorf("TPM2_GetRandom(16): code %#x, %d bytes", code, len(response))
	}
	return nil
}

func echo(ready func()) error {
	c, err := console.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	ready()
	ctx := context.Background()
	b := make([]byte, 10_000)
	for done := 0; done < EchoSize; {
		n, err := c.Read(ctx, b)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", done, err)
		}
		if _, err := c.Write(ctx, b[:n]); err != nil {
			return fmt.Errorf("after %d bytes: %w", done, err)
		}
		done += n
	}
	return nil
}
