package agent

import (
	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// providedVersion is what a component file provides the consumer's version as.
const providedVersion = "version"

// subject is what the holds of a component's releases look at on this host. It is all that the control plane knows of the host, which has
// it from here: both sides agree on who is held, and what has no value here has none there.
func (a *Agent) subject(u *unit) fleet.Subject {
	return fleet.Subject{
		Tenant: fleet.TenantID(a.Tenant), Attributes: fleet.Attributes(a.Attributes), Labels: a.Labels,
		Consumer: u.file.Provides[providedVersion],
	}
}

// holds tells which of a directive's releases are held for this host. A key that only a newer agent knows counts as matching: too much is
// held rather than too little.
func holds(d api.Directive, host fleet.Subject) []install.Hold {
	var held []install.Hold
	for _, t := range []*api.Target{d.Stable, d.Candidate} {
		if t == nil {
			continue
		}
		for _, h := range t.Holds {
			if fleet.Selector(h.Select).MayMatch(host) {
				held = append(held, install.Hold{Manifest: release.Digest(t.Manifest), Why: reason(h)})
				break
			}
		}
	}
	return held
}

func reason(h api.Hold) string {
	if h.Reason == "" {
		return "the control plane gave no reason"
	}
	return h.Reason
}
