package service

import (
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"aios/captoken"
	"aios/verifier/authority"
	"aios/verifier/ek"
	"aios/verifier/enrol"
)

// Problem is an error of the API: problem details (RFC 9457) and what to do.
type Problem struct {
	huma.ErrorModel
	Remedy string `json:"remedy,omitempty" doc:"What to do about it"`
}

func init() { // huma takes the type of all errors, its own too, from this variable
	huma.NewError = func(status int, detail string, errs ...error) huma.StatusError {
		p := &Problem{ErrorModel: huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}}
		for _, err := range errs {
			if err != nil {
				p.Add(err)
			}
		}
		switch status {
		case http.StatusUnprocessableEntity:
			p.Remedy = "correct what the errors name; /openapi.json describes what is expected"
		case http.StatusRequestEntityTooLarge:
			p.Remedy = "send less at once"
		}
		return p
	}
}

// problem is an error as the API says it.
func problem(err error) error {
	if err == nil {
		return nil
	}
	status := http.StatusInternalServerError
	for _, c := range []struct {
		status int
		of     []error
	}{
		{http.StatusNotFound, []error{ErrNotFound, enrol.ErrUnknownHost, enrol.ErrNoToken, enrol.ErrNoEK}},
		{http.StatusInsufficientStorage, []error{ErrStore, authority.ErrStore, enrol.ErrAdmissions}},
		{http.StatusUnprocessableEntity, []error{ErrInvalid, enrol.ErrRequest, ek.ErrFormat, enrol.ErrEK}},
		{http.StatusBadRequest, []error{captoken.ErrForm}},
		{http.StatusConflict, []error{authority.ErrTarget, authority.ErrFull, captoken.ErrReplay}},
		{http.StatusForbidden, []error{authority.ErrQuorum, captoken.ErrIssuer, captoken.ErrSignature, captoken.ErrAudience, captoken.ErrRole,
			captoken.ErrExpired, captoken.ErrNotYet}},
	} {
		for _, of := range c.of {
			if errors.Is(err, of) && status == http.StatusInternalServerError {
				status = c.status
			}
		}
	}
	p := &Problem{ErrorModel: huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: err.Error()}, Remedy: Remedy(err)}
	return p
}
