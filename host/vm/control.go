package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
)

// networkID names the card's backend to QEMU.
const networkID = "net0"

// SetLink pulls the machine's network cable, or puts it back.
func (m *Machine) SetLink(ctx context.Context, up bool) error { return SetLink(ctx, m.Control(), up) }

// Control is the Unix socket through which SetLink, also of another process, reaches
// the machine.
func (m *Machine) Control() string { return m.sockets.control }

// SetLink pulls or puts back the network cable of the machine with that control socket.
func SetLink(ctx context.Context, control string, up bool) error {
	err := command(ctx, control, "set_link", map[string]any{"name": networkID, "up": up})
	if err != nil {
		return fmt.Errorf("set the link of the machine's network card to up=%v: %w", up, err)
	}
	return nil
}

// command runs one command of QEMU's machine protocol (QMP), whose server
// greets, wants to be told that the client is ready, and answers between events.
func command(ctx context.Context, socket, name string, arguments map[string]any) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	in, out := json.NewDecoder(c), json.NewEncoder(c)
	var greeting struct{ QMP *struct{} }
	if err := in.Decode(&greeting); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if greeting.QMP == nil {
		return fmt.Errorf("%s does not greet as QEMU's monitor does", socket)
	}
	for _, request := range []map[string]any{{"execute": "qmp_capabilities"}, {"execute": name, "arguments": arguments}} {
		if err := out.Encode(request); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		for answered := false; !answered; {
			var answer struct {
				Return json.RawMessage
				Error  *struct{ Desc string }
			}
			if err := in.Decode(&answer); err != nil {
				return errors.Join(err, context.Cause(ctx))
			}
			if answer.Error != nil {
				return errors.New(answer.Error.Desc)
			}
			answered = answer.Return != nil // else it is an event
		}
	}
	return nil
}
