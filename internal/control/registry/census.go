package registry

import (
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Census counts hosts for one rollout.
type Census struct {
	Eligible  int64            // have the component and were heard since, or are exposed
	Remaining int64            // of them, not exposed
	Available int64            // of those, picked by the selector, as many as fit
	Preferred int64            // of those, the ones that go first; 0 if nobody is to
	Heard     int64            // of the proving hosts, those heard
	Strata    map[string]int64 // the eligible ones, by stratum; nil if the question names none

	Unfit map[fleet.Posture]int64 // hosts that are not eligible only for want of posture, by what they lack; nil if there are none
}

// Question is whom a census counts.
type Question struct {
	Component string
	Since     time.Time                   // hosts that were not heard since are not waited for
	Exposed   func(fleet.EndpointID) bool // those already exposed count as eligible, heard or not
	Ring      fleet.Selector
	Prefer    fleet.Selector              // who goes first; empty: nobody
	Refused   string                      // manifest: hosts that say they refuse it are not waited for
	Posture   fleet.Posture               // hosts that lack any of it, and are not exposed, are not waited for
	Held      func(fleet.Subject) bool    // hosts that do not get the release are not waited for; nil: none; asked once for hosts that are alike
	Fits      func(fleet.Subject) bool    // whether one more such host may be exposed; asked once for each available host; nil: always
	Proving   func(fleet.EndpointID) bool // hosts that are to be heard; nil: none; as Exposed it must not keep what it is given
	Hearing   time.Time                   // and since when
	Strata    []string                    // what makes a stratum, as in a plan; nil: they are not counted
}

// Count takes a census of the hosts that have the component.
func (r *Registry) Count(q Question) Census {
	c := counter{Question: q, since: r.epoch.instant(q.Since), hearing: r.epoch.instant(q.Hearing)}
	if q.Strata != nil {
		c.Census.Strata = map[string]int64{}
	}
	r.each(c.count)
	return c.Census
}

// counter is a census on its way.
type counter struct {
	Question
	Census
	since, hearing int64
	views          byKind[view]
}

// view is what a question makes of all hosts of one kind.
type view struct {
	has, barred, picked, preferred bool

	subject fleet.Subject
	stratum string
}

// view works out what there is to say of a kind, once.
func (c *counter) view(k *kind) *view {
	v, known := c.views.at(k)
	if known || !k.has(c.Component) {
		return v
	}
	v.has, v.subject = true, k.speaks(c.Component)
	v.barred = c.refuses(k) || c.Held != nil && c.Held(v.subject)
	if c.Question.Strata != nil {
		v.stratum = fleet.Stratum(v.subject, c.Question.Strata)
	}
	v.picked = c.Ring.Matches(v.subject)
	v.preferred = len(c.Prefer) > 0 && c.Prefer.Matches(v.subject)
	return v
}

func (q *Question) refuses(k *kind) bool {
	return q.Refused != "" && slices.Contains(k.inventory.components[q.Component].Refuses, q.Refused)
}

// count counts one host.
func (c *counter) count(h host) {
	v := c.view(h.kind)
	if !v.has {
		return
	}
	at, _ := h.heard()
	if c.Proving != nil && at >= c.hearing && c.Proving(h.id()) {
		c.Heard++
	}
	gone := c.Exposed(h.id())
	if !gone && (at < c.since || v.barred) {
		return
	}
	if lacks := h.posture.Lacks(c.Posture); lacks != 0 && !gone {
		if c.Unfit == nil {
			c.Unfit = map[fleet.Posture]int64{}
		}
		c.Unfit[lacks]++
		return
	}
	c.Eligible++
	if c.Census.Strata != nil {
		c.Census.Strata[v.stratum]++
	}
	if gone {
		return
	}
	c.Remaining++
	if v.picked && (c.Fits == nil || c.Fits(v.subject)) {
		c.Available++
		if v.preferred {
			c.Preferred++
		}
	}
}

// Sizes are how many hosts have a component: in all, by tenant and by site.
type Sizes struct {
	Fleet   int64
	Tenants map[fleet.TenantID]int64
	Sites   map[string]int64
}

// Sizes counts the hosts that have the component. It looks at no host: those that are alike are counted already.
func (r *Registry) Sizes(component string) Sizes {
	s := Sizes{Tenants: map[fleet.TenantID]int64{}, Sites: map[string]int64{}}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range r.kinds.slots {
		if k != nil && k.has(component) {
			s.Fleet += k.hosts
			s.Tenants[k.subject.Tenant] += k.hosts
			s.Sites[k.subject.Attributes.Site] += k.hosts
		}
	}
	return s
}

// Deaf tells whether no host of the component, but those left out, was heard since a time, though at least so many were since an earlier
// one. It looks no further than to the first that was heard.
func (r *Registry) Deaf(component string, since, before time.Time, least int, but func(fleet.EndpointID) bool) bool {
	from, earlier := r.epoch.instant(since), r.epoch.instant(before)
	var having byKind[bool]
	known, heard := 0, false
	r.visitWhile(func(h host) bool {
		has, met := having.at(h.kind)
		if !met {
			*has = h.kind.has(component)
		}
		at, _ := h.heard()
		if *has && at >= earlier && !but(h.id()) {
			known++
			heard = at >= from
		}
		return !heard
	})
	return known >= least && !heard
}

// host is one record that is looked at, under a read lock.
type host struct {
	*record
	kind *kind
	at   *lineup
	i    int // its place in the line
}

// id is the host's name, good for as long as it is looked at: whoever keeps it must copy it, or it keeps those of hundreds of others.
func (h *host) id() fleet.EndpointID { return h.at.id(h.i) }

// glimpse is how many hosts are looked at before whoever waits for the lock has it: a part of a page.
const glimpse = turn / 4

// lineup is the names of the hosts from one place on. They are written down in one piece, when the first of them is asked for.
type lineup struct {
	*Registry
	from, hosts int
	text        string
}

func (l *lineup) id(i int) fleet.EndpointID {
	rows := l.rows(l.from, l.hosts)
	if rows[i].is(oddID) {
		return l.names[uint32(l.from+i)] //nolint:gosec // a place
	}
	if l.text == "" {
		all := make([]byte, 0, l.hosts*idLength)
		for n := range rows {
			all = rows[n].key.append(all)
		}
		l.text = string(all)
	}
	return fleet.EndpointID(l.text[i*idLength : (i+1)*idLength])
}

// each goes through all endpoints in the order in which they came. What is counted so is no picture of one moment.
func (r *Registry) each(look func(host)) {
	r.visitWhile(func(h host) bool {
		look(h)
		return true
	})
}

// visitWhile is each for as long as look wants more.
func (r *Registry) visitWhile(look func(host) (more bool)) {
	for from := 0; r.some(from, look); from += glimpse {
	}
}

// some goes through the next few, and tells whether there is more to look at.
func (r *Registry) some(from int, look func(host) (more bool)) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if from >= r.hosts {
		return false
	}
	all := lineup{Registry: r, from: from, hosts: min(glimpse, r.hosts-from)}
	rows := r.rows(from, all.hosts)
	for i := range rows {
		k := r.kindOf(&rows[i])
		if k == nil {
			continue // it ended
		}
		if !look(host{record: &rows[i], kind: k, at: &all, i: i}) {
			return false
		}
	}
	return true
}

// rows are records of one page; the caller holds the lock.
func (r *Registry) rows(from, hosts int) []record {
	return r.pages[from/turn].rows[from%turn : from%turn+hosts]
}
