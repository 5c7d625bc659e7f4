//go:build crashtest

package main

import "time"

// The build of TestServicesCrash (test/e2e) ends itself again and again.
func init() {
	time.AfterFunc(20*time.Second, func() { panic("netd ends itself: it was built with the tag crashtest") })
}
