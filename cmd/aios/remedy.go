package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"aios/boot/predict"
	"aios/policy"
	"aios/verifier/ek"
)

// remedy says what the user can do about an error. Errors that know it have a
// Remedy method; the rest are what any program meets.
func remedy(err error) string {
	var r interface{ Remedy() string }
	switch {
	case errors.As(err, &r):
		return r.Remedy()
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk is full: free some space, or give --state a folder on another disk"
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only: give --state a folder on another disk"
	case errors.Is(err, fs.ErrPermission):
		return "check who owns the file or folder named above; run as the user that made the state folder"
	case errors.Is(err, syscall.ENOMEM):
		return "too little memory: give the host less with --memory"
	case errors.Is(err, ek.ErrUnknownCA):
		return "if you trust the CA that issued the host's EK certificate, give its certificate with --roots; otherwise this is not a TPM that you know"
	case errors.Is(err, ek.ErrFormat):
		return "do not trust this host: its EK certificate is not valid; ask the TPM's manufacturer for one that is"
	case errors.Is(err, predict.ErrReference), errors.Is(err, predict.ErrSignature):
		return "build the image again, which writes new reference values: aios image build --force"
	case errors.Is(err, policy.ErrPolicy), errors.Is(err, policy.ErrBundle):
		return "correct the policy and try it with `aios policy check --policy DIR`; `aios policy export DIR` writes the shipped one"
	case errors.Is(err, fs.ErrNotExist):
		return "check the name; what belongs to an image is made by `aios image build`, what belongs to a host by `aios up`"
	case enrolRemedy(err) != "":
		return enrolRemedy(err)
	case errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "the host did not answer in time: on a very busy machine try again"
	}
	return ""
}
