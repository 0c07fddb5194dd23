package rollout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// parts are strata of a state made by hand, with their hosts in the first ring.
type part struct {
	name                        string
	pending, confirmed, crashed int64
}

// midway is a rollout in its first ring of 1,000 hosts, in a round of 1,000.
func midway(t testing.TB, parts ...part) rollout.State {
	t.Helper()
	p := planOf(t, "ring first hosts=1000\nring rest share=1\nwindow start=1000 max=100000\nstrata of=os")
	s, _ := rollout.Step(rollout.State{}, rollout.Started{At: epoch, ID: "r", Plan: p, Eligible: 1 << 20, Actor: "ann"})
	ring := &s.Rings[0]
	for _, p := range parts {
		n := p.pending + p.confirmed + p.crashed
		test := breaker.OneArm{Booked: n, Bad: p.crashed}
		s.Strata = append(s.Strata, rollout.Stratum{
			Name: p.name, Select: fleet.Selector{"os": {strings.TrimPrefix(p.name, "os ")}}, Leased: n, Pending: p.pending, Confirmed: p.confirmed, Harmed: p.crashed,
			Slice: breaker.Slice{Crashes: test},
		})
		ring.Leased, ring.Confirmed, ring.Crashed = ring.Leased+n, ring.Confirmed+p.confirmed, ring.Crashed+p.crashed
		s.Unconfirmed, s.Round, s.Proved = s.Unconfirmed+p.pending, s.Round+n, s.Proved+p.confirmed
		s.Breaker.Crashes.Booked, s.Breaker.Crashes.Bad = s.Breaker.Crashes.Booked+n, s.Breaker.Crashes.Bad+p.crashed
	}
	return s
}

// known is an outcome of a pending host of a stratum in the first ring.
func known(stratum string, outcome rollout.Outcome) rollout.OutcomeKnown {
	return rollout.OutcomeKnown{At: epoch, Endpoint: "h", Was: rollout.Pending, Outcome: outcome, Stratum: stratum}
}

func askedOf(os string) rollout.LeaseAsked {
	host := rollout.Host{Endpoint: "h", Sought: true, Stratum: "os " + os, Subject: fleet.Subject{Tenant: "a", Attributes: fleet.Attributes{OS: os}}, Fleet: 1 << 20}
	return rollout.LeaseAsked{At: epoch, Host: host}
}

func refusal(effects []rollout.Effect) string {
	for _, e := range effects {
		if refused, ok := e.(rollout.RefuseLease); ok {
			return refused.Waiting.Code
		}
	}
	return "granted"
}

// A round ends with an outcome when its leases are out and all but a hundredth have theirs.
func TestRoundsEnd(t *testing.T) {
	t.Parallel()
	const stays = -1
	for name, test := range map[string]struct {
		window, growth                     float64
		round, proved, unconfirmed, leased int64 // before one more host confirms
		amber                              bool
		want                               float64 // the window of the next round
	}{
		"the last of a round":          {8, 2, 8, 7, 1, 8, false, 16},
		"not the last":                 {8, 2, 8, 6, 2, 8, false, stays},
		"leases are left":              {8, 2, 7, 6, 1, 7, false, stays},
		"a hundredth may be missing":   {200, 2, 200, 197, 3, 200, false, 396},
		"but not more":                 {200, 2, 200, 196, 4, 200, false, stays},
		"of 99 nobody may":             {99, 2, 99, 97, 2, 99, false, stays},
		"harmed hosts bring no growth": {8, 2, 8, 4, 1, 8, false, 10},
		"too few to grow":              {8, 2, 8, 1, 1, 8, false, 8},
		"none confirmed before":        {8, 2, 8, 0, 1, 8, false, 8},
		"a fixed window":               {8, 1, 8, 7, 1, 8, false, 8},
		"tenfold":                      {8, 10, 8, 7, 1, 8, false, 80},
		"the plan's largest":           {600, 10, 600, 593, 7, 600, false, 1000},
		"more than was leased":         {8, 2, 8, 20, 1, 8, false, 16}, // latecomers of the round before
		"it proves again":              {8, 2, 8, -3, 1, 8, false, 8},
		"no growth at amber":           {8, 2, 8, 7, 1, 8, true, 8},
		"the ring is full":             {800, 2, 100, 99, 1, 1000, false, 800},
		"a full ring grows in part":    {80, 2, 70, 69, 1, 1000, false, 140},
	} {
		s := midway(t, part{"os linux", test.unconfirmed, test.leased - test.unconfirmed, 0})
		s.Window, s.Plan.Window.Growth, s.Plan.Window.Max, s.Round, s.Proved = test.window, test.growth, 1000, test.round, test.proved
		if test.amber {
			s.Alarm, s.Breaker.Crashes = breaker.Amber, breaker.OneArm{Booked: 4, Bad: 2}
		}
		s, _ = rollout.Step(s, known("os linux", rollout.Confirmed))
		switch {
		case test.want == stays && (s.Window != test.window || s.Round != test.round || s.Proved != test.proved+1):
			t.Errorf("%s: got window %g, round %d, proved %d, want the round to go on", name, s.Window, s.Round, s.Proved)
		case test.want != stays && (s.Window != test.want || s.Round != 0 || s.Proved != 0):
			t.Errorf("%s: got window %g, round %d, proved %d, want %g and a new round", name, s.Window, s.Round, s.Proved, test.want)
		}
	}
}

// Amber may shrink the window below what is out in this round already, with nobody left to wait for: the next round begins all the same.
func TestRoundsEndWhenTheWindowShrinks(t *testing.T) {
	t.Parallel()
	s := midway(t, part{"os linux", 1, 4, 1})
	s.Window, s.Round, s.Proved = 8, 6, 4
	s, _ = rollout.Step(s, known("os linux", rollout.Crashed))
	if s.Alarm != breaker.Amber || s.Window != 4 || s.Round != 0 {
		t.Fatalf("got alarm %s, window %g, round %d, want amber, 4 and a new round", s.Alarm, s.Window, s.Round)
	}
	_, effects := rollout.Step(s.Clone(), askedOf("linux"))
	if got := refusal(effects); got != "granted" {
		t.Errorf("got %s, want the next host to be probed", got)
	}
	s.Round = 4 // leases of the round are out, but their hosts vanished from the count: a look ends it
	s, _ = rollout.Step(s, rollout.Woke{At: epoch, Eligible: 100, Remaining: 90, Available: 90})
	if s.Round != 0 {
		t.Errorf("got round %d after a look, want a new one", s.Round)
	}
}

// The place of a host that left is given again, at most as often as the ring has places.
func TestPlacesAreGivenAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ring rollout.RingState
		want string
	}{
		"room for one":          {rollout.RingState{Leased: 999, Confirmed: 999}, "granted"},
		"full":                  {rollout.RingState{Leased: 1000, Confirmed: 1000}, rollout.WaitRing},
		"one silent":            {rollout.RingState{Leased: 1000, Confirmed: 999, Silent: 1}, "granted"},
		"one late":              {rollout.RingState{Leased: 1000, Confirmed: 999, Late: 1}, "granted"},
		"one said goodbye":      {rollout.RingState{Leased: 1000, Confirmed: 999, Goodbye: 1}, "granted"},
		"one set aside":         {rollout.RingState{Leased: 1000, Confirmed: 999, Crashed: 1, Aside: 1}, "granted"},
		"one crashed":           {rollout.RingState{Leased: 1000, Confirmed: 999, Crashed: 1}, rollout.WaitRing},
		"taken again":           {rollout.RingState{Leased: 1001, Confirmed: 1000, Silent: 1}, rollout.WaitRing},
		"all of them":           {rollout.RingState{Leased: 1999, Confirmed: 999, Silent: 1000}, "granted"},
		"not more than that":    {rollout.RingState{Leased: 2000, Confirmed: 900, Silent: 1100}, rollout.WaitRing},
		"whatever the reason":   {rollout.RingState{Leased: 2000, Silent: 1000, Goodbye: 1000}, rollout.WaitRing},
		"it came back meantime": {rollout.RingState{Leased: 1003, Confirmed: 1003}, rollout.WaitRing},
	} {
		s := midway(t)
		s.Rings[0] = test.ring
		_, effects := rollout.Step(s, askedOf("linux"))
		if got := refusal(effects); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
	for leased, want := range map[int64]string{1999: "granted", 2000: rollout.WaitAmber} {
		s := midway(t)
		s.Rings[0], s.Alarm = rollout.RingState{Leased: leased, Confirmed: leased}, breaker.Amber
		if _, effects := rollout.Step(s, askedOf("linux")); refusal(effects) != want {
			t.Errorf("at amber, %d of 1,000 leased: got %s, want %s", leased, refusal(effects), want)
		}
	}
}

// The window has room for a host, or says why not.
func TestCrowded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		window             float64
		round, unconfirmed int64
		alarm              breaker.Alarm
		suspect            bool // windows looks suspicious
		probed             int64
		os, want           string
	}{
		"room for one":                   {8, 7, 3, breaker.Quiet, false, 0, "linux", "granted"},
		"all leases are out":             {8, 8, 3, breaker.Quiet, false, 0, "linux", rollout.WaitWindow},
		"all are unconfirmed":            {8, 3, 8, breaker.Quiet, false, 0, "linux", rollout.WaitWindow},
		"more than that":                 {8, 3, 9, breaker.Quiet, false, 0, "linux", rollout.WaitWindow},
		"at amber":                       {8, 8, 3, breaker.Amber, false, 0, "linux", rollout.WaitAmber},
		"less than one":                  {0.5, 0, 0, breaker.Quiet, false, 0, "linux", "granted"},
		"a suspect":                      {8, 0, 0, breaker.Quiet, true, 0, "windows", "granted"},
		"a second":                       {8, 1, 1, breaker.Quiet, true, 1, "windows", "granted"},
		"not a third":                    {8, 2, 2, breaker.Quiet, true, 2, "windows", rollout.WaitStratum},
		"others go on":                   {8, 7, 7, breaker.Quiet, true, 2, "linux", "granted"},
		"at amber two are kept":          {8, 6, 6, breaker.Amber, true, 0, "linux", rollout.WaitAmber},
		"up to them":                     {8, 5, 5, breaker.Amber, true, 0, "linux", "granted"},
		"for the suspects":               {8, 7, 7, breaker.Amber, true, 1, "windows", "granted"},
		"and given up when they are out": {8, 7, 7, breaker.Amber, true, 2, "linux", "granted"},
		"of one none is kept":            {1, 0, 0, breaker.Amber, true, 0, "linux", "granted"},
		"nor of two":                     {2, 1, 1, breaker.Amber, true, 0, "linux", rollout.WaitAmber},
		"an unknown stratum":             {8, 5, 5, breaker.Amber, true, 0, "plan9", "granted"},
	} {
		s := midway(t, part{"os linux", 5, 0, 0}, part{"os windows", test.probed, 0, 1})
		s.Window, s.Round, s.Unconfirmed, s.Alarm, s.Strata[1].Suspect = test.window, test.round, test.unconfirmed, test.alarm, test.suspect
		_, effects := rollout.Step(s, askedOf(test.os))
		if got := refusal(effects); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

// One stratum is held alone when without it the rest is quiet, and well on twenty hosts; otherwise the whole rollout trips.
func TestCulprit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		parts []part // one more host of the last crashes
		want  []string
	}{
		"it alone":                  {[]part{{"os linux", 9, 20, 0}, {"os windows", 1, 0, 3}}, []string{"os windows"}},
		"too few are well":          {[]part{{"os linux", 9, 19, 0}, {"os windows", 1, 0, 3}}, nil},
		"its own are no witnesses":  {[]part{{"os linux", 9, 15, 0}, {"os windows", 1, 15, 4}}, nil},
		"the rest is not quiet":     {[]part{{"os linux", 9, 30, 2}, {"os windows", 1, 0, 3}}, nil},
		"one elsewhere is quiet":    {[]part{{"os linux", 9, 90, 1}, {"os windows", 1, 0, 4}}, []string{"os windows"}},
		"two at once":               {[]part{{"os linux", 9, 40, 0}, {"os plan9", 0, 0, 3}, {"os windows", 1, 0, 3}}, nil},
		"the only one":              {[]part{{"os windows", 1, 40, 5}}, nil},
		"the one that reported not": {[]part{{"os plan9", 0, 5, 4}, {"os linux", 1, 80, 0}}, []string{"os plan9"}},
	} {
		s := midway(t, test.parts...)
		last := test.parts[len(test.parts)-1].name
		s, effects := rollout.Step(s, known(last, rollout.Crashed))
		var held []string
		for _, stratum := range s.Strata {
			if stratum.Held {
				held = append(held, stratum.Name)
			}
		}
		if fmt.Sprint(held) != fmt.Sprint(test.want) || (s.Phase == rollout.Tripped) != (test.want == nil) {
			t.Errorf("%s: got %s, holding %q, want %q held; effects %v", name, s.Phase, held, test.want, effects)
		}
		if test.want != nil && (s.Alarm != breaker.Quiet || len(s.Holds) != 1) {
			t.Errorf("%s: got alarm %s and holds %v, want quiet and one hold", name, s.Alarm, s.Holds)
		}
	}
}

// Reported harm of one tenant or site is set aside when enough others are well and it reports more than everybody else together.
func TestIsolated(t *testing.T) {
	t.Parallel()
	scope := func(name string, size, exposed, harmed int64) rollout.Scope {
		return rollout.Scope{Name: name, Size: size, Exposed: exposed, Harmed: harmed}
	}
	for name, test := range map[string]struct {
		confirmed, bad int64 // of the rollout before; the harmed ones of the scope are among the bad
		tenant, site   rollout.Scope
		aside          bool
		held           string
	}{
		"the first report counts":       {40, 0, scope("a", 100, 5, 0), scope("", 0, 0, 0), false, ""},
		"the second does not":           {40, 1, scope("a", 100, 15, 1), scope("", 0, 0, 0), true, ""},
		"and may hold it":               {40, 1, scope("a", 100, 2, 1), scope("", 0, 0, 0), true, "tenant a"},
		"others' reports give it votes": {40, 3, scope("a", 100, 5, 1), scope("", 0, 0, 0), false, ""},
		"as many":                       {40, 3, scope("a", 100, 5, 2), scope("", 0, 0, 0), true, "tenant a"},
		"nobody else is well":           {23, 1, scope("a", 100, 5, 1), scope("", 0, 0, 0), false, ""},
		"twenty are":                    {24, 1, scope("a", 100, 5, 1), scope("", 0, 0, 0), true, ""},
		"it is the whole fleet":         {40, 1, scope("a", 1000, 5, 1), scope("", 0, 0, 0), false, ""},
		"nobody knows how large":        {40, 1, scope("a", 0, 0, 0), scope("", 0, 0, 0), false, ""},
		"it has no name":                {40, 1, scope("", 100, 5, 1), scope("", 100, 5, 1), false, ""},
		"a site of the whole fleet's":   {40, 1, scope("a", 1000, 5, 1), scope("s", 100, 2, 1), true, "site s"},
	} {
		s := midway(t, part{"os linux", 9, test.confirmed, test.bad})
		e := known("os linux", rollout.Crashed)
		e.Tenant, e.Site, e.Fleet = test.tenant, test.site, 1000
		s, _ = rollout.Step(s, e)
		held := ""
		for _, h := range s.Holds {
			held += h.Select.String()
		}
		if got := s.Breaker.Crashes.Bad == test.bad; got != test.aside || s.Rings[0].Aside == 1 != test.aside || held != test.held {
			t.Errorf("%s: got it set aside: %t (%d in the ring), held %q, want %t and %q", name, got, s.Rings[0].Aside, held, test.aside, test.held)
		}
	}
}

// Harm in a stratum that is held already is no reason to hold its hosts' tenant too.
func TestHeldStratumIsNoTenantsAffair(t *testing.T) {
	t.Parallel()
	s := midway(t, part{"os linux", 9, 40, 0}, part{"os windows", 4, 0, 3})
	s, _ = rollout.Step(s, known("os windows", rollout.Crashed))
	for i := range int64(3) {
		e := known("os windows", rollout.Crashed)
		e.Tenant, e.Fleet = rollout.Scope{Name: "a", Size: 100, Exposed: 8, Harmed: 4 + i}, 1000
		s, _ = rollout.Step(s, e)
	}
	if len(s.Holds) != 1 || s.Strata[1].Crashes.Bad != 7 || s.Breaker.Crashes.Bad != 0 {
		t.Errorf("got holds %v, %+v in the stratum and %+v in the rest", s.Holds, s.Strata[1].Crashes, s.Breaker.Crashes)
	}
}

// A stratum whose hold is lifted is in the test again with the hosts that are well or on the way, and without what happened to the others.
func TestUnheldStratumStartsAnew(t *testing.T) {
	t.Parallel()
	s := midway(t, part{"os linux", 9, 40, 0}, part{"os windows", 3, 3, 4})
	s, _ = rollout.Step(s, known("os windows", rollout.Crashed))
	if want := (breaker.OneArm{Booked: 49}); !s.Strata[1].Held || s.Breaker.Crashes != want {
		t.Fatalf("got %+v in the rest, want %+v and the stratum held", s.Breaker.Crashes, want)
	}
	s, _ = rollout.Step(s, known("os windows", rollout.Goodbye)) // leaves the test of a held stratum too
	s, _ = rollout.Step(s, rollout.OperatorActed{At: epoch, Action: rollout.Unhold, Actor: "ann", Select: s.Strata[1].Select})
	own, all := breaker.OneArm{Booked: 4}, breaker.OneArm{Booked: 53}
	if s.Strata[1].Held || s.Strata[1].Crashes != own || s.Breaker.Crashes != all {
		t.Errorf("got %+v of the stratum and %+v of all, want %+v and %+v", s.Strata[1].Crashes, s.Breaker.Crashes, own, all)
	}
}

// A calendar's answer is kept until it may change, and asked for anew when the clock or the freezes are set.
func TestShut(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return epoch.AddDate(0, 0, n) }
	freeze := func(name string, from, to string) calendar.Calendar {
		return calendar.Calendar{Freezes: []calendar.Freeze{{Name: name, From: calendar.Date("2026-03-" + from), To: calendar.Date("2026-03-" + to)}}}
	}
	start := func(plan, all calendar.Calendar, at time.Time) rollout.State {
		p := planOf(t, "")
		p.Calendar = plan
		s, _ := dated(rollout.State{}, rollout.Started{At: at, Plan: p, Eligible: 9, Actor: "ann", Freezes: all})
		return s
	}
	ask := func(s rollout.State, at time.Time) string {
		e := askedOf("linux")
		e.At = at
		_, effects := dated(s.Clone(), e)
		return refusal(effects)
	}
	none := calendar.Calendar{}
	later := start(freeze("late", "05", "06"), freeze("sooner", "03", "03"), day(0))
	for name, test := range map[string]struct {
		s    rollout.State
		at   time.Time
		want string
	}{
		"no calendars":            {start(none, none, day(0)), day(900), "granted"},
		"open":                    {later, day(0), "granted"},
		"until the sooner begins": {later, time.Date(2026, 3, 2, 23, 59, 59, 0, time.UTC), "granted"},
		"the installation's":      {later, day(2), rollout.WaitCalendar},
		"between":                 {later, day(3), "granted"},
		"the plan's":              {later, day(4), rollout.WaitCalendar},
		"over for ever":           {start(freeze("late", "05", "06"), none, day(20)), day(21), "granted"},
		"before it began":         {start(freeze("late", "05", "06"), none, day(20)), day(4), rollout.WaitCalendar},
		"closed at the start":     {start(none, freeze("now", "01", "01"), day(0)), day(0), rollout.WaitCalendar},
		"a broken calendar":       {start(none, freeze("", "01", "99"), day(0)), day(900), rollout.WaitCalendar},
	} {
		if got := ask(test.s, test.at); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
	frozen, _ := dated(later.Clone(), rollout.FreezesSet{At: day(0), Freezes: freeze("now", "01", "02"), Actor: "ann"})
	if got := ask(frozen, day(0)); got != rollout.WaitCalendar {
		t.Errorf("got %s after a freeze was set, want %s", got, rollout.WaitCalendar)
	}
	thawed, _ := dated(frozen.Clone(), rollout.FreezesSet{At: day(0), Actor: "ann"})
	if got := ask(thawed, day(0)); got != "granted" {
		t.Errorf("got %s after it was lifted, want granted", got)
	}
	if !frozen.Shut.Closed || !strings.Contains(frozen.Waiting().Text, "now") {
		t.Errorf("got %+v, want the freeze by name", frozen.Waiting())
	}
}

// dated does as the hosts of Step do.
func dated(s rollout.State, e rollout.Event) (rollout.State, []rollout.Effect) {
	return rollout.Step(s, rollout.Dated(s, e))
}

// What cannot have been watched changes nothing, and what hosts say of themselves does not make the state grow for ever.
func TestImpossibleComparisons(t *testing.T) {
	t.Parallel()
	s := midway(t, part{"os linux", 9, 20, 0})
	for _, arm := range []breaker.Arm{{Watched: -1}, {Watched: 1, Showed: 2}, {Watched: 1, Showed: -1}, {Watched: 1 << 62, Showed: 1}} {
		for _, e := range []rollout.Compared{
			{At: epoch, Signal: breaker.Silence, Class: "server", Control: arm, Exposed: []rollout.StratumArm{{Stratum: "os linux", Arm: breaker.Arm{Watched: 2, Showed: 2}}}},
			{At: epoch, Signal: breaker.Silence, Class: "server", Control: breaker.Arm{Watched: 1000}, Exposed: []rollout.StratumArm{{Stratum: "os linux", Arm: arm}}},
		} {
			got, effects := rollout.Step(s.Clone(), e)
			if diff := difference(s, got); diff != "" || effects != nil {
				t.Errorf("%+v changed the state, with effects %v:\n%s", e, effects, diff)
			}
		}
	}
}

func TestStrataAreBounded(t *testing.T) {
	t.Parallel()
	const most = 4096
	s := midway(t)
	s.Window, s.Plan.Rings[0].Hosts = 1e6, 1e6
	for i := range most + 10 {
		s, _ = rollout.Step(s, askedOf(fmt.Sprint(i)))
	}
	last := "os " + fmt.Sprint(most+9)
	s, _ = rollout.Step(s, known(last, rollout.Confirmed))
	s, _ = rollout.Step(s, known(last, rollout.Crashed))
	if test := s.Breaker.Crashes; len(s.Strata) != most || s.Exposed() != most+10 || test.Booked != most+10 || test.Bad != 1 {
		t.Errorf("got %d strata, %d hosts exposed, %+v tested, want %d, %d and all of them tested, one bad", len(s.Strata), s.Exposed(), test, most, most+10)
	}
	e := rollout.Compared{
		At: epoch, Signal: breaker.Silence, Class: "server", Control: breaker.Arm{Watched: 2000},
		Exposed: []rollout.StratumArm{{Stratum: last, Arm: breaker.Arm{Watched: 3, Showed: 3}}},
	}
	if s, _ = rollout.Step(s, e); s.Alarm == breaker.Quiet {
		t.Error("silence of hosts beyond the known strata is not compared")
	}
}
