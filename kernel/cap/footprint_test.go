package cap

import (
	"reflect"
	"testing"
)

func TestFootprint(t *testing.T) {
	for _, c := range []struct {
		name        string
		is, charged int
	}{
		{"a table", int(reflect.TypeFor[Table]().Size()), tableBytes},
		{"a node", int(reflect.TypeFor[node]().Size()), nodeBytes},
		{"a family", int(reflect.TypeFor[family]().Size()), familyBytes},
		{"a gate on the way", int(reflect.TypeFor[via]().Size()), viaBytes},
	} {
		if c.is != c.charged {
			t.Errorf("%s has %d bytes, charged are %d", c.name, c.is, c.charged)
		}
	}
}
