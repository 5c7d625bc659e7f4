//go:build crashtest

package main

import "time"

// The build of TestServicesCrash (test/e2e) ends itself again and again, at other
// times than netd does.
func init() {
	time.AfterFunc(27*time.Second, func() { panic("attestd ends itself: it was built with the tag crashtest") })
}
