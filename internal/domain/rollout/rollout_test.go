package rollout_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// TestScenarios plays the files of testdata, one behaviour a file. Commands (every one takes t=+10s, the time since the one before):
//
//	start [eligible=40] [actor=ann]              begins the rollout; its input is a plan, a part a line (see planOf)
//	fleet [eligible=41] [tenant=a] [site=s] [size=100]   what the caller counts from now on
//	ask h1..h3 [tenant=a] [site=s] [os=linux] [kernel=6.1] [busy=r2] [posture=(guard,watchdog)]   prepared hosts ask for leases
//	outcome h1..h3 confirmed [was=pending] [ring=0] [blamed=(why)]
//	compared silence h1..h3 control=0/1000 [class=server] [showed=2]   a watch ends: the signal of these hosts, as their outcomes tell it,
//	                                             beside that of controls; or told by showed
//	booted h1..h3 [times=3]
//	recovered h1
//	woke [eligible= remaining= available= heard= preferred= large= seen= gate=(errors,met,0.01) watchdog=3 guard=1 unfit=3]
//	                                             one look, by default at what the fleet counts to, with all confirmed hosts heard
//	live for=15m                                 a look every half minute
//	operator pause actor=ann [reason=why]
//	operator hold actor=ann os=linux             hold and unhold take a selector
//	freeze actor=ann [name=feast from=2026-03-01 to=2026-03-02]   sets the installation's freezes, or lifts them
//	state, waiting, missing, holds               show what there is
//
// With verbose, leases show their times and why they were granted, and records their reasons. Run with -rewrite to accept what is printed,
// and read the diff.
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
	stratum string // of its lease
	watched bool   // its silence was compared
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
		return w.show(d, w.step(t, w.command(d)))
	case "compared":
		return w.show(d, w.step(t, w.comparison(t, d)))
	case "freeze":
		e := rollout.FreezesSet{At: w.now}
		var name, from, to string
		d.MaybeScanArgs(t, "actor", &e.Actor)
		if d.MaybeScanArgs(t, "name", &name); name != "" {
			d.ScanArgs(t, "from", &from)
			d.ScanArgs(t, "to", &to)
			e.Freezes.Freezes = []calendar.Freeze{{Name: name, From: calendar.Date(from), To: calendar.Date(to)}}
		}
		return w.show(d, w.step(t, e))
	case "cells":
		return w.show(d, w.step(t, rollout.CellsHeard{At: w.now, Cells: w.cells(t, d)}))
	case "holds":
		var lines []string
		for _, h := range w.state.Holds {
			lines = append(lines, fmt.Sprintf("%s, by %s: %s", h.Select, h.By, h.Reason))
		}
		return orNothing(lines)
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

func (w *world) command(d *datadriven.TestData) rollout.OperatorActed {
	e := rollout.OperatorActed{At: w.now, Action: rollout.Action(d.CmdArgs[0].Key)}
	for _, a := range d.CmdArgs[1:] {
		switch a.Key {
		case "t", "verbose":
		case "actor":
			e.Actor = a.Vals[0]
		case "reason":
			e.Reason = a.Vals[0]
		default:
			if e.Select == nil {
				e.Select = fleet.Selector{}
			}
			e.Select[a.Key] = a.Vals
		}
	}
	return e
}

// cells reads "name phase=complete alarm=quiet" and "name lost=why", one a line.
func (w *world) cells(t testing.TB, d *datadriven.TestData) []rollout.CellHeard {
	var all []rollout.CellHeard
	for line := range strings.Lines(d.Input) {
		name, args, err := datadriven.ParseLine(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("read cell: %v", err)
		}
		c := rollout.CellHeard{Name: name, Alarm: breaker.Quiet}
		for _, a := range args {
			switch a.Key {
			case "lost":
				c.Lost, c.Since = a.Vals[0], w.now.Add(-time.Minute)
			case "phase":
				c.Phase = rollout.Phase(a.Vals[0])
			case "alarm":
				c.Alarm = breaker.Alarm(a.Vals[0])
			case "recalled":
				c.Recalled = true
			case "reason":
				c.Reason = a.Vals[0]
			case "ended":
				c.Ended = w.now.Add(duration(t, a.Vals[0]))
			default:
				t.Fatalf("unknown key %s of a cell", a.Key)
			}
		}
		all = append(all, c)
	}
	return all
}

// comparison is the end of a watch over the hosts that it names, by their strata. Hosts that said goodbye are in no arm of silence.
func (w *world) comparison(t testing.TB, d *datadriven.TestData) rollout.Compared {
	e := rollout.Compared{At: w.now, Signal: breaker.Signal(d.CmdArgs[0].Key), Class: "server"}
	var control string
	d.MaybeScanArgs(t, "class", &e.Class)
	d.ScanArgs(t, "control", &control)
	if _, err := fmt.Sscanf(control, "%d/%d", &e.Control.Showed, &e.Control.Watched); err != nil {
		t.Fatalf("read control %s: %v", control, err)
	}
	told := int64(-1)
	d.MaybeScanArgs(t, "showed", &told)
	for _, name := range names(t, d.CmdArgs[1].Key) {
		h := w.hosts[name]
		if e.Signal == breaker.Silence && h.prior == rollout.Goodbye {
			continue
		}
		i := slices.IndexFunc(e.Exposed, func(a rollout.StratumArm) bool { return a.Stratum == h.stratum })
		if i < 0 {
			i = len(e.Exposed)
			e.Exposed = append(e.Exposed, rollout.StratumArm{Stratum: h.stratum})
		}
		e.Exposed[i].Watched++
		silent := e.Signal == breaker.Silence && (h.prior == rollout.Silent || h.prior == rollout.Late)
		left := e.Signal == breaker.Goodbye && h.prior == rollout.Goodbye
		if told < 0 && (silent || left) || told > 0 {
			e.Exposed[i].Showed++
			told--
		}
	}
	return e
}

// step applies an event as its stored form reads, and remembers what came of it; a hasty world only applies it.
func (w *world) step(t failer, e rollout.Event) []rollout.Effect {
	t.Helper()
	e = rollout.Dated(w.state, e)
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

// difference is cmp.Diff of what is stored, quicker when there is none.
func difference[V any](x, y V) string {
	if reflect.DeepEqual(x, y) || stored(x) != "" && stored(x) == stored(y) {
		return ""
	}
	return cmp.Diff(x, y, cmpopts.IgnoreUnexported(rollout.State{}), cmpopts.EquateEmpty())
}

// stored is a state as the store has it; of anything else nothing.
func stored(v any) string {
	s, ok := v.(rollout.State)
	if !ok {
		return ""
	}
	data, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(data)
}

func (w *world) start(t testing.TB, d *datadriven.TestData) string {
	w.eligible = 40
	d.MaybeScanArgs(t, "eligible", &w.eligible)
	actor, cell := "ann", ""
	d.MaybeScanArgs(t, "actor", &actor)
	d.MaybeScanArgs(t, "cell", &cell)
	return w.show(d, w.step(t, rollout.Started{
		At: w.now, ID: "r1", Plan: planOf(t, d.Input), Eligible: w.eligible, Actor: actor, Cell: cell,
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
	d.MaybeScanArgs(t, "kernel", &h.subject.Attributes.Kernel)
	asking := rollout.Host{
		Endpoint: fleet.EndpointID(name), Subject: h.subject, Stratum: h.stratumIn(w.state.Plan), Prior: h.prior, PriorRing: h.ring,
		Tenant: w.scope("tenant", string(h.subject.Tenant)), Site: w.scope("site", h.subject.Attributes.Site), Fleet: allHosts,
		Sought: !d.HasArg("small"), // in a ring that must see strata
	}
	d.MaybeScanArgs(t, "busy", &asking.Busy)
	if i := slices.IndexFunc(d.CmdArgs, func(a datadriven.CmdArg) bool { return a.Key == "posture" }); i >= 0 {
		asking.Posture = d.CmdArgs[i].Vals
	}
	effects := w.step(t, rollout.LeaseAsked{At: w.now, Host: asking})
	if grant, ok := granted(effects); ok {
		h.prior, h.ring, h.stratum = rollout.Pending, grant.Ring, asking.Stratum
	}
	return effects
}

// allHosts are the endpoints that the release of a scenario is for.
const allHosts = 1000

// stratumIn is the stratum of a host's lease, or the one that its first would have.
func (h *host) stratumIn(p plan.Plan) string {
	if h.stratum != "" {
		return h.stratum
	}
	return fleet.Stratum(h.subject, p.Strata)
}

func (w *world) outcome(t testing.TB, d *datadriven.TestData, name string, h *host) []rollout.Effect {
	e := rollout.OutcomeKnown{
		At: w.now, Endpoint: fleet.EndpointID(name), Ring: h.ring, Was: h.prior, Outcome: rollout.Outcome(d.CmdArgs[1].Key), Stratum: h.stratum,
	}
	d.MaybeScanArgs(t, "blamed", &e.Blamed)
	if e.Outcome.Harms() {
		e.Tenant, e.Site, e.Fleet = w.scope("tenant", string(h.subject.Tenant)), w.scope("site", h.subject.Attributes.Site), allHosts
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
	d.MaybeScanArgs(t, "preferred", &e.Preferred)
	d.MaybeScanArgs(t, "large", &e.Large)
	d.MaybeScanArgs(t, "seen", &e.Seen)
	if d.MaybeScanArgs(t, "unfit", &e.Unfit.Hosts); e.Unfit.Hosts > 0 {
		e.Unfit.Lacks = map[string]int64{}
		for _, word := range w.state.Plan.Posture {
			var n int64
			if d.MaybeScanArgs(t, word, &n) {
				e.Unfit.Lacks[word] = n
			}
		}
	}
	if i := slices.IndexFunc(d.CmdArgs, func(a datadriven.CmdArg) bool { return a.Key == "gate" }); i >= 0 {
		gate := d.CmdArgs[i].Vals
		e.Gates = []evidence.GateResult{{Name: gate[0], OK: gate[1] == "met", Text: gate[2]}}
	}
	return e
}

func (w *world) scope(kind, name string) rollout.Scope {
	size, ok := w.sizes[kind+"/"+name]
	if !ok {
		size = 100
	}
	scope := rollout.Scope{Name: name, Size: size, Exposed: w.exposed(kind, name)}
	for _, h := range w.hosts {
		if h.in(kind, name) && (h.prior == rollout.Crashed || h.prior == rollout.Reverted) {
			scope.Harmed++
		}
	}
	return scope
}

func (w *world) exposed(kind, name string) int64 {
	var n int64
	for _, h := range w.hosts {
		if h.in(kind, name) && placed(h) {
			n++
		}
	}
	return n
}

// in tells whether a host is of a tenant or a site, or at all.
func (h *host) in(kind, name string) bool {
	return kind == "" || kind == "tenant" && string(h.subject.Tenant) == name || kind == "site" && h.subject.Attributes.Site == name
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
			line += fmt.Sprintf(" issued=%s expires=%s deadline=%s leased=%d/%d unconfirmed=%d/%d exposed=%d", offset(e.Issued), offset(e.Expires),
				offset(e.Deadline), e.Why.Leased, e.Why.Size, e.Why.Unconfirmed, e.Why.Allowed, e.Why.Exposed)
		}
		return line
	case rollout.RefuseLease:
		if verbose {
			return "refused: " + e.Waiting.Code + ": " + e.Waiting.Text
		}
		return "refused: " + e.Waiting.Code
	case rollout.Record:
		line := fmt.Sprintf("%s: ring=%d exposed=%d unconfirmed=%d harmed=%d evidence=%.3g %s",
			e.Verdict, e.Ring, e.Exposed, e.Unconfirmed, e.Harmed, e.Evidence, e.Alarm)
		if verbose {
			line += ": " + e.Reason
		}
		return line
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
	fmt.Fprintf(&b, "phase=%s ring=%d window=%g round=%d proved=%d unconfirmed=%d booked=%d bad=%d evidence=%.3g %s\n",
		s.Phase, s.Ring, s.Window, s.Round, s.Proved, s.Unconfirmed, s.Breaker.Crashes.Booked, s.Breaker.Crashes.Bad, s.Evidence(), s.Alarm)
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
			{"aside", r.Aside},
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
	w.describeStrata(&b)
	return b.String()
}

// describeStrata tells of strata where there are several, or one in trouble.
func (w *world) describeStrata(b *strings.Builder) {
	s := w.state
	if len(s.Strata) < 2 && !slices.ContainsFunc(s.Strata, func(s rollout.Stratum) bool { return s.Suspect || s.Held }) {
		return
	}
	for _, s := range s.Strata {
		fmt.Fprintf(b, "- %s: leased=%d pending=%d confirmed=%d harmed=%d booked=%d bad=%d",
			s.Name, s.Leased, s.Pending, s.Confirmed, s.Harmed, s.Crashes.Booked, s.Crashes.Bad)
		if s.Silence.Exposed.Watched > 0 {
			fmt.Fprintf(b, " silence=%.3g", s.Silence.Evidence())
		}
		if s.Suspect {
			b.WriteString(" suspect")
		}
		if s.Held {
			b.WriteString(" held")
		}
		b.WriteByte('\n')
	}
}

// planOf reads a plan, a part a line:
//
//	ring NAME hosts=N | share=X [bake=15m] [confirmed=X] [resolved=X] [boots=N] [host_hours=X] [excess_below=X] [strata=X] [os=linux] [prefer=linux]
//	     [gate=errors]                           a gate that wants a query below 0.05
//	window start=N growth=X max=N
//	breaker ceiling=X alpha=X amber=X
//	caps tenant=X site=X
//	watch for=72h
//	strata of=os+kernel
//	posture of=guard+watchdog
//	approvals of=2
//	freeze feast from=2026-03-01 to=2026-03-02
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
		switch cmd {
		case "ring":
			p.Rings = append(p.Rings, plan.Ring{Name: args[0].Key})
			args = args[1:]
		case "wave":
			wave := plan.Wave{Names: strings.Split(args[0].Key, "+")}
			if len(args) > 1 {
				wave.After = plan.Duration(duration(t, args[1].Vals[0]))
			}
			p.Cells = append(p.Cells, wave)
			continue
		case "freeze":
			p.Calendar.Freezes = append(p.Calendar.Freezes, calendar.Freeze{Name: args[0].Key, From: calendar.Date(args[1].Vals[0]), To: calendar.Date(args[2].Vals[0])})
			continue
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
	case "ring prefer":
		ring.Prefer, err = fleet.Selector{"os": {value}}, nil
	case "ring bake":
		ring.Evidence.Bake, err = span(), nil
	case "watch for":
		p.Watch, err = span(), nil
	case "ring gate":
		below := 0.05
		ring.Evidence.Gates, err = []evidence.Gate{{Name: value, Query: "errors", Below: &below}}, nil
	case "ring strata":
		ring.Evidence.Strata = number
	case "posture of":
		p.Posture, err = strings.Split(value, "+"), nil
	case "strata of":
		p.Strata, err = strings.Split(value, "+"), nil
	case "approvals of":
		p.Approvals = int(number)
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
