package service

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

// The description that others generate clients from is the one that the code has.
func TestOpenAPIIsUpToDate(t *testing.T) {
	want, err := OpenAPI()
	check(t, err)
	file := filepath.Join("..", "..", "docs", "openapi.json")
	if *update {
		check(t, os.WriteFile(file, want, 0o644))
	}
	if found, err := os.ReadFile(file); err != nil || !bytes.Equal(found, want) {
		t.Errorf("%s is stale (%v): go test ./verifier/service -run OpenAPI -update", file, err)
	}
}
