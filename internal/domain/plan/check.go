package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Check lists everything that is wrong with a defaulted plan, each with its path. An empty list means that it may be used.
func (p Plan) Check() []fault.Problem {
	var c checker
	c.require(Name(p.Name), "name", "must be 1 to 63 lower-case letters, digits and dashes, is %q", p.Name)
	c.rings(p)
	c.window(p.Window)
	c.lease(p.Lease)
	c.share("caps.tenant", p.Caps.Tenant)
	c.share("caps.site", p.Caps.Site)
	c.require(p.Watch > 0, "watch", "must be positive, is %s", p.Watch)
	c.problems = append(c.problems, p.Breaker.Check("breaker")...)
	c.budget(p)
	return c.problems
}

// Name tells whether s can name a component, a plan or a tenant.
func Name(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

type checker struct{ problems []fault.Problem }

func (c *checker) require(ok bool, path, format string, args ...any) {
	if !ok {
		c.problems = append(c.problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) share(path string, v float64) {
	c.require(v >= 0 && v <= 1, path, "is a share; must be between 0 and 1, is %g", v)
}

func (c *checker) rings(p Plan) {
	c.require(len(p.Rings) > 0, "rings", "has no rings; the smallest plan has two")
	c.require(len(p.Rings) != 1, "rings", "has a single ring, which is an all-at-once push; put a small one before it")
	c.require(len(p.Rings) <= MaxRings, "rings", "has %d rings; %d is the most", len(p.Rings), MaxRings)
	names := map[string]bool{}
	for i, r := range p.Rings {
		path := fmt.Sprintf("rings[%d]", i)
		c.require(Name(r.Name), path+".name", "must be 1 to 63 lower-case letters, digits and dashes, is %q", r.Name)
		c.require(!names[r.Name], path+".name", "is used by an earlier ring: %q", r.Name)
		names[r.Name] = true
		c.require((r.Hosts > 0) != (r.Share > 0), path, "needs either hosts (above 0) or share (above 0), not both")
		c.require(r.Hosts >= 0, path+".hosts", "must be above 0, is %d", r.Hosts)
		c.share(path+".share", r.Share)
		c.problems = append(c.problems, r.Select.Check(path+".select")...)
		c.problems = append(c.problems, r.Evidence.Check(path+".evidence")...)
		if i > 0 {
			c.grows(path, p.Rings[i-1], r)
		}
	}
	if n := len(p.Rings); n > 0 {
		c.require(p.Rings[0].Share == 0, "rings[0].share", "the first ring must be an absolute number of hosts: a share of a large fleet is many")
		c.require(n == 1 || p.Rings[n-1].Share == 1, fmt.Sprintf("rings[%d].share", n-1), "the last ring must reach the rest of the fleet: share: 1")
	}
}

func (c *checker) grows(path string, before, r Ring) {
	switch {
	case before.Share > 0 && r.Share == 0:
		c.require(r.Hosts == 0, path+".hosts", "must be a share, as the ring before it is one")
	case before.Share > 0:
		c.require(r.Share > before.Share, path+".share", "must be larger than the ring before it: %g is not above %g", r.Share, before.Share)
	case r.Hosts > 0:
		c.require(r.Hosts > before.Hosts, path+".hosts", "must be larger than the ring before it: %d is not above %d", r.Hosts, before.Hosts)
	}
}

func (c *checker) window(w Window) {
	c.require(w.Start > 0, "window.start", "must be above 0, is %d", w.Start)
	c.require(w.Growth >= 1 && w.Growth <= 10, "window.growth", "must be between 1 and 10, is %g", w.Growth)
	c.require(w.Max >= w.Start, "window.max", "must not be below window.start: %d is below %d", w.Max, w.Start)
}

func (c *checker) lease(l Lease) {
	c.require(l.Expires > 0, "lease.expires", "must be positive, is %s", l.Expires)
	c.require(l.Deadline > l.Expires, "lease.deadline", "must be longer than lease.expires (%s), is %s", l.Expires, l.Deadline)
}

// budget compares the plan's bound with what its owner accepts, if the parts that make the bound are sound.
func (c *checker) budget(p Plan) {
	c.require(p.Budget.Hosts >= 0, "budget.hosts", "must be above 0, is %d", p.Budget.Hosts)
	var parts checker
	parts.window(p.Window)
	if p.Budget.Hosts <= 0 || len(p.Rings) == 0 || p.Rings[0].Hosts <= 0 || len(parts.problems)+len(p.Breaker.Check("")) > 0 {
		return
	}
	if bound := p.Bound(); bound.Hosts > p.Budget.Hosts {
		c.require(false, "budget.hosts", "allows %d harmed hosts but the plan can harm %d; make window.start or the first ring smaller. %s",
			p.Budget.Hosts, bound.Hosts, strings.Join(bound.Steps, "; "))
	}
}

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
	c.require(wanted.Breaker.Alpha >= signed.Breaker.Alpha, "breaker.alpha", "is %g, the signed plan has %g", wanted.Breaker.Alpha, signed.Breaker.Alpha)
	return c.problems
}

func sameSelector(a, b fleet.Selector) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool {
		x, y = slices.Sorted(slices.Values(x)), slices.Sorted(slices.Values(y))
		return slices.Equal(x, y)
	})
}

// asksAsMuch lists what the signed plan wants to see in a ring and the wanted one does not.
func (c *checker) asksAsMuch(path string, signed, wanted evidence.Requirement) {
	c.require(wanted.Confirmed >= signed.Confirmed, path+".confirmed", "is %g, the signed plan has %g", wanted.Confirmed, signed.Confirmed)
	c.require(wanted.Resolved >= signed.Resolved, path+".resolved", "is %g, the signed plan has %g", wanted.Resolved, signed.Resolved)
	c.require(wanted.Boots >= signed.Boots, path+".boots", "is %d, the signed plan has %d", wanted.Boots, signed.Boots)
	c.require(wanted.HostHours >= signed.HostHours, path+".host_hours", "is %g, the signed plan has %g", wanted.HostHours, signed.HostHours)
	c.require(signed.ExcessBelow == 0 || wanted.ExcessBelow > 0 && wanted.ExcessBelow <= signed.ExcessBelow, path+".excess_below",
		"is %g, the signed plan has %g", wanted.ExcessBelow, signed.ExcessBelow)
}

// caps lists caps of the signed plan that the wanted one lifts.
func (c *checker) caps(signed, wanted Caps) {
	lifts := func(s, w float64) bool { return s > 0 && (w == 0 || w > s) }
	c.require(!lifts(signed.Tenant, wanted.Tenant), "caps.tenant", "is %g, the signed plan has %g", wanted.Tenant, signed.Tenant)
	c.require(!lifts(signed.Site, wanted.Site), "caps.site", "is %g, the signed plan has %g", wanted.Site, signed.Site)
}
