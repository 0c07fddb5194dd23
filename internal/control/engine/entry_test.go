package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/blame"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Exposed hosts are counted where they were when they got their newest lease, and nowhere twice.
func TestEntryCountsExposedHosts(t *testing.T) {
	t.Parallel()
	r := newEntry()
	put := func(tenant fleet.TenantID, site string, outcome rollout.Outcome) {
		r.put(store.Lease{Endpoint: "ep-1", Tenant: tenant, Site: site, Outcome: outcome}, time.Time{})
	}
	for _, c := range []struct {
		tenant  fleet.TenantID
		site    string
		outcome rollout.Outcome
		acme    int64
		graz    int64
		linz    int64
		exposed bool
	}{
		{"acme", "graz", rollout.Pending, 1, 1, 0, true},
		{"acme", "graz", rollout.Pending, 1, 1, 0, true},
		{"acme", "linz", rollout.Pending, 1, 0, 1, true},
		{"acme", "linz", rollout.Rejected, 0, 0, 0, false},
		{"acme", "linz", rollout.Rejected, 0, 0, 0, false},
		{"acme", "graz", rollout.Pending, 1, 1, 0, true},
		{"acme", "graz", rollout.Confirmed, 1, 1, 0, true},
	} {
		put(c.tenant, c.site, c.outcome)
		acme, graz, linz := r.tenants["acme"].exposed, r.sites["graz"].exposed, r.sites["linz"].exposed
		if acme != c.acme || graz != c.graz || linz != c.linz || r.exposed("ep-1") != c.exposed {
			t.Errorf("after %+v: got tenants %v, sites %v, exposed %v", c, r.tenants, r.sites, r.exposed("ep-1"))
		}
		if r.due.has("ep-1") != (c.outcome == rollout.Pending) {
			t.Errorf("after %+v: got deadline kept %v", c, r.due.has("ep-1"))
		}
	}
}

// A harmed host votes against what it had activated before, in the windows that reach so far; all others are vetoes.
func TestVotesAndVetoes(t *testing.T) {
	t.Parallel()
	start := time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC)
	r := newEntry()
	for id, outcome := range map[fleet.EndpointID]rollout.Outcome{
		"soon": rollout.Confirmed, "late": rollout.Confirmed, "before": rollout.Confirmed, "rejected": rollout.Rejected, "own": rollout.Crashed,
	} {
		r.put(store.Lease{Endpoint: id, Outcome: outcome, Issued: start, Known: start}, start)
	}
	s := suspect{entry: r}
	s.question(map[fleet.EndpointID]time.Time{
		"soon": start.Add(time.Minute), "late": start.Add(30 * time.Hour), "before": start.Add(-time.Minute), "own": start.Add(2 * time.Hour),
		"rejected": start.Add(time.Minute), "never": start.Add(time.Minute),
	})
	want := blame.Suspect{After: [3]int64{1, 2, 3}, Before: 3, Harmed: 3}
	if diff := cmp.Diff(want, s.Suspect); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An answer stands for the ring that asked, and for a while.
func TestAnswers(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC)
	var a answers
	if got := a.of(0, now); got != nil {
		t.Errorf("before anybody asked: got %+v, want nothing", got)
	}
	if !a.begin() || a.begin() {
		t.Error("want one question at a time")
	}
	a.end(1, []evidence.GateResult{{Name: "errors", OK: true}}, now)
	if !a.begin() {
		t.Error("after the answer: want another question")
	}
	for _, c := range []struct {
		ring int
		at   time.Time
		want int
	}{{1, now, 1}, {1, now.Add(answered), 1}, {0, now, 0}, {2, now, 0}, {1, now.Add(answered + 1), 0}, {1, now.Add(-2 * answered), 0}} {
		if got := a.of(c.ring, c.at); len(got) != c.want {
			t.Errorf("ring %d at %s: got %+v, want %d answers", c.ring, c.at, got, c.want)
		}
	}
}

// What is left of a deadline does not begin anew with every leader: only if the clock was far ahead when the server last decided.
func TestDeadlinesDoNotBeginAnewWithEveryLeader(t *testing.T) {
	t.Parallel()
	issued := time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC)
	const whole = 10 * time.Minute
	for _, c := range []struct {
		name    string
		outcome rollout.Outcome
		last    time.Duration // since it was granted
		want    time.Duration
	}{
		{"granted just now", rollout.Pending, 0, whole},
		{"the clock was put back", rollout.Pending, -time.Hour, whole},
		{"half of it is over", rollout.Pending, whole / 2, whole / 2},
		{"it has just passed", rollout.Pending, whole, 0},
		{"nobody came to it in time", rollout.Pending, 2*whole + rollout.MaxGap, 0},
		{"the clock was far ahead", rollout.Pending, 2*whole + rollout.MaxGap + 1, whole},
		{"confirmed long ago", rollout.Confirmed, 24 * time.Hour, 0},
	} {
		l := store.Lease{Issued: issued, Deadline: issued.Add(whole), Known: issued, Outcome: c.outcome}
		if got := left(l, issued.Add(c.last)); got != c.want {
			t.Errorf("%s: got %s left, want %s", c.name, got, c.want)
		}
	}
}
