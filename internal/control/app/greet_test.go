package app

import (
	"bytes"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
)

// A certificate that was made while the clock was a year ahead is refused by every host once the clock is right: it must not be kept then.
func TestServerCertificateFollowsTheClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	clk := clock.At(now)
	authority, err := ca.Open(t.TempDir(), clk)
	if err != nil {
		t.Fatal(err)
	}
	s := &serverCertificate{ca: authority, clock: clk, hosts: []string{"localhost"}}
	get := func() []byte {
		t.Helper()
		c, err := s.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Certificate[0]
	}
	first := get()
	clk.Move(ca.ServerLife/2 - time.Minute)
	if !bytes.Equal(get(), first) {
		t.Error("a new certificate was made before half of the life of the first was over")
	}
	clk.Move(-365 * 24 * time.Hour)
	back := get()
	if bytes.Equal(back, first) {
		t.Error("the clock went back: got the certificate of the time that never was, want a new one")
	}
	clk.Move(365 * 24 * time.Hour)
	if bytes.Equal(get(), back) {
		t.Error("a year later: got the old certificate, want a new one")
	}
}
