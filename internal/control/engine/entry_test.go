package engine

import (
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Exposed hosts are counted where they were when they got their newest lease, and nowhere twice.
func TestEntryCountsExposedHosts(t *testing.T) {
	t.Parallel()
	r := newEntry()
	put := func(tenant fleet.TenantID, site string, outcome rollout.Outcome) {
		r.put(store.Lease{Endpoint: "ep-1", Tenant: tenant, Site: site, Outcome: outcome}, time.Time{})
	}
	for _, c := range []struct {
		tenant  fleet.TenantID
		site    string
		outcome rollout.Outcome
		acme    int64
		graz    int64
		linz    int64
		exposed bool
	}{
		{"acme", "graz", rollout.Pending, 1, 1, 0, true},
		{"acme", "graz", rollout.Pending, 1, 1, 0, true},
		{"acme", "linz", rollout.Pending, 1, 0, 1, true},
		{"acme", "linz", rollout.Rejected, 0, 0, 0, false},
		{"acme", "linz", rollout.Rejected, 0, 0, 0, false},
		{"acme", "graz", rollout.Pending, 1, 1, 0, true},
		{"acme", "graz", rollout.Confirmed, 1, 1, 0, true},
	} {
		put(c.tenant, c.site, c.outcome)
		if r.tenants["acme"] != c.acme || r.sites["graz"] != c.graz || r.sites["linz"] != c.linz || r.exposed("ep-1") != c.exposed {
			t.Errorf("after %+v: got tenants %v, sites %v, exposed %v", c, r.tenants, r.sites, r.exposed("ep-1"))
		}
		if r.due.has("ep-1") != (c.outcome == rollout.Pending) {
			t.Errorf("after %+v: got deadline kept %v", c, r.due.has("ep-1"))
		}
	}
}
