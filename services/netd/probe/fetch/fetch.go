// Package fetch takes one page by HTTP and tells how long that took: the same code
// in the services of AIOS and in the init of what `make bench` compares it with.
package fetch

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// chunk is how much is read at a time.
const chunk = 64 << 10

// Get takes what url names over a connection of its own. took is from before the
// connection is opened until the last byte is there.
func Get(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), url string) (bytes int64, took time.Duration, err error) {
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true, ReadBufferSize: chunk}}
	q, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	r, err := client.Do(q)
	if err != nil {
		return 0, 0, err
	}
	defer r.Body.Close()
	buf := make([]byte, chunk)
	for err == nil {
		var n int
		n, err = r.Body.Read(buf)
		bytes += int64(n)
	}
	took = time.Since(began)
	switch {
	case err != io.EOF:
		return bytes, took, fmt.Errorf("%s: after %d bytes: %w", url, bytes, err)
	case r.StatusCode != http.StatusOK:
		return bytes, took, fmt.Errorf("%s: status %s", url, r.Status)
	}
	return bytes, took, nil
}
