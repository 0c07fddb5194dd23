package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func TestHeals(t *testing.T) {
	t.Parallel()
	away := fault.New(fault.Unavailable, "connect: refused").Hint("Start it.")
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"away":                     {away, true},
		"away, wrapped and joined": {errors.Join(fmt.Errorf("open: %w", away), nil), true},
		"it took too long":         {fault.New(fault.Unavailable, "ask: %w", context.DeadlineExceeded), true},
		"a setting":                {fault.New(fault.Invalid, "read the URL"), false},
		"not there":                {fault.New(fault.NotFound, "there is no such database"), false},
		"another has it":           {fault.New(fault.Conflict, "lock: another process has it"), false},
		"not allowed":              {fault.New(fault.Denied, "wrong password"), false},
		"nobody knows":             {errors.New("on fire"), false},
		"a stranger answers":       {fault.New(fault.Unavailable, "connect: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), false},
		"of an unknown authority":  {fault.New(fault.Unavailable, "connect: %w", x509.UnknownAuthorityError{}), false},
		"of another name":          {fault.New(fault.Unavailable, "connect: %w", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "db"}), false},
		"expired":                  {fault.New(fault.Unavailable, "connect: %w", x509.CertificateInvalidError{Reason: x509.Expired}), false},
		"somebody else's":          {&os.PathError{Op: "open", Path: "/data", Err: syscall.EACCES}, false},
		"no directory":             {&os.PathError{Op: "mkdir", Path: "/data", Err: syscall.ENOTDIR}, false},
		"not there, a file":        {fmt.Errorf("open: %w", fs.ErrNotExist), false},
		"full":                     {fmt.Errorf("write the key: %w", &os.PathError{Op: "write", Path: "/data/ca.pem", Err: syscall.ENOSPC}), true},
		"too many files":           {&os.PathError{Op: "open", Path: "/data", Err: syscall.EMFILE}, true},
		"full, but the input":      {fault.New(fault.Invalid, "read: %w", syscall.ENOSPC), false},
	} {
		if got := heals(test.err); got != test.want {
			t.Errorf("%s (%v): got %t, want %t", name, test.err, got, test.want)
		}
	}
}

func TestAdviceIsGivenWhereThereIsNone(t *testing.T) {
	t.Parallel()
	hinted := fault.New(fault.Unavailable, "connect: refused").Hint("Start it.")
	seen := map[string]bool{}
	for _, err := range []error{hinted, &os.PathError{Op: "write", Path: "/data/x", Err: syscall.ENOSPC}, &os.PathError{Op: "open", Path: "/data/x", Err: syscall.EIO}} {
		got := advised(err)
		if fault.KindOf(got) != fault.Unavailable || got.Error() != err.Error() || seen[fault.NextOf(got)] || fault.NextOf(got) == "" {
			t.Errorf("got %v (next %q), want the same words with a next step of its own", got, fault.NextOf(got))
		}
		seen[fault.NextOf(got)] = true
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	for failures, want := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second, 15 * time.Second} {
		least, middle, most := pause(failures, 0), pause(failures, 0.5), pause(failures, 1)
		if least != want/2 || middle <= least || middle >= most || most != want {
			t.Errorf("after %d failures: got %v, %v, %v, want from %v to %v", failures, least, middle, most, want/2, want)
		}
	}
	if got := pause(1_000_000, 1); got != mostPause {
		t.Errorf("got %v after a million failures, want %v", got, mostPause)
	}
	for range 1000 {
		if c := chance(); c < 0 || c >= 1 {
			t.Fatalf("got chance %v, want it from 0 to below 1", c)
		}
	}
}
