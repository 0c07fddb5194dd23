package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// heals tells whether waiting may mend what keeps the control plane from opening. What is merely away or full may come back by itself; a
// setting, a key or a right that is wrong stays wrong until somebody changes it, and is said at once. So is what nobody expected.
func heals(err error) bool {
	if untrusted(err) {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Unavailable:
		return true
	case fault.Internal:
		return passing(err)
	case fault.Invalid, fault.NotFound, fault.Conflict, fault.Denied:
	}
	return false
}

// untrusted tells whether an error says that the other side is not who it should be.
func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid)
}

// advised gives an error of the operating system the next step.
func advised(err error) error {
	if fault.NextOf(err) != "" {
		return err
	}
	next := "Mend that: it is tried again by itself."
	switch {
	case full(err):
		next = "Free space there: it is tried again by itself."
	case readOnly(err):
		next = "Make the file system writable again: it is tried again by itself. If it became read-only by itself, look at the kernel's log."
	}
	return fault.New(fault.Unavailable, "%w", err).Hint("%s", next)
}

// How long a start that waits does so between two tries.
const (
	leastPause = 500 * time.Millisecond
	mostPause  = 15 * time.Second
)

// pause is how long to wait after so many failures: twice as long each time, and of that anything from a half on, so that replicas that lost
// one database do not come back in step. Chance is from 0 to below 1.
func pause(failures int, chance float64) time.Duration {
	most := mostPause
	if doubled := leastPause << min(failures, 16); doubled < most {
		most = doubled
	}
	return most/2 + time.Duration(chance*float64(most/2))
}
