package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
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
	c.problems = append(c.problems, p.Calendar.Check("calendar")...)
	c.strata(p.Strata)
	c.problems = append(c.problems, fleet.CheckPosture("posture", p.Posture)...)
	c.emergency(p)
	c.cells(p.Cells)
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
		c.require(r.Hosts >= 0 && r.Hosts <= MaxHosts, path+".hosts", "must be above 0 and at most %d, is %d", int64(MaxHosts), r.Hosts)
		c.share(path+".share", r.Share)
		c.problems = append(c.problems, r.Select.Check(path+".select")...)
		c.problems = append(c.problems, r.Prefer.Check(path+".prefer")...)
		c.problems = append(c.problems, r.Evidence.Check(path+".evidence")...)
		c.reaches(path+".evidence", r)
		c.require(!r.Holdback || i == len(p.Rings)-1, path+".holdback", "only the last ring can be kept back")
		if i > 0 {
			c.grows(path, p.Rings[i-1], r)
		}
	}
	if n := len(p.Rings); n > 0 {
		c.require(p.Rings[0].Share == 0, "rings[0].share", "the first ring must be an absolute number of hosts: a share of a large fleet is many")
		c.require(n == 1 || p.Rings[n-1].Share == 1, fmt.Sprintf("rings[%d].share", n-1), "the last ring must reach the rest of the fleet: share: 1")
	}
}

// reaches asks for no bound that the ring cannot show even if nobody is harmed.
func (c *checker) reaches(path string, r Ring) {
	e := r.Evidence
	best := evidence.UpperBound(0, e.ConfirmedOf(r.Hosts))
	c.require(r.Hosts <= 0 || !(e.ExcessBelow > 0) || best <= e.ExcessBelow, path+".excess_below",
		"cannot be shown by %d hosts: if none of them is harmed, the bound is %.2g, above %g", r.Hosts, best, e.ExcessBelow)
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
	c.require(!(w.Growth > 1) || w.Start <= 0 || w.Growth*float64(w.Start) >= float64(w.Start+1), "window.growth",
		"never adds a host to a window of %d: %g x %d is less than %d", w.Start, w.Growth, w.Start, w.Start+1)
	c.require(w.Max >= w.Start, "window.max", "must not be below window.start: %d is below %d", w.Max, w.Start)
}

func (c *checker) lease(l Lease) {
	c.require(l.Expires > 0, "lease.expires", "must be positive, is %s", l.Expires)
	c.require(l.Deadline > l.Expires, "lease.deadline", "must be longer than lease.expires (%s), is %s", l.Expires, l.Deadline)
}

// strata asks for keys that a selector knows.
func (c *checker) strata(keys []string) {
	for i, key := range keys {
		path := fmt.Sprintf("strata[%d]", i)
		c.require(!slices.Contains(keys[:i], key), path, "is named before: %q", key)
		for _, problem := range (fleet.Selector{key: {""}}).Check("") {
			c.require(false, path, "%s", problem.Message)
		}
	}
}

// emergency keeps what even an emergency must not leave out: the first two rings, the breaker, and a second person.
func (c *checker) emergency(p Plan) {
	c.require(p.Approvals >= 1 && p.Approvals <= 10, "approvals", "is how many people must agree; must be between 1 and 10, is %d", p.Approvals)
	if !p.Emergency {
		return
	}
	c.require(p.Approvals >= EmergencyApprovals, "approvals", "an emergency plan needs at least %d people, is %d", EmergencyApprovals, p.Approvals)
	c.require(len(p.Rings) >= 3 && p.Rings[1].Hosts > 0, "rings", "an emergency plan keeps the first two rings, as absolute numbers of hosts, before it goes wide")
	c.require(p.Breaker.Alpha >= breaker.DefaultAlpha && p.Breaker.Amber <= breaker.DefaultAmber && p.Breaker.Ceiling <= breaker.DefaultCeiling, "breaker",
		"an emergency plan keeps the breaker: alpha at least %g, amber at most %d, ceiling at most %g", breaker.DefaultAlpha, breaker.DefaultAmber, breaker.DefaultCeiling)
}

// budget compares the plan's bound with what its owner accepts, if the parts that make the bound are sound.
func (c *checker) budget(p Plan) {
	b := p.Budget
	c.require(b.Hosts >= 0, "budget.hosts", "must be above 0, is %d", b.Hosts)
	c.require(b.Site >= 0, "budget.site", "must be above 0, is %d", b.Site)
	c.by(b.By)
	if b.Hosts <= 0 && b.Site <= 0 || !p.boundable() {
		return
	}
	bound := p.coveredBound(needsOf(covered(), p.Breaker))
	if b.Hosts > 0 && bound.Hosts > b.Hosts {
		c.require(false, "budget.hosts", "allows %s but the plan can harm %d; make the window's start or growth, or the first ring, smaller. %s",
			harmed(b.Hosts), bound.Hosts, strings.Join(bound.above(b), "; "))
	}
	site := p.site(bound.Hosts)
	c.require(b.Site <= 0 || site <= b.Site, "budget.site", "allows %s in a site of %d but the plan can harm %d of it; set caps.site to %g or less",
		harmed(b.Site), SiteHosts, site, float64(b.Site)/SiteHosts)
}

func (c *checker) by(by string) {
	c.require(by == "" || by == BySilence || by == ByReports, "budget.by", "must be %s or %s, is %q", BySilence, ByReports, by)
}

func harmed(n int64) string {
	if n == 1 {
		return "1 harmed host"
	}
	return fmt.Sprintf("%d harmed hosts", n)
}

// boundable tells whether the parts that make a bound are sound.
func (p Plan) boundable() bool {
	var c checker
	c.window(p.Window)
	c.share("", p.Caps.Site)
	if len(p.Rings) > 0 {
		c.problems = append(c.problems, p.Rings[0].Evidence.Check("")...)
	}
	return len(p.Rings) > 0 && p.Rings[0].Hosts > 0 && p.Rings[0].Hosts <= MaxHosts && len(c.problems)+len(p.Breaker.Check("")) == 0
}
