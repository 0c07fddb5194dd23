package client_test

import (
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
)

func TestClientLooksBack(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	now := servertest.Start()
	if err := w.Store.AddSamples(t.Context(), []store.Sample{{At: now, Hosts: 10, Heard: 9}, {At: now, Component: "sensor-content", Version: "1", Hosts: 3}}); err != nil {
		t.Fatal(err)
	}
	c, ctx := dial(t, w.URL, w.Token), t.Context()
	for name, want := range map[string]struct {
		filter client.RolloutFilter
		n      int
	}{
		"all":     {client.RolloutFilter{}, 1},
		"active":  {client.RolloutFilter{Active: true}, 0},
		"tripped": {client.RolloutFilter{Component: "sensor-content", Phases: []string{"halted", "tripped"}}, 1},
		"halted":  {client.RolloutFilter{Phases: []string{"halted"}}, 0},
	} {
		n := 0
		for r, err := range c.FindRollouts(ctx, want.filter) {
			if err != nil || r.Incident == "" {
				t.Errorf("%s: got %+v, %v", name, r, err)
			}
			n++
		}
		if n != want.n {
			t.Errorf("%s: got %d rollouts, want %d", name, n, want.n)
		}
	}
	series, err := c.Series(ctx, "ro-1", 3)
	if err != nil || len(series.Points) != 3 || !series.Sampled {
		t.Errorf("got %+v, %v, want three points of more", series, err)
	}
	if whole, err := c.Series(ctx, "ro-1", 0); err != nil || len(whole.Points) != 6 {
		t.Errorf("got %+v, %v, want a point for each of six decisions", whole, err)
	}
	var last api.Decision
	for d, err := range c.Timeline(ctx, "ro-1") {
		if err != nil {
			t.Fatal(err)
		}
		last = d
	}
	if last.Event != "started" {
		t.Errorf("got %+v last, want the start", last)
	}
	if state, err := c.FleetState(ctx, "sensor-content"); err != nil || state.Endpoints != 10 {
		t.Errorf("got %+v, %v, want ten hosts", state, err)
	}
	if history, err := c.FleetHistory(ctx, "", time.Time{}); err != nil || len(history.Samples) != 1 || history.Samples[0].Heard != 9 {
		t.Errorf("got %+v, %v, want the sample of the whole fleet", history, err)
	}
	if history, err := c.FleetHistory(ctx, "sensor-content", now); err != nil || len(history.Samples) != 1 || history.Samples[0].Version != "1" {
		t.Errorf("got %+v, %v, want the version's sample", history, err)
	}
	for filter, want := range map[*client.EndpointFilter]int64{{AtRisk: true}: 10, {Refusing: true}: 0, {Lacks: []string{"guard", "good"}}: 10} {
		if n, _, err := c.CountEndpoints(ctx, *filter); err != nil || n != want {
			t.Errorf("%+v: got %d, %v, want %d", *filter, n, err, want)
		}
	}
}
