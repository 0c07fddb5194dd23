package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
)

// oslo is an agent on a host of which something is known, and its component.
func oslo(t *testing.T) (*Agent, *unit) {
	t.Helper()
	a := newAgent(t, &paper{})
	a.Tenant, a.Attributes, a.Labels = "acme", api.Attributes{OS: "linux", Site: "oslo"}, map[string]string{"env": "prod"}
	u := &unit{file: component.File{Component: sensor, Kind: "content", Provides: map[string]string{"version": "7.11"}}}
	a.units[sensor] = u
	return a, u
}

// A hold is for the hosts that its selector picks by what they told the control plane of themselves, and for those that cannot tell.
func TestHolds(t *testing.T) {
	t.Parallel()
	type selector = map[string][]string
	for name, c := range map[string]struct {
		selects selector
		want    bool
	}{
		"everybody":               {nil, true},
		"this tenant":             {selector{"tenant": {"acme"}}, true},
		"another tenant":          {selector{"tenant": {"globex"}}, false},
		"this site":               {selector{"site": {"lima", "oslo"}}, true},
		"this label":              {selector{"label.env": {"prod"}}, true},
		"this consumer":           {selector{"consumer": {"7.11"}}, true},
		"another consumer":        {selector{"consumer": {"7.12"}}, false},
		"this site, another os":   {selector{"site": {"oslo"}, "os": {"windows"}}, false},
		"hosts without a region":  {selector{"region": {""}}, true},
		"a key of a newer agent":  {selector{"posture": {"weak"}}, true},
		"that key, another site":  {selector{"posture": {"weak"}, "site": {"lima"}}, false},
		"a label that it has not": {selector{"label.tier": {"gold"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, u := oslo(t)
			d := api.Directive{
				Stable:    &api.Target{Version: "v1", Manifest: "sha256:1"},
				Candidate: &api.Target{Version: "v2", Manifest: "sha256:2", Holds: []api.Hold{{Select: c.selects, Reason: "crashes"}}},
			}
			var want []install.Hold
			if c.want {
				want = []install.Hold{{Manifest: "sha256:2", Why: "crashes"}}
			}
			if diff := cmp.Diff(want, directedBy(d, a.subject(u), start).Holds); diff != "" {
				t.Errorf("holds (- want, + got):\n%s", diff)
			}
		})
	}
}

// Of several holds the first that matches says why; both targets may have some.
func TestHoldsOfBothTargets(t *testing.T) {
	t.Parallel()
	a, u := oslo(t)
	here, there := map[string][]string{"site": {"oslo"}}, map[string][]string{"site": {"lima"}}
	d := api.Directive{
		Stable:    &api.Target{Manifest: "sha256:1", Holds: []api.Hold{{Select: there, Reason: "not here"}, {Select: here}, {Reason: "later"}}},
		Candidate: &api.Target{Manifest: "sha256:2", Holds: []api.Hold{{Reason: "crashes everywhere"}}},
	}
	want := []install.Hold{
		{Manifest: "sha256:1", Why: "the control plane gave no reason"}, {Manifest: "sha256:2", Why: "crashes everywhere"},
	}
	if diff := cmp.Diff(want, directedBy(d, a.subject(u), start).Holds); diff != "" {
		t.Errorf("holds (- want, + got):\n%s", diff)
	}
}

// The control plane learns the consumer's version, which holds may select by.
func TestConsumerIsTold(t *testing.T) {
	t.Parallel()
	a, _ := oslo(t)
	want := api.Component{Kind: "content", Phase: "idle", Consumer: "7.11"}
	if diff := cmp.Diff(want, a.components()[sensor]); diff != "" {
		t.Errorf("component (- want, + got):\n%s", diff)
	}
}
