package fetch

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGet(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/whole":
			w.Write(make([]byte, 200_000))
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			w.Write(make([]byte, 10))
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	var d net.Dialer
	for _, c := range []struct {
		path  string
		bytes int64
		want  string // error
	}{
		{"/whole", 200_000, ""},
		{"/cut", 10, "after 10 bytes"},
		{"/none", 19, "404"},
	} {
		n, took, err := Get(t.Context(), d.DialContext, s.URL+c.path)
		if n != c.bytes || took <= 0 || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d bytes in %v, %v; want %d and %q", c.path, n, took, err, c.bytes, c.want)
		}
	}
}
