package rollout_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// TestScenarios plays the files of testdata, one behaviour a file. Commands (every one takes t=+10s, the time since the one before):
//
//	start [eligible=40]                          begins the rollout; its input is a plan, a part a line (see planOf)
//	fleet [eligible=41] [tenant=a] [site=s] [size=100]   what the caller counts from now on
//	ask h1..h3 [tenant=a] [site=s] [os=linux]    prepared hosts ask for leases
//	outcome h1..h3 confirmed [was=pending] [ring=0]
//	booted h1..h3 [times=3]
//	recovered h1
//	woke [eligible= remaining= available= heard=]  one look, by default at what the fleet counts to, with all confirmed hosts heard
//	live for=15m                                 a look every half minute
//	operator pause actor=ann [reason=why]
//	state, waiting, missing                      show what there is
//
// With verbose, leases show their times and grants their records. Run with -rewrite to accept what is printed, and read the diff.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			w := &world{hosts: map[string]*host{}, sizes: map[string]int64{}, now: epoch}
			datadriven.RunTest(t, path, w.run)
			replay(t, w.log)
		})
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is the caller of Step: it knows the hosts, which State does not.
type world struct {
	state    rollout.State
	now      time.Time
	eligible int64
	hosts    map[string]*host
	sizes    map[string]int64 // hosts of each "tenant/a" and "site/s"; 100 if not told
	log      []entry
	hasty    bool
}

// failer is a test, or the teller of a story in one.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// host is what the caller remembers of one endpoint.
type host struct {
	subject fleet.Subject
	prior   rollout.Outcome
	ring    int
}

// entry is one step as it would be stored.
type entry struct {
	name    string
	data    []byte
	state   rollout.State
	effects []rollout.Effect
}

func (w *world) run(t *testing.T, d *datadriven.TestData) string {
	if d.HasArg("t") {
		var step string
		d.ScanArgs(t, "t", &step)
		w.now = w.now.Add(duration(t, step))
	}
	switch d.Cmd {
	case "start":
		return w.start(t, d)
	case "fleet":
		return w.fleet(t, d)
	case "ask", "outcome", "booted", "recovered":
		return w.each(t, d)
	case "woke":
		return w.show(d, w.step(t, w.census(t, d)))
	case "live":
		return w.live(t, d)
	case "operator":
		e := rollout.OperatorActed{At: w.now, Action: rollout.Action(d.CmdArgs[0].Key)}
		d.MaybeScanArgs(t, "actor", &e.Actor)
		d.MaybeScanArgs(t, "reason", &e.Reason)
		return w.show(d, w.step(t, e))
	case "state":
		return w.describe()
	case "waiting":
		return w.state.Waiting().Code + ": " + w.state.Waiting().Text
	case "missing":
		return join(w.state.Missing())
	}
	d.Fatalf(t, "unknown command %s", d.Cmd)
	return ""
}

// step applies an event as its stored form reads, and remembers what came of it; a hasty world only applies it.
func (w *world) step(t failer, e rollout.Event) []rollout.Effect {
	t.Helper()
	var effects []rollout.Effect
	if w.hasty {
		w.state, effects = rollout.Step(w.state.Clone(), e)
		return effects
	}
	name, data, err := rollout.EncodeEvent(e)
	if err != nil {
		t.Fatalf("encode %T: %v", e, err)
	}
	stored, err := rollout.DecodeEvent(name, data)
	if err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
	w.state, effects = rollout.Step(w.state.Clone(), stored)
	w.log = append(w.log, entry{name: name, data: data, state: w.state.Clone(), effects: effects})
	return effects
}

// replay plays stored events from the zero state again (I10).
func replay(t failer, log []entry) {
	t.Helper()
	var state rollout.State
	for i, was := range log {
		e, err := rollout.DecodeEvent(was.name, was.data)
		if err != nil {
			t.Fatalf("decode event %d: %v", i, err)
		}
		var effects []rollout.Effect
		state, effects = rollout.Step(state, e)
		if diff := difference(was.state, state); diff != "" {
			t.Fatalf("state after event %d (%s %s) differs in the replay (-first +replay):\n%s", i, was.name, was.data, diff)
		}
		if diff := difference(was.effects, effects); diff != "" {
			t.Fatalf("effects of event %d (%s %s) differ in the replay (-first +replay):\n%s", i, was.name, was.data, diff)
		}
	}
}

// difference is cmp.Diff, quicker when there is none.
func difference(x, y any) string {
	if reflect.DeepEqual(x, y) {
		return ""
	}
	return cmp.Diff(x, y)
}

func (w *world) start(t testing.TB, d *datadriven.TestData) string {
	w.eligible = 40
	d.MaybeScanArgs(t, "eligible", &w.eligible)
	return w.show(d, w.step(t, rollout.Started{
		At: w.now, ID: "r1", Plan: planOf(t, d.Input), Eligible: w.eligible, Actor: "ann",
		Release: rollout.Release{
			Component: "sensor-content", Version: "2", Manifest: release.DigestOf([]byte("manifest")),
			Artifacts: []release.Digest{release.DigestOf([]byte("artifact"))},
		},
	}))
}

func (w *world) fleet(t testing.TB, d *datadriven.TestData) string {
	d.MaybeScanArgs(t, "eligible", &w.eligible)
	for _, kind := range []string{"tenant", "site"} {
		var name string
		if d.MaybeScanArgs(t, kind, &name); name != "" {
			var size int64
			d.ScanArgs(t, "size", &size)
			w.sizes[kind+"/"+name] = size
		}
	}
	return "ok"
}

// each plays a command for every host it names and folds neighbours with equal answers into one line.
func (w *world) each(t testing.TB, d *datadriven.TestData) string {
	var lines []string
	first, last, before := "", "", ""
	flush := func() {
		if label := first; before != "" {
			if first != last {
				label += ".." + last
			}
			lines = append(lines, label+": "+before)
		}
	}
	for _, name := range names(t, d.CmdArgs[0].Key) {
		answer := w.one(t, d, name)
		if answer != before {
			flush()
			first, before = name, answer
		}
		last = name
	}
	flush()
	return strings.Join(lines, "\n")
}

func (w *world) one(t testing.TB, d *datadriven.TestData, name string) string {
	h := w.hosts[name]
	if h == nil {
		h = &host{subject: fleet.Subject{Tenant: "a", Attributes: fleet.Attributes{OS: "linux", Site: "s"}}}
		w.hosts[name] = h
	}
	var effects []rollout.Effect
	switch d.Cmd {
	case "ask":
		effects = w.ask(t, d, name, h)
	case "outcome":
		effects = w.outcome(t, d, name, h)
	case "booted":
		times := 1
		d.MaybeScanArgs(t, "times", &times)
		for range times {
			effects = append(effects, w.step(t, rollout.HostBooted{At: w.now, Endpoint: fleet.EndpointID(name), Ring: h.ring})...)
		}
	case "recovered":
		effects = w.step(t, rollout.HostRecovered{At: w.now, Endpoint: fleet.EndpointID(name), Was: h.prior})
	}
	return strings.ReplaceAll(w.show(d, effects), "\n", "\n    ")
}

func (w *world) ask(t testing.TB, d *datadriven.TestData, name string, h *host) []rollout.Effect {
	var tenant string
	if d.MaybeScanArgs(t, "tenant", &tenant); tenant != "" {
		h.subject.Tenant = fleet.TenantID(tenant)
	}
	d.MaybeScanArgs(t, "site", &h.subject.Attributes.Site)
	d.MaybeScanArgs(t, "os", &h.subject.Attributes.OS)
	asking := rollout.Host{
		Endpoint: fleet.EndpointID(name), Subject: h.subject, Prior: h.prior, PriorRing: h.ring,
		Tenant: w.scope("tenant", string(h.subject.Tenant)), Site: w.scope("site", h.subject.Attributes.Site), Fleet: 1000,
	}
	effects := w.step(t, rollout.LeaseAsked{At: w.now, Host: asking})
	for _, e := range effects {
		if grant, ok := e.(rollout.GrantLease); ok {
			h.prior, h.ring = rollout.Pending, grant.Ring
		}
	}
	return effects
}

func (w *world) outcome(t testing.TB, d *datadriven.TestData, name string, h *host) []rollout.Effect {
	e := rollout.OutcomeKnown{
		At: w.now, Endpoint: fleet.EndpointID(name), Ring: h.ring, Was: h.prior, Outcome: rollout.Outcome(d.CmdArgs[1].Key),
	}
	var was string
	invented := d.MaybeScanArgs(t, "was", &was)
	if invented {
		e.Was = rollout.Outcome(was)
	}
	invented = d.MaybeScanArgs(t, "ring", &e.Ring) || invented
	if to, ok := rollout.Follow(e.Was, e.Outcome); ok && !invented {
		h.prior = to
	}
	return w.step(t, e)
}

func (w *world) live(t testing.TB, d *datadriven.TestData) string {
	var span string
	d.ScanArgs(t, "for", &span)
	var lines []string
	const look = 30 * time.Second
	for left := duration(t, span); left > 0; left -= look {
		w.now = w.now.Add(min(left, look))
		for _, e := range w.step(t, w.census(t, d)) {
			if line := w.line(e, false); line != "" && !strings.HasPrefix(line, "wake") {
				lines = append(lines, fmt.Sprintf("%s %s", offset(w.now), line))
			}
		}
	}
	return orNothing(lines)
}

// census is a look at the fleet: what the caller counts, unless the command tells otherwise.
func (w *world) census(t testing.TB, d *datadriven.TestData) rollout.Woke {
	e := rollout.Woke{At: w.now, Eligible: w.eligible, Remaining: w.eligible - w.exposed("", "")}
	d.MaybeScanArgs(t, "eligible", &e.Eligible)
	d.MaybeScanArgs(t, "remaining", &e.Remaining)
	e.Available = e.Remaining
	d.MaybeScanArgs(t, "available", &e.Available)
	e.Heard = allHeard(w.state)
	d.MaybeScanArgs(t, "heard", &e.Heard)
	return e
}

func (w *world) scope(kind, name string) rollout.Scope {
	size, ok := w.sizes[kind+"/"+name]
	if !ok {
		size = 100
	}
	return rollout.Scope{Name: name, Size: size, Exposed: w.exposed(kind, name)}
}

func (w *world) exposed(kind, name string) int64 {
	var n int64
	for _, h := range w.hosts {
		in := kind == "" || kind == "tenant" && string(h.subject.Tenant) == name || kind == "site" && h.subject.Attributes.Site == name
		if in && h.prior != rollout.Unleased && h.prior != rollout.Rejected {
			n++
		}
	}
	return n
}

func (w *world) show(d *datadriven.TestData, effects []rollout.Effect) string {
	var lines []string
	for _, e := range effects {
		if line := w.line(e, d.HasArg("verbose")); line != "" {
			lines = append(lines, line)
		}
	}
	return orNothing(lines)
}

func (w *world) line(e rollout.Effect, verbose bool) string {
	switch e := e.(type) {
	case rollout.GrantLease:
		line := "granted in " + w.state.Plan.Rings[e.Ring].Name
		if e.Renewed {
			line += " renewed"
		}
		if verbose {
			line += fmt.Sprintf(" issued=%s expires=%s deadline=%s", offset(e.Issued), offset(e.Expires), offset(e.Deadline))
		}
		return line
	case rollout.RefuseLease:
		return "refused: " + e.Waiting.Code
	case rollout.Record:
		if e.Verdict == rollout.DidGrant && !verbose {
			return ""
		}
		return fmt.Sprintf("%s: ring=%d exposed=%d unconfirmed=%d harmed=%d evidence=%.3g %s",
			e.Verdict, e.Ring, e.Exposed, e.Unconfirmed, e.Harmed, e.Evidence, e.Alarm)
	case rollout.PublishDirective:
		return "publish directive"
	case rollout.RecallRelease:
		return "recall release"
	case rollout.OpenIncident:
		return "open incident"
	case rollout.Notify:
		return "notify " + e.Severity
	case rollout.WakeAt:
		return fmt.Sprintf("wake in %s", e.At.Sub(w.now))
	}
	return fmt.Sprintf("unknown effect %T", e)
}

func (w *world) describe() string {
	s := w.state
	var b strings.Builder
	fmt.Fprintf(&b, "phase=%s ring=%d window=%g unconfirmed=%d booked=%d bad=%d evidence=%.3g %s\n",
		s.Phase, s.Ring, s.Window, s.Unconfirmed, s.Breaker.Booked, s.Breaker.Bad, s.Evidence(), s.Alarm)
	fmt.Fprintf(&b, "eligible=%d remaining=%d available=%d observed=%s recovered=%d returned=%d\n",
		s.Eligible, s.Remaining, s.Available, s.Observed, s.Recovered, s.Returned)
	for i, r := range s.Rings {
		fmt.Fprintf(&b, "%s:", s.Plan.Rings[i].Name)
		for _, c := range []struct {
			name string
			n    int64
		}{
			{"leased", r.Leased},
			{"confirmed", r.Confirmed},
			{"crashed", r.Crashed},
			{"reverted", r.Reverted},
			{"silent", r.Silent},
			{"goodbye", r.Goodbye},
			{"late", r.Late},
			{"rejected", r.Rejected},
			{"boots", r.Boots},
		} {
			if c.n != 0 {
				fmt.Fprintf(&b, " %s=%d", c.name, c.n)
			}
		}
		if r.Settled > 0 {
			fmt.Fprintf(&b, " settled=%s", r.Settled)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// planOf reads a plan, a part a line:
//
//	ring NAME hosts=N | share=X [bake=15m] [confirmed=X] [resolved=X] [boots=N] [host_hours=X] [excess_below=X] [os=linux]
//	window start=N growth=X max=N
//	breaker ceiling=X alpha=X amber=X
//	caps tenant=X site=X
//	watch for=72h
//
// Without rings it has three: first of 5, early of 20, and the rest. What is left out takes its default.
func planOf(t testing.TB, input string) plan.Plan {
	t.Helper()
	p := plan.Plan{Name: "scenario"}
	for line := range strings.Lines(input) {
		cmd, args, err := datadriven.ParseLine(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("read plan: %v", err)
		}
		if cmd == "ring" {
			p.Rings = append(p.Rings, plan.Ring{Name: args[0].Key})
			args = args[1:]
		}
		for _, a := range args {
			set(t, &p, cmd, a.Key, a.Vals[0])
		}
	}
	if len(p.Rings) == 0 {
		p.Rings = []plan.Ring{{Name: "first", Hosts: 5}, {Name: "early", Hosts: 20}, {Name: "rest", Share: 1}}
	}
	p = p.Defaulted()
	if problems := p.Check(); len(problems) > 0 {
		t.Fatalf("the plan is wrong: %v", problems)
	}
	return p
}

func set(t testing.TB, p *plan.Plan, cmd, key, value string) {
	t.Helper()
	var ring plan.Ring
	if cmd == "ring" {
		ring = p.Rings[len(p.Rings)-1]
		defer func() { p.Rings[len(p.Rings)-1] = ring }()
	}
	number, err := strconv.ParseFloat(value, 64)
	span := func() plan.Duration { return plan.Duration(duration(t, value)) }
	switch cmd + " " + key {
	case "ring os":
		ring.Select, err = fleet.Selector{"os": {value}}, nil
	case "ring bake":
		ring.Evidence.Bake, err = span(), nil
	case "watch for":
		p.Watch, err = span(), nil
	case "ring hosts":
		ring.Hosts = int64(number)
	case "ring share":
		ring.Share = number
	case "ring confirmed":
		ring.Evidence.Confirmed = number
	case "ring resolved":
		ring.Evidence.Resolved = number
	case "ring boots":
		ring.Evidence.Boots = int64(number)
	case "ring host_hours":
		ring.Evidence.HostHours = number
	case "ring excess_below":
		ring.Evidence.ExcessBelow = number
	case "window start":
		p.Window.Start = int64(number)
	case "window growth":
		p.Window.Growth = number
	case "window max":
		p.Window.Max = int64(number)
	case "breaker ceiling":
		p.Breaker.Ceiling = number
	case "breaker alpha":
		p.Breaker.Alpha = number
	case "breaker amber":
		p.Breaker.Amber = number
	case "caps tenant":
		p.Caps.Tenant = number
	case "caps site":
		p.Caps.Site = number
	default:
		t.Fatalf("unknown part of a plan: %s %s", cmd, key)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", cmd, key, err)
	}
}

// names spells out h1..h3.
func names(t testing.TB, s string) []string {
	t.Helper()
	from, to, ok := strings.Cut(s, "..")
	if !ok {
		return []string{s}
	}
	a, errA := strconv.Atoi(strings.TrimPrefix(from, "h"))
	b, errB := strconv.Atoi(strings.TrimPrefix(to, "h"))
	if errA != nil || errB != nil {
		t.Fatalf("hosts are written h1 or h1..h3, not %s", s)
	}
	var all []string
	for i := a; i <= b; i++ {
		all = append(all, fmt.Sprintf("h%d", i))
	}
	return all
}

func duration(t testing.TB, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("read duration: %v", err)
	}
	return d
}

// offset shows a time as distance from the beginning of the scenario.
func offset(at time.Time) string {
	if at.Before(epoch) {
		return at.Sub(epoch).String()
	}
	return "+" + at.Sub(epoch).String()
}

func join(lacks []evidence.Lack) string {
	var lines []string
	for _, l := range lacks {
		lines = append(lines, l.String())
	}
	return orNothing(lines)
}

func orNothing(lines []string) string {
	if len(lines) == 0 {
		return "nothing"
	}
	return strings.Join(lines, "\n")
}
