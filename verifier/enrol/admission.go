package enrol

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// The reasons why a TPM is not admitted, matched by errors.Is.
var (
	ErrNotAdmitted  = errors.New("the TPM is not known here and the host shows no enrolment token")
	ErrToken        = errors.New("the enrolment token is not one that was issued here, or it was revoked")
	ErrTokenUsed    = errors.New("the enrolment token was used before")
	ErrTokenExpired = errors.New("the enrolment token has expired")
	ErrNoToken      = errors.New("there is no such enrolment token")
	ErrNoEK         = errors.New("the EK is not registered")
	ErrAdmissions   = errors.New("the enrolment tokens could not be stored, nothing was done")
	ErrRequest      = errors.New("cannot be done as asked")
)

// Bounds.
const (
	DefaultTokenLife = 24 * time.Hour
	MaxTokenLife     = 30 * 24 * time.Hour
	MaxNote          = 128  // bytes
	maxAdmissions    = 4096 // of tokens and of registered EKs
)

// tokenPrefix makes a token recognisable, to people and to what looks for secrets in files.
const tokenPrefix = "aios-enrol-"

const tokenSize = 32 // bytes

// Token is the record of an enrolment token: everything but the token.
type Token struct {
	ID      string    `json:"id"` // names it; says nothing about it
	Hash    string    `json:"sha256"`
	Note    string    `json:"note,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	UsedAt  time.Time `json:"used_at,omitzero"`
	UsedBy  string    `json:"used_by,omitempty"` // host id
}

// EK is a TPM that may be enrolled without a token.
type EK struct {
	Hash  string    `json:"ek_sha256"`
	Note  string    `json:"note,omitempty"`
	Added time.Time `json:"added"`
}

// Admissions says which unknown TPMs may be enrolled: an EK certificate proves that a
// TPM is one; that it is one of ours is what a one-time token or a registration says.
// It keeps both in one file, which is replaced in one step. It is safe for use by several goroutines, and for one process at a time.
type Admissions struct {
	file string
	now  func() time.Time

	mu    sync.Mutex
	state admissions
}

type admissions struct {
	Tokens []Token `json:"tokens"`
	EKs    []EK    `json:"eks"`
}

// OpenAdmissions reads the file; one that is not there is empty. now may be nil.
func OpenAdmissions(file string, now func() time.Time) (*Admissions, error) {
	if now == nil {
		now = time.Now
	}
	a := &Admissions{file: file, now: now}
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a, nil
	case err != nil:
		return nil, fmt.Errorf("enrolment tokens: %w", err)
	}
	if err := json.Unmarshal(b, &a.state); err != nil {
		return nil, fmt.Errorf("enrolment tokens: %s is damaged: %w; restore it, or remove it and issue the tokens and registrations again", file, err)
	}
	return a, nil
}

// put makes a new state durable, then true. Precondition: a.mu is held.
func (a *Admissions) put(s admissions) error {
	if err := writeFile(a.file, s); err != nil {
		return fmt.Errorf("%w: %w; look at the disk under %s", ErrAdmissions, err, filepath.Dir(a.file))
	}
	a.state = s
	return nil
}

func writeFile(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	return err
}

// NewToken issues a token and returns its text, which is shown once and kept nowhere.
func (a *Admissions) NewToken(note string, life time.Duration) (text string, t Token, err error) {
	if life == 0 {
		life = DefaultTokenLife
	}
	if life < time.Second || life > MaxTokenLife {
		return "", t, fmt.Errorf("enrolment token: %w: life expected 1s to %v, found %v", ErrRequest, MaxTokenLife, life)
	}
	if err := checkNote(note); err != nil {
		return "", t, err
	}
	var secret [tokenSize]byte
	var id [8]byte
	rand.Read(secret[:]) // never fails (Go 1.24)
	rand.Read(id[:])
	now := a.now().UTC().Truncate(time.Second)
	text = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	t = Token{ID: hex.EncodeToString(id[:]), Hash: tokenHash(text), Note: note, Created: now, Expires: now.Add(life)}

	a.mu.Lock()
	defer a.mu.Unlock()
	// Used and expired ones are kept, so that a replay is told from a guess, until there
	// are many of them.
	kept := slices.Clone(a.state.Tokens)
	if len(kept) >= maxAdmissions/2 {
		kept = slices.DeleteFunc(kept, func(t Token) bool { return now.Sub(t.Expires) > MaxTokenLife })
	}
	if len(kept) >= maxAdmissions {
		return "", t, fmt.Errorf("enrolment token: %w: there are %d already: revoke some, or register the EKs", ErrRequest, len(kept))
	}
	if err := a.put(admissions{append(kept, t), a.state.EKs}); err != nil {
		return "", t, err
	}
	return text, t, nil
}

func checkNote(note string) error {
	if len(note) > MaxNote || strings.ContainsFunc(note, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("note: %w: expected printable text of at most %d bytes", ErrRequest, MaxNote)
	}
	return nil
}

func tokenHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Tokens lists the tokens, the oldest first.
func (a *Admissions) Tokens() []Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.state.Tokens)
}

// RevokeToken removes a token. A host that was enrolled with it stays enrolled.
func (a *Admissions) RevokeToken(id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(a.state.Tokens), func(t Token) bool { return t.ID == id })
	if len(kept) == len(a.state.Tokens) {
		return fmt.Errorf("%q: %w", id, ErrNoToken)
	}
	return a.put(admissions{kept, a.state.EKs})
}

// Register admits the TPM with this EK without a token.
func (a *Admissions) Register(ekHash, note string) (EK, error) {
	ekHash = strings.ToLower(ekHash)
	if !validHash.MatchString(ekHash) {
		return EK{}, fmt.Errorf("register an EK: %w: expected the SHA-256 of its SubjectPublicKeyInfo as 64 hex digits, found %q", ErrRequest, ekHash)
	}
	if err := checkNote(note); err != nil {
		return EK{}, err
	}
	k := EK{Hash: ekHash, Note: note, Added: a.now().UTC().Truncate(time.Second)}
	a.mu.Lock()
	defer a.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(a.state.EKs), func(k EK) bool { return k.Hash == ekHash })
	if len(kept) >= maxAdmissions {
		return EK{}, fmt.Errorf("register an EK: %w: there are %d already: remove those of hosts that are enrolled, which need it no more", ErrRequest, len(kept))
	}
	return k, a.put(admissions{a.state.Tokens, append(kept, k)})
}

// EKs lists what is registered, the oldest first.
func (a *Admissions) EKs() []EK {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.state.EKs)
}

// Unregister takes a registration back. A host that is enrolled stays enrolled.
func (a *Admissions) Unregister(ekHash string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(a.state.EKs), func(k EK) bool { return k.Hash == strings.ToLower(ekHash) })
	if len(kept) == len(a.state.EKs) {
		return fmt.Errorf("%q: %w", ekHash, ErrNoEK)
	}
	return a.put(admissions{a.state.Tokens, kept})
}

// Admit says whether the TPM with this EK (hex of the SHA-256 of its
// SubjectPublicKeyInfo) may be enrolled. token is what the host showed, empty if nothing;
// a registered EK needs none and uses none up. commit uses the token up, durably, and
// fails if somebody else did meanwhile: it is for when the credential was opened and
// before the record of the host is stored.
func (a *Admissions) Admit(ekHash string, token []byte) (commit func() error, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.ContainsFunc(a.state.EKs, func(k EK) bool { return k.Hash == ekHash }) {
		return func() error { return nil }, nil
	}
	if len(token) == 0 {
		return nil, fmt.Errorf("EK %s: %w", ekHash, ErrNotAdmitted)
	}
	hash := tokenHash(string(token))
	if _, err := a.usable(hash); err != nil {
		return nil, fmt.Errorf("EK %s: %w", ekHash, err)
	}
	return func() error { return a.use(hash, ekHash) }, nil
}

// usable finds a token that is good now. Precondition: a.mu is held.
func (a *Admissions) usable(hash string) (index int, err error) {
	index = -1
	for i := range a.state.Tokens { // all of them, so that the time taken tells nothing
		if subtle.ConstantTimeCompare([]byte(a.state.Tokens[i].Hash), []byte(hash)) == 1 {
			index = i
		}
	}
	if index < 0 {
		return -1, ErrToken
	}
	switch t := &a.state.Tokens[index]; {
	case !t.UsedAt.IsZero():
		return -1, fmt.Errorf("%w: token %s, on %s by %s", ErrTokenUsed, t.ID, t.UsedAt.Format(time.RFC3339), t.UsedBy)
	case !a.now().Before(t.Expires):
		return -1, fmt.Errorf("%w: token %s, on %s", ErrTokenExpired, t.ID, t.Expires.Format(time.RFC3339))
	}
	return index, nil
}

func (a *Admissions) use(hash, ekHash string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, err := a.usable(hash)
	if err != nil {
		return fmt.Errorf("EK %s: %w", ekHash, err)
	}
	tokens := slices.Clone(a.state.Tokens)
	tokens[i].UsedAt, tokens[i].UsedBy = a.now().UTC().Truncate(time.Second), hostID(ekHash)
	return a.put(admissions{tokens, a.state.EKs})
}

// AdmissionRemedy says what to do about a TPM that was not admitted, "" for other errors.
func AdmissionRemedy(err error) string {
	switch {
	case errors.Is(err, ErrNotAdmitted):
		return "if it is a machine of yours: make a one-time token with `aios enrol token` and give it to the host on its provisioning console, or register its EK with `aios enrol ek`"
	case errors.Is(err, ErrTokenUsed), errors.Is(err, ErrTokenExpired), errors.Is(err, ErrToken):
		return "make a new one-time token with `aios enrol token`; if you did not use this one yourself, find out who did: `aios verifier hosts`"
	case errors.Is(err, ErrAdmissions):
		return "free some space on the disk of the verifier's state folder and try again"
	}
	return ""
}
