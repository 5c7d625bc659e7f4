package authority

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"aios/captoken/mldsa"
	"aios/policy"
	"aios/verifier/appraisal"
	"aios/verifier/ear"
	"aios/verifier/session"
)

func TestFromSession(t *testing.T) {
	results, err := mldsa.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := mldsa.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	tpm, _, measured := newTPM(t, 7)
	round := func(status string) *session.Result {
		r := ear.Result{Status: status, Nonce: make([]byte, 32), IssuedAt: epoch, Expires: epoch.Add(5 * time.Minute),
			Verifier: ear.Verifier{Build: "test", Developer: "test"}, PolicyID: "test"}
		r.Vector.Executables = ear.ExecutablesApprovedBoot
		if status != ear.Affirming {
			r.Reasons = []ear.Reason{{Code: "test", Text: "test", Remedy: "test"}}
			r.Vector.Executables = ear.ExecutablesContraindicated
		}
		token, err := ear.Issue(results, r)
		if err != nil {
			t.Fatal(err)
		}
		v := &appraisal.Verdict{Status: status, Quoted: true, ResetCount: 7, PCRs: map[string]policy.PCR{}}
		for _, i := range MeasuredPCRs {
			v.PCRs[strconv.Itoa(i)] = policy.PCR{Quoted: hex.EncodeToString(tpm.PCRs[i])}
		}
		return &session.Result{Verdict: v, Round: 1, EAR: token}
	}
	good, err := FromSession("host-1", round("affirming"), results.Public(), epoch)
	want := Verdict{"host-1", "affirming", epoch, epoch.Add(5 * time.Minute), 7, measured}
	if err != nil || good != want {
		t.Errorf("%v, %+v, want %+v", err, good, want)
	}
	if bad, err := FromSession("host-1", round("contraindicated"), results.Public(), epoch); err != nil || bad.Status != "contraindicated" || bad.Measured != (Measurement{}) {
		t.Errorf("%v, %+v", err, bad)
	}
	for _, c := range []struct {
		name   string
		change func(*session.Result)
		key    *mldsa.PublicKey
		now    time.Time
		text   string
	}{
		{"another key", nil, other.Public(), epoch, "kid"},
		{"expired", nil, results.Public(), epoch.Add(5 * time.Minute), "expired"},
		{"altered", func(r *session.Result) { r.EAR += "A" }, results.Public(), epoch, ""},
		{"better than what was signed", func(r *session.Result) { r.EAR = round("contraindicated").EAR }, results.Public(), epoch, "status of the signed result"},
		{"not quoted", func(r *session.Result) { r.Quoted = false }, results.Public(), epoch, "not good"},
		{"a PCR is missing", func(r *session.Result) { delete(r.PCRs, "9") }, results.Public(), epoch, "PCR 9"},
		{"a PCR is no hex", func(r *session.Result) { r.PCRs["9"] = policy.PCR{Quoted: "zz"} }, results.Public(), epoch, "PCR 9"},
	} {
		r := round("affirming")
		if c.change != nil {
			c.change(r)
		}
		if v, err := FromSession("host-1", r, c.key, c.now); !errors.Is(err, ErrVerdict) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %+v, %v, want %q", c.name, v, err, c.text)
		}
	}
}
