package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/trust/trusttest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
)

const sensor = "sensor-content"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hanging is a control plane whose repository does not answer once it hangs.
type hanging struct {
	Uplink
	repository *trusttest.Repository
	hangs      chan struct{} // closed: it hangs
	waiting    chan struct{} // somebody waits
}

func (h *hanging) Metadata(ctx context.Context, name string) ([]byte, error) {
	select {
	case <-h.hangs:
		h.waiting <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		return h.repository.Fetch(name)
	}
}

// Whoever holds the agent's lock asks the anchors: while a refresh hangs in the network they answer at once, and whoever waits for the
// next refresh can be called off. Otherwise a dead network would hold up a revert.
func TestInvariantI5HangingNetworkHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	repository := trusttest.New(t, start, sensor)
	repository.Add(trusttest.Manifest(sensor, "v1", 1, start))
	repository.Publish()
	up := &hanging{repository: repository, hangs: make(chan struct{}), waiting: make(chan struct{})}
	a, err := openAnchors(Options{FS: disk.OS{}, StateDir: t.TempDir(), Uplink: up})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.director(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("director before there is a root: got %v, want unavailable", err)
	}
	if err := a.refresh(t.Context(), start, []string{sensor}); err != nil {
		t.Fatal(err)
	}
	close(up.hangs)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.refresh(ctx, start, []string{sensor}) }()
	<-up.waiting
	if _, err := a.director(); err != nil {
		t.Errorf("director while a refresh hangs: %v", err)
	}
	if err := a.fresh(start, sensor); err != nil {
		t.Errorf("fresh while a refresh hangs: %v", err)
	}
	if _, err := a.floor(sensor); err != nil {
		t.Errorf("floor while a refresh hangs: %v", err)
	}
	off, callOff := context.WithCancel(t.Context())
	callOff()
	if err := a.refresh(off, start, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a second refresh that is called off: got %v, want canceled", err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a refresh that was called off succeeded")
	}
}

// The view that was verified comes back from disk, and is written again if it could not be at first.
func TestAnchorsAreKept(t *testing.T) {
	t.Parallel()
	repository := trusttest.New(t, start, sensor)
	up := &hanging{repository: repository, hangs: make(chan struct{})}
	o := Options{FS: disk.OS{}, StateDir: t.TempDir(), Uplink: up}
	a, err := openAnchors(o)
	if err != nil {
		t.Fatal(err)
	}
	dir := a.path
	a.path = t.TempDir() // a directory cannot be replaced by a file
	if err := a.refresh(t.Context(), start, []string{sensor}); err == nil || a.view.Load() == nil {
		t.Fatalf("refresh that cannot be kept: got %v, want an error and a view", err)
	}
	a.path = dir
	if err := a.refresh(t.Context(), start, []string{sensor}); err != nil {
		t.Fatal(err)
	}
	again, err := openAnchors(o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.view.Load().Files(), again.view.Load().Files()); diff != "" {
		t.Errorf("what was kept (- verified, + on disk):\n%s", diff)
	}
}

// paper is a journal in memory.
type paper struct {
	data []byte
	err  error
}

func (p *paper) Load() ([]byte, bool, error) { return p.data, p.data != nil, p.err }

func (p *paper) Save(data []byte) error {
	p.data = bytes.Clone(data)
	return nil
}

func newAgent(t *testing.T, j Journal) *Agent {
	t.Helper()
	a, err := New(Options{
		StateDir: t.TempDir(), FS: disk.OS{}, Journal: j, Clock: clock.At(start), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// However many reports wait for a control plane that is gone, the journal holds what the machines know; the newest reports stay.
func TestMemoryAlwaysFits(t *testing.T) {
	t.Parallel()
	j := &paper{}
	a := newAgent(t, j)
	a.memory.Components[sensor] = install.State{Component: sensor, Phase: install.Reverting}
	for range maxReports + 100 {
		a.memory.add(api.Report{Component: sensor, Outcome: "rejected", Detail: strings.Repeat("<", 500)})
	}
	if err := a.save(); err != nil {
		t.Fatal(err)
	}
	if room := SlotSize - journal.HeaderSize; len(j.data) > room {
		t.Errorf("journal: got %d bytes, want at most %d", len(j.data), room)
	}
	found, err := loadMemory(j)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(found.Reports); n < 50 || found.Reports[n-1].Seq != maxReports+100 {
		t.Errorf("reports: got %d, want many, up to the newest", n)
	}
	if got := found.Components[sensor].Phase; got != install.Reverting {
		t.Errorf("machine: got %s, want it as it was", got)
	}
}

// Harm stays among the reports that wait, in memory and on disk, however much else was told since; its words go before it does.
func TestHarmIsNotForgotten(t *testing.T) {
	t.Parallel()
	j := &paper{}
	a := newAgent(t, j)
	long := strings.Repeat("<", 2000)
	for n := range 5 * maxReports {
		r := api.Report{Component: sensor, Manifest: "m", Outcome: "goodbye", Detail: long}
		if n%500 == 0 {
			r.Outcome, r.Manifest = []string{"crashed", "reverted"}[n/500%2], fmt.Sprint(n)
		}
		a.memory.add(r)
	}
	if err := a.save(); err != nil {
		t.Fatal(err)
	}
	harmful := func(m memory) (n int) {
		for i, r := range m.Reports {
			if harm(r) {
				n++
			}
			if i > 0 && r.Seq <= m.Reports[i-1].Seq {
				t.Errorf("report %d comes after %d", r.Seq, m.Reports[i-1].Seq)
			}
		}
		return n
	}
	found, err := loadMemory(j)
	if err != nil || harmful(found) != 5 || len(found.Reports) > maxReports {
		t.Errorf("got %d of %d that tell of harm, %v, want 5 of at most %d", harmful(found), len(found.Reports), err, maxReports)
	}
	for n := range maxReports - 10 {
		a.memory.add(api.Report{Component: sensor, Manifest: fmt.Sprint("x", n), Outcome: "crashed", Detail: long, Crash: &api.Crash{Headline: long}})
	}
	if err := a.save(); err != nil || harmful(a.memory) != maxReports-5 {
		t.Errorf("nothing but harm: got %d, %v, want all %d", harmful(a.memory), err, maxReports-5)
	}
	for range maxReports {
		a.memory.add(api.Report{Component: sensor, Manifest: "x0", Outcome: "crashed"})
	}
	if n := len(a.memory.Reports); n != maxReports || a.memory.Reports[0].Manifest != "0" {
		t.Errorf("harm by one release again and again: got %d reports from manifest %s on, want %d, with all others", n,
			a.memory.Reports[0].Manifest, maxReports)
	}
}

func TestMemoryIsLoaded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		j    *paper
		kind fault.Kind
	}{
		{"nothing saved", &paper{}, ""},
		{"damaged", &paper{err: journal.ErrDamaged}, ""},
		{"not JSON", &paper{data: []byte("{")}, fault.Invalid},
		{"of a later format", &paper{data: []byte(`{"format":2}`)}, fault.Conflict},
	} {
		m, err := loadMemory(c.j)
		if c.kind == "" && (err != nil || m.Components == nil) || c.kind != "" && fault.KindOf(err) != c.kind {
			t.Errorf("%s: got %v, want kind %q", c.name, err, c.kind)
		}
	}
}

// An agent that lost its memory counts on from what the control plane has; what was acknowledged is never sent again.
func TestReportNumbers(t *testing.T) {
	t.Parallel()
	var m memory
	m.add(api.Report{Outcome: "a"})
	m.add(api.Report{Outcome: "b"})
	m.renumber(7)
	m.add(api.Report{Outcome: "c"})
	m.renumber(8) // known already
	m.acknowledge(8)
	want := []api.Report{{Seq: 9, Outcome: "b"}, {Seq: 10, Outcome: "c"}}
	if diff := cmp.Diff(want, m.Reports); diff != "" {
		t.Errorf("reports (- want, + got):\n%s", diff)
	}
}

// Jobs of one slot never overlap, and one that was replaced before it began never runs.
func TestJobsRunOneAfterAnother(t *testing.T) {
	t.Parallel()
	var s slot
	var jobs sync.WaitGroup
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	begun := make(chan struct{})
	s.begin(t.Context(), &jobs, func(ctx context.Context) {
		note("first begins")
		close(begun)
		<-ctx.Done()
		note("first ends")
	})
	<-begun
	hold := make(chan struct{})
	s.begin(t.Context(), &jobs, func(ctx context.Context) {
		note("second begins")
		<-hold
		note("second ends")
	})
	s.begin(t.Context(), &jobs, func(context.Context) { note("third") })
	close(hold)
	jobs.Wait()
	got := strings.Join(order, ", ")
	if want := "first begins, first ends, third"; got != want && got != "first begins, first ends, second begins, second ends, third" {
		t.Errorf("order: got %q, want %q", got, want)
	}
}

// What a job says after it was told to end changes nothing: harm seen by a vigil is not the harm of what was activated meanwhile.
func TestEventsOfEndedJobsAreDropped(t *testing.T) {
	t.Parallel()
	a := newAgent(t, &paper{})
	a.start = func(*slot, func(context.Context)) { t.Error("something was started") }
	u := &unit{}
	u.file.Component = sensor
	proving := install.State{Component: sensor, Phase: install.Proving, Next: install.Installed{Version: "v2", Manifest: "sha256:2"}}
	a.memory.Components[sensor] = proving
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	a.event(ended, u, install.Broke{At: start, Why: "seen before"})
	if diff := cmp.Diff(proving, a.memory.Components[sensor]); diff != "" {
		t.Errorf("state (- before, + after):\n%s", diff)
	}
}

// A host can be told to try again what it refuses; what was recalled stays recalled.
func TestForgive(t *testing.T) {
	t.Parallel()
	j := &paper{data: []byte(`{"format":1,"seq":7,"components":{"sensor-content":{"component":"sensor-content","refused":[{"manifest":"m","why":"it harmed this host"}],"recalled":["d"]}}}`)}
	if n, err := Forgive(j, sensor); err != nil || n != 1 {
		t.Fatalf("got %d forgiven, %v, want 1", n, err)
	}
	m, err := loadMemory(j)
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Components[sensor]; len(s.Refused) != 0 || len(s.Recalled) != 1 || m.Seq != 7 {
		t.Errorf("got %+v with seq %d, want no refusals, the recall, and seq 7", s, m.Seq)
	}
	if _, err := Forgive(j, "nginx-config"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown component: got %v, want not found", err)
	}
}

// A lease whose deadline comes before this host can prove anything is given back.
func TestLeaseMustCoverTheSoak(t *testing.T) {
	t.Parallel()
	u := &unit{file: component.File{Component: sensor, Soak: component.Duration(10 * time.Minute)}.Defaulted()}
	lease := api.Lease{ID: "l", Issued: start, Deadline: start.Add(10 * time.Minute)}
	if err := u.canProve(lease); fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) == "" {
		t.Errorf("a deadline of 10 minutes for a soak of 10: got %v, want it refused with advice", err)
	}
	lease.Deadline = start.Add(11 * time.Minute)
	if err := u.canProve(lease); err != nil {
		t.Errorf("a deadline of 11 minutes: got %v, want it taken", err)
	}
}

// vigilant is an agent whose component runs v2, with v1 to go back to, and a consumer that answers badly so many times.
func vigilant(t *testing.T, bad int) (*Agent, *unit) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if bad--; bad >= 0 {
			http.Error(w, "not well", http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	a := newAgent(t, &paper{})
	a.start = func(*slot, func(context.Context)) {}
	u, err := newUnit(a.Options, component.File{
		Component: sensor, Kind: "content", Probes: []component.Probe{{HTTP: &component.HTTP{URL: server.URL}}},
	}.Defaulted())
	if err != nil {
		t.Fatal(err)
	}
	v1, v2 := install.Installed{Version: "v1", Manifest: "sha256:1", Slot: "1"}, install.Installed{Version: "v2", Manifest: "sha256:2", Slot: "2"}
	a.memory.Components[sensor] = install.State{
		Component: sensor, Phase: install.Idle, Current: v2, Good: v2, Previous: v1, Watched: start.Add(time.Hour),
	}
	return a, u
}

// Late harm takes three bad rounds in a row: somebody may be at work on the consumer.
func TestVigilTakesThreeStrikes(t *testing.T) {
	t.Parallel()
	for bad, want := range map[int]install.Phase{strikes - 1: install.Idle, strikes: install.Reverting} {
		a, u := vigilant(t, bad)
		a.keepVigil(t.Context(), u, "2", start.Add(10*time.Minute))
		if got := a.memory.Components[sensor].Phase; got != want {
			t.Errorf("after %d bad rounds: got phase %s, want %s", bad, got, want)
		}
	}
}

// A lease that ran out between the journal and the switch activates nothing (I1).
func TestInvariantI1LeaseRunsOutBeforeTheSwitch(t *testing.T) {
	t.Parallel()
	a, u := vigilant(t, 0)
	s := a.memory.Components[sensor]
	s.Phase, s.Next = install.Activating, install.Installed{Version: "v3", Manifest: "sha256:3", Slot: "3"}
	s.Lease = &install.Lease{ID: "l", Manifest: "sha256:3", Expires: start}
	a.memory.Components[sensor] = s
	a.swap(t.Context(), u, s)
	got := a.memory.Components[sensor]
	if got.Phase != install.Ready || got.Current.Version != "v2" || len(a.memory.Reports) != 1 ||
		a.memory.Reports[0].Outcome != install.Rejected || !strings.Contains(a.memory.Reports[0].Detail, "lease expired") {
		t.Errorf("got phase %s on %s with reports %+v, want ready on v2 and the lease given back", got.Phase, got.Current.Version, a.memory.Reports)
	}
}
