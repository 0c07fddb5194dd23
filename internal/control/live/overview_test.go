package live_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/live"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
)

// night is when somebody with a pager looks.
func night() time.Time { return time.Date(2026, time.July, 19, 4, 12, 0, 0, time.UTC) }

func ago(d time.Duration) *time.Time {
	at := night().Add(-d)
	return &at
}

func running(id string) api.Rollout {
	return api.Rollout{ID: id, Component: "sensor", Version: "2", Phase: "running", Started: *ago(time.Hour), Trip: 10_000, Alarm: "quiet"}
}

// changed is a running rollout with something about it.
func changed(id string, change func(*api.Rollout)) api.Rollout {
	r := running(id)
	change(&r)
	return r
}

// needs lists what needs people, the most urgent first, as "kind about/id: text".
func needs(o api.Overview) []string {
	all := slices.SortedFunc(maps.Values(o.Attention), func(a, b api.Attention) int { return cmp.Compare(a.Rank, b.Rank) })
	var texts []string
	for i, a := range all {
		if a.Rank != i {
			texts = append(texts, fmt.Sprintf("rank %d is missing", i))
		}
		texts = append(texts, fmt.Sprintf("%s %s/%s: %s", a.Kind, a.About, a.ID, a.Text))
	}
	return texts
}

func TestAttentionIsWhatNeedsAPersonAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		facts live.Facts
		want  []string
	}{
		"all is well": {live.Facts{
			Rollouts: []api.Rollout{running("ro-1")}, Fleet: api.FleetState{Endpoints: 100, Silent: 5}, Health: []api.HealthCheck{{Name: "database", OK: true}},
		}, nil},
		"an incident": {
			live.Facts{Incidents: []api.Incident{{ID: "in-1", Title: "sensor 2 halted: 3 of 5 exposed hosts harmed", Opened: night()}}},
			[]string{"incident incident/in-1: sensor 2 halted: 3 of 5 exposed hosts harmed. Look at the incident, and close it when people are done with it."},
		},
		"amber": {
			live.Facts{Rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) { r.Alarm, r.Harmed, r.Exposed, r.Evidence = "amber", 1, 12, 31.4 })}},
			[]string{"amber rollout/ro-1: sensor 2 looks suspicious: 1 of 12 exposed hosts are harmed, E is 31.4 and halts it at 10000; " +
				"growth is frozen. Look at it, and halt it if in doubt."},
		},
		"a proposal": {
			live.Facts{Rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) { r.Phase, r.Approvals, r.Approved = "proposed", 2, []string{"alice"} })}},
			[]string{"approval rollout/ro-1: sensor 2 waits for one more person to agree to its start. Approve it, or halt it."},
		},
		"paused just now": {
			live.Facts{Rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) { r.Phase = "paused" })}, Paused: map[string]time.Time{"ro-1": *ago(14 * time.Minute)}},
			nil,
		},
		"paused for long": {
			live.Facts{Rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) { r.Phase = "paused" })}, Paused: map[string]time.Time{"ro-1": *ago(16 * time.Minute)}},
			[]string{"paused rollout/ro-1: sensor 2 is paused since 2026-07-19 03:56 UTC. Resume it, or halt it."},
		},
		"paused, nobody knows since when": {
			live.Facts{Rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) { r.Phase = "paused" })}},
			[]string{"paused rollout/ro-1: sensor 2 is paused. Resume it, or halt it."},
		},
		"only a gate is missing": {
			live.Facts{Rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) { r.Missing = []api.Lack{{Name: "gate errors", Have: "no data"}} })}},
			[]string{"gate rollout/ro-1: sensor 2 has all the evidence that it needs, but for gate errors (no data). See to what they measure, or halt it."},
		},
		"a gate and more": {
			live.Facts{Rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) { r.Missing = []api.Lack{{Name: "leased"}, {Name: "gate errors"}} })}}, nil,
		},
		"old holds": {
			live.Facts{Rollouts: []api.Rollout{
				changed("ro-2", func(r *api.Rollout) {
					r.Phase, r.Ended, r.Holds = "complete", ago(48*time.Hour), []api.RolloutHold{{At: *ago(23 * time.Hour)}, {At: *ago(25 * time.Hour)}}
				}),
				changed("ro-1", func(r *api.Rollout) {
					r.Phase, r.Ended, r.Holds = "complete", ago(90*time.Hour), []api.RolloutHold{{At: *ago(80 * time.Hour)}}
				}),
			}},
			[]string{"hold rollout/ro-2: sensor 2 has 1 hold older than a day. Lift what is not needed any more, or ship a mended release."},
		},
		"unfit hosts": {
			live.Facts{Rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) {
				r.Unfit = &api.Unfit{Hosts: 3, Lacks: map[string]int64{"guard": 1, "panic-reboot": 3, "good": 1}}
			})}},
			[]string{"unfit rollout/ro-1: sensor 2 leaves out 3 hosts that could not survive alone what its plan asks for; they miss panic-reboot (3), good (1), guard (1). " +
				"Mend them, or accept that they stay behind."},
		},
		"what ended for good": {
			live.Facts{Rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) {
				r.Phase, r.Ended, r.Alarm, r.Holds = "tripped", ago(time.Minute), "trip", []api.RolloutHold{{At: *ago(80 * time.Hour)}}
			})}}, nil,
		},
		"silence": {
			live.Facts{Fleet: api.FleetState{Endpoints: 1000, Silent: 81}, Usual: 0.02},
			[]string{"silence fleet/: 81 of 1000 hosts were not heard for 15 minutes (8.1%; 2.0% is usual). Look at where they are and what they got last; silence is a symptom."},
		},
		"as silent as ever": {live.Facts{Fleet: api.FleetState{Endpoints: 1000, Silent: 300}, Usual: 0.3}, nil},
		"hosts at risk": {
			live.Facts{Fleet: api.FleetState{Endpoints: 1000, AtRisk: 1}},
			[]string{"risk fleet/: 1 host could not get out of a boot loop alone. Give them the posture that they miss."},
		},
		"a check that fails": {
			live.Facts{Health: []api.HealthCheck{{Name: "database", Why: "the disk is gone", Next: "put it back"}}},
			[]string{`health health/database: The check "database" fails: the disk is gone. Put it back.`},
		},
		"much at once": {
			live.Facts{
				Rollouts: []api.Rollout{
					changed("ro-2", func(r *api.Rollout) { r.Phase = "paused" }),
					changed("ro-1", func(r *api.Rollout) { r.Alarm = "amber" }),
				},
				Incidents: []api.Incident{{ID: "in-1", Title: "x"}}, Health: []api.HealthCheck{{Name: "leader", Why: "none"}},
			},
			[]string{
				"incident incident/in-1: x. Look at the incident, and close it when people are done with it.",
				`health health/leader: The check "leader" fails: none. Look at the log of this replica.`,
				"amber rollout/ro-1: sensor 2 looks suspicious: 0 of 0 exposed hosts are harmed, E is 0 and halts it at 10000; growth is frozen. Look at it, and halt it if in doubt.",
				"paused rollout/ro-2: sensor 2 is paused. Resume it, or halt it.",
			},
		},
	} {
		c.facts.At = night()
		if d := diff.Diff(c.want, needs(live.Compose(c.facts))); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestAnOverviewShowsWhatIsUrgentFirstAndNoMoreThanFits(t *testing.T) {
	t.Parallel()
	var all []api.Rollout
	for i := range 60 {
		all = append(all, running(fmt.Sprintf("ro-%d", i)))
	}
	all[59].Alarm = "amber"
	ended := func(id string, before time.Duration) api.Rollout {
		return changed(id, func(r *api.Rollout) { r.Phase, r.Ended = "complete", ago(before) })
	}
	o := live.Compose(live.Facts{At: night(), Rollouts: append(all, ended("late", time.Hour)), Phases: map[string]int64{"running": 60, "paused": 2, "proposed": 1, "complete": 9}})
	_, amber := o.Rollouts["ro-59"]
	_, late := o.Rollouts["late"]
	_, newest := o.Rollouts["ro-0"]
	if len(o.Rollouts) != 50 || !amber || !newest || late || o.Running != 63 {
		t.Errorf("got %d rollouts, amber %t, newest %t, ended %t, %d running; want 50 with the amber and the newest one, none that ended, 63 running",
			len(o.Rollouts), amber, newest, late, o.Running)
	}
	o = live.Compose(live.Facts{At: night(), Rollouts: []api.Rollout{ended("lately", 23*time.Hour), ended("long ago", 25*time.Hour)}})
	if got := slices.Collect(maps.Keys(o.Rollouts)); len(got) != 1 || got[0] != "lately" {
		t.Errorf("got %v, want only what ended in the last 24 hours", got)
	}
	if o.Phases == nil || o.Incidents == nil || o.Attention == nil || o.Health == nil || o.Freezes == nil || o.Fleet.Versions == nil {
		t.Errorf("got %+v, want empty lists where there is nothing: a patch needs something to apply to", o)
	}
}

func TestAnOverviewNamesTheFreezesInForce(t *testing.T) {
	t.Parallel()
	o := live.Compose(live.Facts{At: night(), Freezes: calendar.Calendar{Freezes: []calendar.Freeze{
		{Name: "summer", From: "2026-07-01", To: "2026-08-31"},
		{Name: "audit", From: "2026-07-19T04:00", To: "2026-07-19T05:00"},
		{Name: "christmas", From: "2026-12-20", To: "2027-01-06"},
	}}})
	want := []string{`freeze "summer" until 2026-09-01 00:00 +00:00 UTC`, `freeze "audit" until 2026-07-19 05:00 +00:00 UTC`}
	if d := diff.Diff(want, o.Freezes); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
