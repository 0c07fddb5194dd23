package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Within lists where wanted would expose more or sooner than the plan that was signed with the release allows.
func Within(signed, wanted Plan) []fault.Problem {
	var c checker
	c.require(len(wanted.Rings) >= len(signed.Rings), "rings", "has %d rings, the signed plan %q has %d", len(wanted.Rings), signed.Name, len(signed.Rings))
	for i, r := range wanted.Rings[:min(len(wanted.Rings), len(signed.Rings))] {
		path, s := fmt.Sprintf("rings[%d]", i), signed.Rings[i]
		c.require(s.Share > 0 || r.Share == 0 && r.Hosts <= s.Hosts, path+".hosts", "is wider than the signed plan's %d hosts", s.Hosts)
		c.require(s.Share == 0 || s.Share == 1 || r.Hosts <= signed.Size(i, 0, 0), path+".hosts",
			"is %d, which may be wider than the signed plan's share of %g; write a share", r.Hosts, s.Share)
		c.require(s.Share == 0 || r.Share == 0 || r.Share <= s.Share, path+".share", "is wider than the signed plan's %g", s.Share)
		c.require(wanted.NotBefore(i) >= signed.NotBefore(i), path, "opens after %s, the signed plan after %s", wanted.NotBefore(i), signed.NotBefore(i))
		c.require(sameSelector(s.Select, r.Select), path+".select", "picks other hosts than the signed plan")
		c.asksAsMuch(path+".evidence", s.Evidence, r.Evidence)
	}
	c.caps(signed.Caps, wanted.Caps)
	c.require(wanted.Window.Start <= signed.Window.Start, "window.start", "is %d, the signed plan has %d", wanted.Window.Start, signed.Window.Start)
	c.require(wanted.Window.Growth <= signed.Window.Growth, "window.growth", "is %g, the signed plan has %g", wanted.Window.Growth, signed.Window.Growth)
	c.require(wanted.Window.Max <= signed.Window.Max, "window.max", "is %d, the signed plan has %d", wanted.Window.Max, signed.Window.Max)
	c.require(wanted.Lease.Expires <= signed.Lease.Expires, "lease.expires", "is %s, the signed plan has %s", wanted.Lease.Expires, signed.Lease.Expires)
	c.require(wanted.Lease.Deadline <= signed.Lease.Deadline, "lease.deadline", "is %s, the signed plan has %s", wanted.Lease.Deadline, signed.Lease.Deadline)
	c.require(wanted.Watch >= signed.Watch, "watch", "is %s, the signed plan has %s", wanted.Watch, signed.Watch)
	c.require(wanted.Breaker.Amber <= signed.Breaker.Amber, "breaker.amber", "is %g, the signed plan has %g", wanted.Breaker.Amber, signed.Breaker.Amber)
	c.require(wanted.Breaker.Ceiling <= signed.Breaker.Ceiling, "breaker.ceiling", "is %g, the signed plan has %g", wanted.Breaker.Ceiling, signed.Breaker.Ceiling)
	c.require(wanted.Breaker.Silence <= signed.Breaker.Silence, "breaker.silence", "is %g, the signed plan has %g", wanted.Breaker.Silence, signed.Breaker.Silence)
	c.require(wanted.Approvals >= signed.Approvals, "approvals", "is %d, the signed plan has %d", wanted.Approvals, signed.Approvals)
	c.require(wanted.Emergency || !signed.Emergency, "emergency", "is left out, the signed plan is one")
	c.sameWaves(signed.Cells, wanted.Cells)
	c.opensAsSeldom(signed.Calendar, wanted.Calendar)
	less := fleet.Lacks(signed.Posture, wanted.Posture)
	c.require(len(less) == 0, "posture", "does not ask for %s, as the signed plan does", list(less))
	c.require(sameSet(signed.Strata, wanted.Strata), "strata", "are %s, the signed plan has %s", list(wanted.Strata), list(signed.Strata))
	c.require(wanted.Breaker.Alpha >= signed.Breaker.Alpha, "breaker.alpha", "is %g, the signed plan has %g", wanted.Breaker.Alpha, signed.Breaker.Alpha)
	return c.problems
}

func sameSelector(a, b fleet.Selector) bool { return maps.EqualFunc(a, b, sameSet) }

// sameSet compares lists whose order means nothing.
func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func list(words []string) string { return strings.Join(words, ", ") }

// opensAsSeldom lists what the signed calendar keeps shut and the wanted one may not: a freeze that is left out, or a window that is not one
// of the signed ones. More freezes and fewer windows are narrower; what a freeze is called does not matter.
func (c *checker) opensAsSeldom(signed, wanted calendar.Calendar) {
	for _, s := range signed.Freezes {
		kept := slices.ContainsFunc(wanted.Freezes, func(f calendar.Freeze) bool {
			return f.From == s.From && f.To == s.To && zone(f.Zone) == zone(s.Zone)
		})
		c.require(kept, "calendar.freezes", "leaves out the signed plan's freeze %q (%s to %s)", s.Name, s.From, s.To)
	}
	c.require(len(signed.Windows) == 0 || len(wanted.Windows) > 0, "calendar.windows",
		"are left out, so it is always open; the signed plan has %d", len(signed.Windows))
	for i, w := range wanted.Windows {
		known := len(signed.Windows) == 0 || slices.ContainsFunc(signed.Windows, func(s calendar.Window) bool {
			return sameSet(w.Days, s.Days) && w.From == s.From && w.To == s.To && zone(w.Zone) == zone(s.Zone)
		})
		c.require(known, fmt.Sprintf("calendar.windows[%d]", i), "is none of the signed plan's windows")
	}
}

func zone(name string) string {
	if name == "" {
		return "UTC"
	}
	return name
}

// asksAsMuch lists what the signed plan wants to see in a ring and the wanted one does not.
func (c *checker) asksAsMuch(path string, signed, wanted evidence.Requirement) {
	c.require(wanted.Confirmed >= signed.Confirmed, path+".confirmed", "is %g, the signed plan has %g", wanted.Confirmed, signed.Confirmed)
	c.require(wanted.Resolved >= signed.Resolved, path+".resolved", "is %g, the signed plan has %g", wanted.Resolved, signed.Resolved)
	c.require(wanted.Boots >= signed.Boots, path+".boots", "is %d, the signed plan has %d", wanted.Boots, signed.Boots)
	c.require(wanted.HostHours >= signed.HostHours, path+".host_hours", "is %g, the signed plan has %g", wanted.HostHours, signed.HostHours)
	c.require(signed.Strata == 0 || wanted.Strata > 0 && wanted.Strata <= signed.Strata, path+".strata", "is %g, the signed plan has %g", wanted.Strata, signed.Strata)
	c.require(signed.ExcessBelow == 0 || wanted.ExcessBelow > 0 && wanted.ExcessBelow <= signed.ExcessBelow, path+".excess_below",
		"is %g, the signed plan has %g", wanted.ExcessBelow, signed.ExcessBelow)
	for _, gate := range signed.Gates {
		c.require(slices.ContainsFunc(wanted.Gates, func(g evidence.Gate) bool { return g.AsStrictAs(gate) }), path+".gates",
			"does not ask the signed plan's gate %s, or is met more easily", gate.Name)
	}
}

// caps lists caps of the signed plan that the wanted one lifts.
func (c *checker) caps(signed, wanted Caps) {
	lifts := func(s, w float64) bool { return s > 0 && (w == 0 || w > s) }
	c.require(!lifts(signed.Tenant, wanted.Tenant), "caps.tenant", "is %g, the signed plan has %g", wanted.Tenant, signed.Tenant)
	c.require(!lifts(signed.Site, wanted.Site), "caps.site", "is %g, the signed plan has %g", wanted.Site, signed.Site)
}
