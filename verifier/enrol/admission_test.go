package enrol

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// ledger is an admissions file with a clock of its own.
type ledger struct {
	*Admissions
	file string
	now  time.Time
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	l := &ledger{file: filepath.Join(t.TempDir(), "admissions.json"), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	l.reopen(t)
	return l
}

func (l *ledger) reopen(t *testing.T) {
	t.Helper()
	var err error
	if l.Admissions, err = OpenAdmissions(l.file, func() time.Time { return l.now }); err != nil {
		t.Fatal(err)
	}
}

func (l *ledger) token(t *testing.T) string {
	t.Helper()
	text, _, err := l.NewToken("rack 4", 0)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var ekA, ekB = strings.Repeat("a1", 32), strings.Repeat("b2", 32)

func TestTokenEnrolsOnce(t *testing.T) {
	l := newLedger(t)
	text := l.token(t)
	commit, err := l.Admit(ekA, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	// Until it is used up it is good: an enrolment that failed costs no token.
	if _, err := l.Admit(ekB, []byte(text)); err != nil {
		t.Fatalf("before it was used: %v", err)
	}
	l.reopen(t)
	if commit, err = l.Admit(ekA, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{"at once", "after a restart"} {
		if _, err := l.Admit(ekA, []byte(text)); !errors.Is(err, ErrTokenUsed) || !strings.Contains(err.Error(), hostID(ekA)) {
			t.Errorf("%s: %v", again, err)
		}
		l.reopen(t)
	}
	if got := l.Tokens(); len(got) != 1 || got[0].UsedBy != hostID(ekA) || !got[0].UsedAt.Equal(l.now) {
		t.Errorf("record %+v", got)
	}
}

// Of two hosts that show the same token at the same moment one is enrolled.
func TestTokenRace(t *testing.T) {
	l := newLedger(t)
	text := []byte(l.token(t))
	var commits [8]func() error
	for i := range commits {
		var err error
		if commits[i], err = l.Admit(ekA, text); err != nil {
			t.Fatal(err)
		}
	}
	results := make([]error, len(commits))
	var wg sync.WaitGroup
	for i, commit := range commits {
		wg.Go(func() { results[i] = commit() })
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrTokenUsed):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d enrolments with one token", won)
	}
}

func TestAdmitRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		alter func(t *testing.T, l *ledger, text string) string
		want  error
	}{
		{"no token", func(*testing.T, *ledger, string) string { return "" }, ErrNotAdmitted},
		{"a guess", func(*testing.T, *ledger, string) string { return tokenPrefix + "AAAA" }, ErrToken},
		{"one letter changed", func(_ *testing.T, _ *ledger, s string) string { return s[:len(s)-1] + "~" }, ErrToken},
		{"its hash", func(_ *testing.T, l *ledger, _ string) string { return l.Tokens()[0].Hash }, ErrToken},
		{"expired", func(_ *testing.T, l *ledger, s string) string { l.now = l.now.Add(DefaultTokenLife); return s }, ErrTokenExpired},
		{"revoked", func(t *testing.T, l *ledger, s string) string {
			if err := l.RevokeToken(l.Tokens()[0].ID); err != nil {
				t.Fatal(err)
			}
			return s
		}, ErrToken},
		{"another EK is registered", func(t *testing.T, l *ledger, s string) string {
			if _, err := l.Register(ekB, ""); err != nil {
				t.Fatal(err)
			}
			return ""
		}, ErrNotAdmitted},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(t)
			shown := c.alter(t, l, l.token(t))
			_, err := l.Admit(ekA, []byte(shown))
			if !errors.Is(err, c.want) || AdmissionRemedy(err) == "" {
				t.Errorf("%v, want %v with a remedy", err, c.want)
			}
		})
	}
}

// A token that expires or is revoked while the credential is on its way enrols nobody.
func TestCommitLooksAgain(t *testing.T) {
	l := newLedger(t)
	text := l.token(t)
	commit, err := l.Admit(ekA, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	l.now = l.now.Add(DefaultTokenLife)
	if err := commit(); !errors.Is(err, ErrTokenExpired) {
		t.Error(err)
	}
}

func TestRegisteredEKNeedsNoToken(t *testing.T) {
	l := newLedger(t)
	if _, err := l.Register(strings.ToUpper(ekA), "rack 4"); err != nil {
		t.Fatal(err)
	}
	l.reopen(t)
	text := l.token(t)
	commit, err := l.Admit(ekA, []byte(text))
	if err != nil || commit() != nil {
		t.Fatal(err)
	}
	if !l.Tokens()[0].UsedAt.IsZero() {
		t.Error("a token was used up that was not needed")
	}
	if err := l.Unregister(ekA); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Admit(ekA, nil); !errors.Is(err, ErrNotAdmitted) {
		t.Error(err)
	}
	if err := l.Unregister(ekA); !errors.Is(err, ErrNoEK) {
		t.Error(err)
	}
	for _, bad := range []string{"", "host-0011223344556677", ekA[1:], "zz" + ekA[2:]} {
		if _, err := l.Register(bad, ""); !errors.Is(err, ErrRequest) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The text of a token is nowhere on the disk, and others cannot read what is.
func TestTokenIsNotStored(t *testing.T) {
	l := newLedger(t)
	text := l.token(t)
	b, err := os.ReadFile(l.file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), strings.TrimPrefix(text, tokenPrefix)) {
		t.Error("the token can be read in the file")
	}
	if fi, err := os.Stat(l.file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

// If a token cannot be marked as used, it is not used, and nothing is enrolled with it.
func TestCommitThatCannotBeStored(t *testing.T) {
	l := newLedger(t)
	commit, err := l.Admit(ekA, []byte(l.token(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(l.file)); err != nil {
		t.Fatal(err)
	}
	if err := commit(); !errors.Is(err, ErrAdmissions) {
		t.Errorf("got %v", err)
	}
	if !l.Tokens()[0].UsedAt.IsZero() {
		t.Error("used, but not on the disk")
	}
}

func TestDamagedAdmissions(t *testing.T) {
	l := newLedger(t)
	if err := os.WriteFile(l.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAdmissions(l.file, nil); err == nil || !strings.Contains(err.Error(), l.file) {
		t.Errorf("got %v", err)
	}
}
