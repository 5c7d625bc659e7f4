package service

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"aios/verifier/enrol"
)

// EnrolmentToken is what is shown of one.
type EnrolmentToken struct {
	ID      string    `json:"id"`
	Token   string    `json:"token,omitempty" doc:"Its text, in the answer that issued it and never again"`
	Note    string    `json:"note,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	State   string    `json:"state" enum:"usable,used,expired"`
	UsedAt  time.Time `json:"used_at,omitzero"`
	UsedBy  string    `json:"used_by,omitempty" doc:"Host id"`
}

func (s *Service) describeToken(t enrol.Token, text string) EnrolmentToken {
	v := EnrolmentToken{ID: t.ID, Token: text, Note: t.Note, Created: t.Created, Expires: t.Expires, State: "usable", UsedAt: t.UsedAt, UsedBy: t.UsedBy}
	switch {
	case !t.UsedAt.IsZero():
		v.State = "used"
	case !s.c.Now().Before(t.Expires):
		v.State = "expired"
	}
	return v
}

// RegisteredEK is a TPM that is enrolled without a token.
type RegisteredEK struct {
	Hash  string    `json:"ek_sha256"`
	Note  string    `json:"note,omitempty"`
	Added time.Time `json:"added"`
}

func (s *Service) registerEnrolment(api huma.API) {
	const tag = "enrolment"
	create := operation(http.MethodPost, "/v1/enrolment-tokens", "create-enrolment-token", tag, "Issue a one-time enrolment token", 507)
	create.DefaultStatus = http.StatusCreated
	huma.Register(api, create, answer(func(_ context.Context, in *struct {
		Body struct {
			Note    string `json:"note,omitempty" maxLength:"128" doc:"For people"`
			Seconds int64  `json:"seconds,omitempty" minimum:"1" maximum:"2592000" doc:"How long it can be used; 24 hours if not given"`
		}
	}) (EnrolmentToken, error) {
		text, t, err := s.NewEnrolmentToken(in.Body.Note, time.Duration(in.Body.Seconds)*time.Second)
		return s.describeToken(t, text), err
	}))
	huma.Register(api, operation(http.MethodGet, "/v1/enrolment-tokens", "list-enrolment-tokens", tag, "List the tokens that were issued; not their text"),
		answer(func(context.Context, *empty) ([]EnrolmentToken, error) {
			out := []EnrolmentToken{}
			for _, t := range s.admissions.Tokens() {
				out = append(out, s.describeToken(t, ""))
			}
			return out, nil
		}))
	huma.Register(api, operation(http.MethodDelete, "/v1/enrolment-tokens/{token}", "revoke-enrolment-token", tag, "Revoke a token", 404, 507),
		perform(func(_ context.Context, in *struct {
			Token string `path:"token" pattern:"^[0-9a-f]{16}$" doc:"Its id"`
		}) error {
			err := s.admissions.RevokeToken(in.Token)
			if err == nil {
				s.publish(Event{Kind: Changed, Text: "enrolment token " + in.Token + " was revoked"})
			}
			return err
		}))

	register := operation(http.MethodPost, "/v1/eks", "register-ek", tag, "Register a TPM, so that it is enrolled without a token", 507)
	register.DefaultStatus = http.StatusCreated
	huma.Register(api, register, answer(func(_ context.Context, in *struct {
		Body struct {
			Hash        string `json:"ek_sha256,omitempty" doc:"SHA-256 of the EK's SubjectPublicKeyInfo, 64 hex digits"`
			Certificate []byte `json:"certificate,omitempty" doc:"Or its EK certificate, DER or PEM, base64" maxLength:"32768"`
			Note        string `json:"note,omitempty" maxLength:"128" doc:"For people"`
		}
	}) (RegisteredEK, error) {
		hash := in.Body.Hash
		if (hash == "") == (len(in.Body.Certificate) == 0) {
			return RegisteredEK{}, fmt.Errorf("register an EK: %w: expected ek_sha256 or certificate, one of them", ErrInvalid)
		}
		if hash == "" {
			var err error
			if hash, err = enrol.CertificateHash(in.Body.Certificate); err != nil {
				return RegisteredEK{}, err
			}
		}
		k, err := s.RegisterEK(hash, in.Body.Note)
		return RegisteredEK(k), err
	}))
	huma.Register(api, operation(http.MethodGet, "/v1/eks", "list-eks", tag, "List the TPMs that are registered"),
		answer(func(context.Context, *empty) ([]RegisteredEK, error) {
			out := []RegisteredEK{}
			for _, k := range s.admissions.EKs() {
				out = append(out, RegisteredEK(k))
			}
			return out, nil
		}))
	huma.Register(api, operation(http.MethodDelete, "/v1/eks/{ek}", "unregister-ek", tag, "Take a registration back; a host that is enrolled stays enrolled", 404, 507),
		perform(func(_ context.Context, in *struct {
			EK string `path:"ek" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of its SubjectPublicKeyInfo"`
		}) error {
			err := s.admissions.Unregister(in.EK)
			if err == nil {
				s.publish(Event{Kind: Changed, Text: "the registration of EK " + in.EK + " was taken back"})
			}
			return err
		}))
}
