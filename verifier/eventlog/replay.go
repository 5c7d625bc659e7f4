package eventlog

import "bytes"

// MaxPCR bounds PCR indices that are replayed: 0 to 23, and room for the
// measurement registers of confidential machines.
const MaxPCR = 32

// PCRs are the registers of one bank after a replay, nil where nothing was extended.
type PCRs [MaxPCR][]byte

// Replay extends every event into every bank that can be computed here, from
// the values that a reset leaves (PFP 1.06 section 3.3.4 and 10.4.5.3: PCR 0
// starts at the startup locality).
func (l *Log) Replay() map[Algorithm]*PCRs {
	out := map[Algorithm]*PCRs{}
	locality := l.StartupLocality()
	for _, b := range l.Banks {
		if _, ok := b.Algorithm.appendHash(nil, nil); ok {
			out[b.Algorithm] = l.replay(b.Algorithm, locality)
		}
	}
	return out
}

func (l *Log) replay(a Algorithm, locality byte) *PCRs {
	var pcrs PCRs
	size := a.Size()
	values := make([]byte, 0, MaxPCR*size)
	buf := make([]byte, 0, 2*size)
	for i := range l.Events {
		e := &l.Events[i]
		if !e.Extends() {
			continue
		}
		d := e.Digest(a)
		if d == nil {
			continue
		}
		if pcrs[e.PCR] == nil {
			n := len(values)
			values = values[:n+size]
			pcrs[e.PCR] = values[n : n+size : n+size]
			if e.PCR == 0 {
				pcrs[0][size-1] = locality
			}
		}
		buf = append(append(buf[:0], pcrs[e.PCR]...), d...)
		a.appendHash(pcrs[e.PCR][:0], buf)
	}
	return &pcrs
}

// Extends tells whether the event changed a PCR.
func (e *Event) Extends() bool { return e.Type != EVNoAction && e.PCR < MaxPCR }

const startupLocality = "StartupLocality\x00"

// StartupLocality is what the TPM2_Startup of this boot was sent from, 0
// unless an EV_NO_ACTION event of PCR 0 says otherwise.
func (l *Log) StartupLocality() byte {
	for i := range l.Events {
		e := &l.Events[i]
		if e.Type == EVNoAction && e.PCR == 0 && len(e.Data) == len(startupLocality)+1 && bytes.HasPrefix(e.Data, []byte(startupLocality)) {
			return e.Data[len(startupLocality)]
		}
	}
	return 0
}
