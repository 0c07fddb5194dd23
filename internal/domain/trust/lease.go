package trust

import (
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// LeaseWanted is what a lease must be to be acted on: for this endpoint, for the release that it has prepared, and not sooner than the
// plan that was signed with the release allows.
type LeaseWanted struct {
	Endpoint  string
	Component string
	Rollout   string
	Manifest  release.Digest
	Plan      plan.Plan // of the manifest
	Created   time.Time // of the manifest
	Now       time.Time // see [LowerBound]
	Wall      time.Time // the host's clock as it is, if it differs from Now; the zero time means Now
}

// SealLease signs a lease.
func SealLease(l api.Lease, signers ...*Signer) ([]byte, error) {
	return seal(api.LeaseType, l, signers)
}

// OpenLease verifies a lease (I1, I9). One past its time, or ahead of the host's clock, is Unavailable: ask for another. One for somebody or something else, or one
// that outruns the signed plan, is Denied.
//
// Whether a ring may be open yet is also judged by the host's own clock, so that a stolen director key cannot just write later times.
func OpenLease(envelope []byte, keys Keys, want LeaseWanted) (api.Lease, error) {
	what := "lease for " + want.Component
	var l api.Lease
	if err := unsealEnvelope(what, api.LeaseType, envelope, keys, &l); err != nil {
		return api.Lease{}, err
	}
	what = "lease " + l.ID + " for " + want.Component
	for _, judge := range []func(string, api.Lease, LeaseWanted) *fault.Error{judgeSubject, judgeSchedule, judgeTime} {
		if err := judge(what, l, want); err != nil {
			return api.Lease{}, err
		}
	}
	return l, nil
}

func judgeSubject(what string, l api.Lease, want LeaseWanted) *fault.Error {
	for _, c := range []struct{ name, got, want string }{
		{"endpoint", l.Endpoint, want.Endpoint},
		{"component", l.Component, want.Component},
		{"rollout", l.Rollout, want.Rollout},
		{"manifest", l.Manifest, string(want.Manifest)},
	} {
		if c.want == "" || c.got != c.want {
			return fault.New(fault.Denied, "open %s: it is for %s %q, not %q", what, c.name, c.got, c.want)
		}
	}
	if l.ID == "" {
		return fault.New(fault.Denied, "open %s: it has no id", what)
	}
	return nil
}

func judgeSchedule(what string, l api.Lease, want LeaseWanted) *fault.Error {
	if l.Ring < 0 || len(want.Plan.Rings) == 0 {
		return fault.New(fault.Denied, "open %s: it names ring %d of the signed plan %q, which has no such ring", what, l.Ring, want.Plan.Name)
	}
	if l.Started.Before(want.Created) {
		return fault.New(fault.Denied, "open %s: its rollout started at %s, before the release was made at %s", what, stamp(l.Started), stamp(want.Created))
	}
	// A rollout may go by a stricter plan with more rings; all that come later are as late as the signed plan's last.
	opens := l.Started.Add(want.Plan.NotBefore(min(l.Ring, len(want.Plan.Rings)-1)))
	if l.Issued.Before(opens) {
		return fault.New(fault.Denied, "open %s: it was issued at %s, but by the signed plan ring %d cannot open before %s", what, stamp(l.Issued), l.Ring, stamp(opens))
	}
	if !l.Issued.Before(l.Expires) || l.Deadline.Before(l.Expires) {
		return fault.New(fault.Denied, "open %s: its times are out of order: issued %s, expires %s, deadline %s", what, stamp(l.Issued), stamp(l.Expires), stamp(l.Deadline))
	}
	return nil
}

func judgeTime(what string, l api.Lease, want LeaseWanted) *fault.Error {
	wall := want.Wall
	if wall.IsZero() {
		wall = want.Now
	}
	if l.Issued.After(wall.Add(MaxSkew)) {
		return fault.New(fault.Unavailable, "open %s: it was issued at %s, but this host's clock says %s", what, stamp(l.Issued), stamp(wall)).
			Hint("Set this host's clock; it activates nothing new while the clock is behind.")
	}
	if !want.Now.Before(l.Expires.Add(LeaseSkew)) {
		return fault.New(fault.Unavailable, "open %s: it expired at %s, it is now %s", what, stamp(l.Expires), stamp(want.Now)).
			Hint("Ask for a new lease; if every lease has expired on arrival, set this host's clock.")
	}
	return nil
}
