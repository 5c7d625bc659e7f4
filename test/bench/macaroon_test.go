package main

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/macaroon.v2"
)

// macaroonToken makes a macaroon whose caveats are all of the first party. It is
// verified with the key that it was made with: whoever can verify it can make others.
func macaroonToken(t testing.TB, now time.Time, narrowed int) ([]byte, verifier) {
	t.Helper()
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		t.Fatal(err)
	}
	m, err := macaroon.New(secret, []byte("0123456789abcdef"), "issuer", macaroon.V2)
	if err != nil {
		t.Fatal(err)
	}
	caveats := []string{"host=" + tokenHost, "agent=" + tokenAgent, "from=" + seconds(now.Add(-time.Minute)), "until=" + seconds(now.Add(time.Hour)), "rights=" + strings.Join(tokenRights[:], ",")}
	for range narrowed {
		caveats = append(caveats, "until="+seconds(now.Add(time.Hour/2)), "rights=log,send,memory")
	}
	for _, c := range caveats {
		if err := m.AddFirstPartyCaveat([]byte(c)); err != nil {
			t.Fatal(err)
		}
	}
	token, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return token, func(token []byte, host, agent string, now time.Time) error {
		var m macaroon.Macaroon
		if err := m.UnmarshalBinary(token); err != nil {
			return err
		}
		return m.Verify(secret, func(caveat string) error { return checkCaveat(caveat, host, agent, now) }, nil)
	}
}

func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// checkCaveat is what a service that takes macaroons has to bring along.
func checkCaveat(caveat, host, agent string, now time.Time) error {
	key, value, _ := strings.Cut(caveat, "=")
	good := false
	switch key {
	case "host":
		good = value == host
	case "agent":
		good = value == agent
	case "from", "until":
		at, err := strconv.ParseInt(value, 10, 64)
		good = err == nil && (key == "from") == (now.Unix() >= at)
	case "rights":
		send, memory := false, false
		for right := range strings.SplitSeq(value, ",") {
			send, memory = send || right == "send", memory || right == "memory"
		}
		good = send && memory
	}
	if !good {
		return fmt.Errorf("caveat %q is not met", caveat)
	}
	return nil
}
