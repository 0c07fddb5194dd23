package sim

import (
	"slices"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// happen plays what is due to a host.
func (w *world) happen(h happening) {
	i := h.host
	switch h.what {
	case confirms:
		if !w.isBroken(i) && w.outcome[i] == pending {
			w.tell(i, confirmed)
			w.enlist(i)
		}
	case breaks:
		w.breakDown(i)
	case reports:
		if w.isBroken(i) {
			w.tell(i, crashed)
			w.recover(i)
		}
	case blames:
		w.tell(i, crashed)
	case recovers:
		w.step(rollout.HostRecovered{At: w.time(), Endpoint: "ep-sim", Was: told(w.outcome[i])})
	case boots:
		if !w.isBroken(i) && w.outcome[i] == confirmed {
			w.step(rollout.HostBooted{At: w.time(), Endpoint: "ep-sim", Ring: int(w.ring[i])})
		}
	case leaves:
		if !w.isBroken(i) && w.outcome[i] == pending {
			w.tell(i, goodbye)
		}
	case returns:
		if !w.isBroken(i) && w.outcome[i] == goodbye {
			w.tell(i, pending)
			w.queue.add(w.now+int32(seconds(w.Soak)), happening{i, confirms})
			w.queue.add(w.now+w.deadline+1, happening{i, expires})
		}
	case expires:
		w.expire(i)
	case wakes:
		if !w.isBroken(i) && w.outcome[i] == silent {
			w.tell(i, late)
		}
	}
}

// tell reports an outcome to the machine.
func (w *world) tell(i host, to uint8) {
	was := told(w.outcome[i])
	heard := told(to)
	if _, follows := rollout.Follow(was, heard); !follows {
		return
	}
	t := w.traits(i)
	e := rollout.OutcomeKnown{
		At: w.time(), Endpoint: "ep-sim", Ring: int(w.ring[i]), Was: was, Outcome: heard, Stratum: w.strata[t.class][t.stratum],
	}
	if to == crashed {
		e.Tenant, e.Site = w.scopes(t)
		e.Fleet = w.Fleet.Hosts
		w.siteHarm[t.site]++
		w.tenHarm[t.tenant]++
	}
	switch {
	case to == confirmed:
		w.heard[w.ring[i]]++
	case was == rollout.Confirmed && !w.isBroken(i):
		w.heard[w.ring[i]]--
	}
	w.outcome[i] = to
	w.step(e)
}

// breakDown harms a host, unless a recall reached it first.
func (w *world) breakDown(i host) {
	if w.reached(i) {
		return
	}
	w.broken[i/64] |= 1 << (i % 64)
	w.result.Harmed++
	w.result.harm(w.now)
	if !w.recovers {
		w.result.NeedsHands++
	}
	if w.outcome[i] == confirmed {
		w.heard[w.ring[i]]--
	}
}

// reached tells whether the news of a recall or a hold is with the host by now: it polls.
func (w *world) reached(i host) bool {
	t := w.traits(i)
	gone := w.recalled > 0 && w.now >= w.recalled+w.rng.within(seconds(w.Poll))
	return gone || w.heldBack(t)
}

func (w *world) heldBack(t traits) bool {
	name := w.strata[t.class][t.stratum]
	for i := range w.state.Strata {
		if s := &w.state.Strata[i]; s.Held && s.Name == name {
			return true
		}
	}
	return false
}

func (w *world) isBroken(i host) bool { return w.broken[i/64]&(1<<(i%64)) != 0 }

// recover brings a harmed host back, if it can by itself.
func (w *world) recover(i host) {
	if w.recovers {
		w.step(rollout.HostRecovered{At: w.time(), Endpoint: "ep-sim", Was: told(w.outcome[i])})
	}
}

// expire calls a host silent at its deadline. While an outage keeps nearly everybody from being heard, deadlines wait.
func (w *world) expire(i host) {
	if w.outcome[i] != pending {
		return
	}
	if w.cutOff(w.now, -1, -1) > 0.9 {
		w.queue.add(w.now+60, happening{i, expires})
		return
	}
	w.tell(i, silent)
}

const (
	vigilEvery = 300 // seconds
	vigilHosts = 200
	veterans   = 4096
)

// vigil watches confirmed hosts: one that bricks later and cannot say so must be missed by somebody.
type vigil struct {
	opened, at int32
	hosts      []host // heard when it was opened
	swings     []float64
}

// enlist keeps some of the confirmed hosts for the vigil.
func (w *world) enlist(i host) {
	if len(w.veteran) < veterans {
		w.veteran = append(w.veteran, i)
		return
	}
	if k := w.rng.IntN(int(w.exposed)); k < veterans {
		w.veteran[k] = i
	}
}

func (w *world) vigil() {
	if w.now%vigilEvery == 0 && w.state.Armed(w.time()) && len(w.veteran) > 0 {
		v := vigil{opened: w.now, at: w.now + w.deadline, swings: slices.Clone(w.swings)}
		for range min(vigilHosts, len(w.veteran)) {
			i := w.veteran[w.rng.IntN(len(w.veteran))]
			if t := w.traits(i); !w.isBroken(i) && !w.rng.is(w.cutOff(w.now, t.region, t.site)) { // it is heard now
				v.hosts = append(v.hosts, i)
			}
		}
		w.vigils = append(w.vigils, v)
	}
	if len(w.vigils) > 0 && w.vigils[0].at <= w.now {
		v := w.vigils[0]
		w.vigils = w.vigils[1:]
		w.relieve(v)
	}
}

// relieve ends a vigil: who of the hosts is not heard?
func (w *world) relieve(v vigil) {
	strata := make([][]watched, len(w.Classes))
	seen, sites := map[host]bool{}, map[int64]bool{}
	for _, i := range v.hosts {
		t := w.traits(i)
		if seen[i] || w.apart >= manySites && sites[t.site] && !w.nameless(t.site) {
			continue
		}
		seen[i], sites[t.site] = true, true
		if strata[t.class] == nil {
			strata[t.class] = make([]watched, w.Strata)
		}
		asleep := w.rng.is(baseline(w.Classes[t.class].Silence, v.swings[t.class])) || w.rng.is(w.cutSince(v.opened, w.now, t.region, t.site))
		arm := &strata[t.class][t.stratum]
		arm.hosts++
		arm.silent += count(asleep || w.isBroken(i) && w.outcome[i] == confirmed)
	}
	for class := range strata {
		if strata[class] != nil {
			w.compareClass(breaker.Silence, class, strata[class], v.swings[class], v.opened)
		}
	}
}
