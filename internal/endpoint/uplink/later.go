package uplink

import (
	"net/http"
	"strconv"
	"time"
)

// Later is an error of a control plane that is there and asks to be asked later.
type Later struct {
	After time.Duration // as it says: whoever waits for it bounds it
	err   error
}

// Error implements error.
func (l *Later) Error() string { return l.err.Error() }

// Unwrap gives the problem that came with it.
func (l *Later) Unwrap() error { return l.err }

// RetryAfter is how long the control plane asks to wait.
func (l *Later) RetryAfter() time.Duration { return l.After }

// later adds to an error what the answer says of when to come again, if it does.
func later(response *http.Response, err error) error {
	if response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
		return err
	}
	after, ok := retryAfter(response.Header)
	if !ok {
		return err
	}
	return &Later{After: after, err: err}
}

// longest is far more than anybody waits: what does not fit is cut to it, so that no sum overflows.
const longest = 365 * 24 * time.Hour

// retryAfter reads the header in both of its forms. A date is taken by the server's own clock, which is in the answer too: this host's may be
// wrong.
func retryAfter(h http.Header) (time.Duration, bool) {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(longest/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), longest), true
}
