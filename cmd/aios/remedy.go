package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
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
	case errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "the host did not answer in time: on a very busy machine try again"
	}
	return ""
}
