package captoken

import (
	"strconv"

	"aios/captoken/cbor"
)

// Quotas bound what a token's holder may use. Zero is none.
type Quotas struct {
	MemoryBytes       uint64 // at any one time
	CPUMillis         uint64 // thousandths of one processor
	MessagesPerSecond uint64
	BytesPerSecond    uint64 // of messages and connections
	DeviceMillis      uint64 // milliseconds of device time in each second
}

// Keys of the quotas.
const (
	quotaMemory   = 1 // bytes
	quotaCPU      = 2 // thousandths of one processor
	quotaMessages = 3 // a second
	quotaBytes    = 4 // a second
	quotaDevice   = 5 // milliseconds a second
)

// each calls f for each quota, in the order of their keys.
func (q *Quotas) each(f func(key int64, v *uint64)) {
	f(quotaMemory, &q.MemoryBytes)
	f(quotaCPU, &q.CPUMillis)
	f(quotaMessages, &q.MessagesPerSecond)
	f(quotaBytes, &q.BytesPerSecond)
	f(quotaDevice, &q.DeviceMillis)
}

// intersect returns the lower quota of each kind.
func (q Quotas) intersect(o Quotas) Quotas {
	return Quotas{min(q.MemoryBytes, o.MemoryBytes), min(q.CPUMillis, o.CPUMillis), min(q.MessagesPerSecond, o.MessagesPerSecond),
		min(q.BytesPerSecond, o.BytesPerSecond), min(q.DeviceMillis, o.DeviceMillis)}
}

func (q *Quotas) append(b []byte) []byte {
	n := 0
	q.each(func(_ int64, v *uint64) {
		if *v > 0 {
			n++
		}
	})
	b = cbor.AppendMap(b, n)
	q.each(func(key int64, v *uint64) {
		if *v > 0 {
			b = cbor.AppendUint(cbor.AppendInt(b, key), *v)
		}
	})
	return b
}

// readQuotas reads quotas of which at least one is not zero; zeros are left out.
func readQuotas(r *cbor.Reader) (q Quotas) {
	m := r.Map(1, 5)
	for key, ok := m.Next(); ok; key, ok = m.Next() {
		at := r.Offset()
		found := r.Uint()
		known := false
		q.each(func(k int64, v *uint64) {
			if k == key {
				*v, known = found, true
			}
		})
		if !known {
			r.Fail(at, "quota "+strconv.FormatInt(key, 10)+" is unknown")
		}
		if found == 0 {
			r.Fail(at, "quota "+strconv.FormatInt(key, 10)+" expected above zero, or left out")
		}
	}
	return q
}
