package eventlog

import "testing"

// TestCheckDigest: what each type of event is the hash of. hashed is what was
// extended, data is what the log shows.
func TestCheckDigest(t *testing.T) {
	v := variable("SecureBoot", 1)
	tagged := append([]byte{0x53, 0x4f, 0x49, 0x41, 1, 0, 0, 0}, 'x')
	foreign := append([]byte{1, 2, 3, 4, 1, 0, 0, 0}, 'x')
	other := []byte("something else")
	for _, c := range []struct {
		name         string
		kind         Type
		hashed, data []byte
		want         DigestState
	}{
		{"separator", EVSeparator, make([]byte, 4), make([]byte, 4), Matched},
		{"separator altered", EVSeparator, make([]byte, 4), []byte{1, 0, 0, 0}, Mismatched},
		{"action", EVEFIAction, []byte("a"), []byte("a"), Matched},
		{"action altered", EVEFIAction, []byte("a"), []byte("b"), Mismatched},
		{"GPT altered", EVEFIGPT, []byte("a"), []byte("b"), Mismatched},
		{"variable", EVEFIVariableDriverConfig, v, v, Matched},
		{"content of the variable alone", EVEFIVariableDriverConfig, []byte{1}, v, Matched},
		{"variable with bytes behind it", EVEFIVariableDriverConfig, v, append(v[:len(v):len(v)], 0), Matched},
		{"variable altered", EVEFIVariableDriverConfig, v, variable("SecureBoot", 0), Mismatched},
		{"variable malformed", EVEFIVariableDriverConfig, v, v[:20], Mismatched},
		{"authority", EVEFIVariableAuthority, v, v, Matched},
		{"authority that a boot loader measured", EVEFIVariableAuthority, other, v, Unexplained},
		{"boot variable altered", EVEFIVariableBoot, v, variable("Boot0000", 0), Unexplained},
		{"our tag", EVEventTag, tagged, tagged, Matched},
		{"our tag altered", EVEventTag, other, tagged, Mismatched},
		{"another's tag", EVEventTag, foreign, foreign, Matched},
		{"another's tag, of something else", EVEventTag, other, foreign, Undefined},
		{"text", EVIPL, []byte("grub"), []byte("grub"), Matched},
		{"text without its NUL", EVIPL, []byte("grub"), []byte("grub\x00"), Matched},
		{"UTF-16 text without its NUL", EVIPL, []byte("g\x00r\x00"), []byte("g\x00r\x00\x00\x00"), Matched},
		{"text behind a prefix", EVIPL, []byte("linux /vmlinuz"), []byte("grub_cmd: linux /vmlinuz\x00"), Matched},
		{"text behind a prefix, with its NUL", EVIPL, []byte("quiet\x00"), []byte("kernel_cmdline: quiet\x00"), Matched},
		{"text behind a word", EVIPL, []byte("linux"), []byte("grub_cmd linux"), Matched},
		{"code", EVIPL, other, []byte("/boot/grub.cfg"), Undefined},
		{"application", EVEFIBootServicesApp, other, make([]byte, 32), Undefined},
		{"not extended", EVNoAction, other, other, Undefined},
		{"vendor's type", Type(0x8000aaaa), other, other, Undefined},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newLog(t)
			b.Add(5, c.kind, c.hashed, c.data)
			e := &parsed(t, b.Bytes()).Events[1]
			if got := e.CheckDigest(); got.State != c.want || got.Rule == "" {
				t.Errorf("%v (%s), want %v", got.State, got.Rule, c.want)
			}
			// One digest that is wrong in any bank is one too many.
			for i := range e.Digests {
				e.Digests[i].Bytes = append([]byte{}, e.Digests[i].Bytes...)
				e.Digests[i].Bytes[0] ^= 1
				if got := e.CheckDigest(); got.State == Matched {
					t.Errorf("with another %v digest: %v", e.Digests[i].Algorithm, got.State)
				}
				e.Digests[i].Bytes[0] ^= 1
			}
			e.Digests = nil
			if got := e.CheckDigest(); got.State != Undefined {
				t.Errorf("without a digest: %v, want undefined", got.State)
			}
		})
	}
}
