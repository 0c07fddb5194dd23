package rollout

import (
	"fmt"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// woke takes the fleet's new count and opens the next ring if the open one has shown enough. Rings also govern a complete rollout:
// it is complete because nobody was left, and whoever comes later gets no more than the open ring holds.
func (t *turn) woke(e Woke) {
	t.Eligible, t.Remaining, t.Available, t.Heard = e.Eligible, e.Remaining, e.Available, e.Heard
	t.Preferred, t.Large, t.Seen, t.Gates, t.Unfit = e.Preferred, e.Large, e.Seen, e.Gates, e.Unfit
	t.look(e.Shut)
	t.settle()
	if t.Armed(t.Last) {
		t.judge()
	}
	t.turnRound()
	if t.Phase != Running && t.Phase != Complete {
		return
	}
	switch {
	case t.Alarm != breaker.Quiet || t.Phase == Running && t.blocked() != "":
	case len(t.missing()) == 0:
		t.advance()
	case t.barred():
		t.advance()
	case t.deserted():
		t.complete("ring %s is open and nobody is left for it", t.Plan.Rings[t.Ring].Name)
	}
	if t.Phase == Running {
		t.do(t.wake())
	}
}

// advance opens the next ring, or completes the rollout when nobody is left to expose.
func (t *turn) advance() {
	done := t.Plan.Rings[t.Ring]
	if t.Plan.Last(t.Ring) || t.Remaining == 0 {
		t.complete("ring %s is confirmed and no eligible host is left", done.Name)
		return
	}
	t.Ring++
	t.Rings[t.Ring].Opened, t.Rings[t.Ring].Size = t.Observed, t.size(t.Ring)
	t.uncounted()
	t.record(DidOpenRing, "ring %s has shown its evidence or has room for nobody; ring %s of %d hosts is open", done.Name, t.Plan.Rings[t.Ring].Name, t.Size())
}

// uncounted is what is known of a ring that just opened: nothing until the next count. The hosts that it prefers go first meanwhile.
func (t *turn) uncounted() {
	ring := &t.Plan.Rings[t.Ring]
	t.Available, t.Heard, t.Seen, t.Gates, t.Free = 0, 0, 0, nil, t.Observed
	t.Preferred, t.Large = int64(min(1, len(ring.Prefer))), 0
	if ring.Evidence.Strata > 0 {
		t.Large = -1
	}
}

// barred tells whether the caps leave nobody for the open ring, as in a small fleet whose tenants have had their share: the evidence of the
// ring before it stands, and the hosts that remain are for the rings that are a share of the fleet. It has baked all the same.
func (t *turn) barred() bool {
	bake := time.Duration(t.Plan.Rings[t.Ring].Evidence.Bake)
	return t.Observed-t.Rings[t.Ring].Opened >= bake && t.Phase == Running && t.Ring > 0 && t.Rings[t.Ring].Leased == 0 && t.Unconfirmed == 0 && t.Available == 0 && t.Remaining > 0 &&
		t.Heard > 0 && t.Plan.Capped(t.Ring) && len(t.Plan.Rings[t.Ring].Select) == 0 && t.Plan.Caps != (plan.Caps{})
}

// deserted tells whether the open ring waits for hosts that are gone: the ones that were to fill it left the fleet, while those of the
// ring before it are heard.
func (t *turn) deserted() bool {
	return t.Phase == Running && t.Ring > 0 && t.Rings[t.Ring].Leased == 0 && t.Remaining == 0 && t.Unconfirmed == 0 && t.Heard > 0
}

func (t *turn) complete(format, ring string) {
	if t.Phase == Complete {
		return
	}
	t.enter(Complete, "every ring is confirmed")
	t.watch()
	t.record(DidComplete, format+": %d of %d exposed hosts confirmed", ring, t.Confirmed(), t.Exposed())
	t.do(PublishDirective{}, Notify{Severity: "info", Text: fmt.Sprintf("%s %s is complete", t.Release.Component, t.Release.Version)})
}

// settle notes when the open ring became full and resolved, which starts its bake. The bake starts over when its hosts are not heard.
func (t *turn) settle() {
	ring := &t.Rings[t.Ring]
	switch {
	case ring.Leased == 0 || ring.Resolved() < t.Plan.Rings[t.Ring].Evidence.ResolvedOf(ring.Leased) || !t.filled():
		ring.Settled = 0
	case ring.Settled == 0:
		ring.Settled = max(t.Observed, 1)
		if t.Phase == Running {
			t.do(t.wake())
		}
	}
}

// filled tells whether the open ring leased all the hosts that it wants, and as many as have to confirm are heard.
func (t *turn) filled() bool {
	taken := t.taken(t.Ring)
	return taken >= t.wanted() && t.Heard >= t.Plan.Rings[t.Ring].Evidence.ConfirmedOf(taken)
}

// wanted is how many hosts the open ring must lease: its size, or all that there are.
func (s *State) wanted() int64 {
	return min(s.Size(), s.taken(s.Ring)+s.Available)
}

// blamed is how many hosts of a ring count against the release in a bound on its harm. Silent ones do where no controls can explain them.
func (s *State) blamed(r RingState) int64 {
	reported := max(0, r.Crashed+r.Reverted-r.Aside)
	for _, c := range s.Breaker.Classes {
		if c.Silence.Control.Watched > 0 {
			return reported
		}
	}
	return reported + r.Silent + r.Late
}

// missing lists the evidence that the open ring still lacks (I4).
func (s *State) missing() []evidence.Lack {
	r := s.Rings[s.Ring]
	facts := evidence.Facts{
		Wanted: s.wanted(), Leased: r.Leased, Places: s.taken(s.Ring), Confirmed: r.Confirmed, Heard: s.Heard, Goodbye: r.Goodbye,
		Harmed: r.Harmed(), Blamed: s.blamed(r), Boots: r.Boots, HostHours: r.HostHours, Large: s.Large, Seen: s.Seen, Gates: s.Gates,
	}
	if r.Settled > 0 {
		facts.Baked = max(0, s.Observed-r.Settled)
	}
	return evidence.Missing(s.Plan.Rings[s.Ring].Evidence, facts)
}

// Missing lists the evidence that the open ring still lacks before the next may open.
func (s *State) Missing() []evidence.Lack {
	if s.Phase == None || s.Phase == Proposed || s.Phase.Final() {
		return nil
	}
	return s.missing()
}

// Waiting says in one sentence why nobody is exposed at this moment, and which hosts are not waited for. When leases would be granted it
// says that no host is asking.
func (s *State) Waiting() Waiting {
	w := s.waiting()
	if s.Unfit.Hosts == 0 || s.Phase.Final() {
		return w
	}
	if w.Code == WaitHosts && s.Available == 0 {
		w.Code = WaitPosture
	}
	w.Text += "; " + s.Unfit.String()
	return w
}

func (s *State) waiting() Waiting {
	switch {
	case s.Phase != Running:
		return s.idle()
	case s.Shut.Closed:
		return Waiting{WaitCalendar, s.Shut.Reason}
	case s.blocked() != "":
		return Waiting{WaitCells, s.blocked()}
	case s.full():
		return s.ringFull()
	case max(s.Unconfirmed, s.Round) >= s.Allowed():
		return s.windowFull()
	case s.Available == 0 && s.Rings[s.Ring].Leased > 0:
		return s.ringFull()
	default:
		return Waiting{WaitHosts, fmt.Sprintf("for prepared hosts to ask: ring %s has room for %d more", s.Plan.Rings[s.Ring].Name,
			s.capacity()-s.taken(s.Ring))}
	}
}

func (s *State) idle() Waiting {
	switch s.Phase {
	case None:
		return Waiting{WaitPhase, "the rollout has not started"}
	case Proposed:
		return Waiting{WaitPhase, fmt.Sprintf("the rollout waits for %d more to agree: 'firebreak rollout approve %s'", s.Plan.Approvals-len(s.Approved), s.ID)}
	case Paused:
		return Waiting{WaitPhase, "the rollout is paused" + detail(s.Reason)}
	case Complete:
		return Waiting{WaitPhase, "the rollout is complete; only latecomers get leases"}
	case Halted, Tripped, RolledBack, Running:
	}
	return Waiting{WaitPhase, fmt.Sprintf("the rollout is %s for good%s", strings.ReplaceAll(string(s.Phase), "_", " "), detail(s.Reason))}
}

func (s *State) ringFull() Waiting {
	lacks := s.missing()
	switch {
	case s.Alarm == breaker.Amber:
		return Waiting{WaitAmber, fmt.Sprintf("evidence %.3g is above amber %g: ring %s is full and no further ring opens; look at the harmed hosts",
			s.Evidence(), s.Plan.Breaker.Amber, s.Plan.Rings[s.Ring].Name)}
	case s.hopeless():
		return Waiting{WaitRing, fmt.Sprintf("ring %s cannot show %s any more: %d of its hosts were harmed; halt the rollout (the release stays usable) or roll it back",
			s.Plan.Rings[s.Ring].Name, lacks[0], s.Rings[s.Ring].Harmed())}
	case len(lacks) == 0:
		return Waiting{WaitRing, fmt.Sprintf("ring %s has shown its evidence; the next one opens at the next look", s.Plan.Rings[s.Ring].Name)}
	}
	names := make([]string, len(lacks))
	for i, l := range lacks {
		names[i] = l.String()
	}
	return Waiting{WaitRing, fmt.Sprintf("ring %s still has to show: %s", s.Plan.Rings[s.Ring].Name, strings.Join(names, ", "))}
}

// hopeless tells whether the open ring is full, every host of it has its outcome, and too few are well.
func (s *State) hopeless() bool {
	r := s.Rings[s.Ring]
	taken := s.taken(s.Ring)
	need := s.Plan.Rings[s.Ring].Evidence.ConfirmedOf(taken)
	return r.Leased > 0 && taken >= s.wanted() && r.Resolved() >= r.Leased && r.Confirmed+r.Goodbye < need
}

func (s *State) windowFull() Waiting {
	if s.Alarm == breaker.Amber {
		return Waiting{WaitAmber, fmt.Sprintf("evidence %.3g is above amber %g: growth is frozen, %d of %d allowed hosts are unconfirmed",
			s.Evidence(), s.Plan.Breaker.Amber, s.Unconfirmed, s.Allowed())}
	}
	return Waiting{WaitWindow, fmt.Sprintf("%d of this round's %d hosts are unconfirmed; the next round begins when they have their outcomes", s.Unconfirmed, s.Allowed())}
}
