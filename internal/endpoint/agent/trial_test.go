package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/consumer"
)

// A bad end that systemd noted since the trial began is a crash, whatever the probes say; one of before, or of another unit, is not.
func TestNotedExitIsACrash(t *testing.T) {
	t.Parallel()
	o := newAgent(t, &paper{}).Options
	u, err := newUnit(o, component.File{Component: sensor, Kind: "content", Consumer: component.Consumer{Unit: "sensor.service"}}.Defaulted())
	if err != nil {
		t.Fatal(err)
	}
	exit := consumer.Describe(-1, "SEGV", "core-dump: signal SEGV", "panic: boom")
	for _, c := range []struct {
		unit string
		at   time.Time
		want bool
	}{
		{"sensor.service", start.Add(-time.Second), false},
		{"other.service", start.Add(time.Second), false},
		{"sensor", start.Add(time.Second), true},
	} {
		exit.At = c.at
		if err := u.exits.Note(consumer.Noted{Unit: c.unit, Exit: exit}); err != nil {
			t.Fatal(err)
		}
		trial, err := u.newTrial(t.Context(), "1")
		if err != nil {
			t.Fatal(err)
		}
		trial.since = start
		found := trial.round(t.Context())
		if found.crashed != c.want || found.bad != c.want || found.well == c.want {
			t.Errorf("%s at %s: got %+v, want a crash: %t", c.unit, c.at, found, c.want)
		}
		if c.want {
			want := &install.Crash{Signal: "SEGV", Status: -1, Signature: exit.Signature, Headline: "panic: boom"}
			if diff := cmp.Diff(want, found.crash); diff != "" {
				t.Errorf("crash (-want +got):\n%s", diff)
			}
		}
	}
}

// The control plane is told how the consumer died.
func TestCrashIsReported(t *testing.T) {
	t.Parallel()
	a, u, _, _ := guarded(t, "content", install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2})
	crash := install.Crash{Signal: "ABRT", Status: -1, Signature: "0123456789ab", Headline: "double free or corruption (out)"}
	a.event(t.Context(), u, install.Broke{At: start, Crashed: true, Why: "it died", Crash: &crash})
	want := []api.Report{{
		Seq: 1, At: start, Component: sensor, Rollout: "r2", Release: "v2", Manifest: "sha256:2", Outcome: "crashed", Detail: "it died",
		Crash: &api.Crash{Signal: "ABRT", Status: -1, Signature: "0123456789ab", Headline: "double free or corruption (out)"},
	}}
	if diff := cmp.Diff(want, a.memory.Reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}
