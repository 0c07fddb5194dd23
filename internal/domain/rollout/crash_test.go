package rollout_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func crashed(host, second int, c *rollout.Crash) rollout.OutcomeKnown {
	return rollout.OutcomeKnown{
		At: epoch.Add(time.Duration(second) * time.Second), Endpoint: fleet.EndpointID(fmt.Sprintf("h%d", host)), Was: rollout.Pending,
		Outcome: rollout.Crashed, Crash: c,
	}
}

// Equal crashes are one cluster, however they are worded; each host counts once in it.
func TestCrashesCluster(t *testing.T) {
	t.Parallel()
	parse := &rollout.Crash{Signal: "SIGSEGV", Signature: "f00d", Headline: "in parse at 0x1"}
	again := &rollout.Crash{Signal: "SIGSEGV", Signature: "f00d", Headline: "in parse at 0x2"}
	panics, killed, exited := &rollout.Crash{Status: 2, Signature: "beef"}, &rollout.Crash{Signal: "SIGKILL"}, &rollout.Crash{Status: 1}
	blamed := crashed(9, 9, parse)
	blamed.Blamed = "another rollout"
	var all rollout.Crashes
	for _, e := range []rollout.OutcomeKnown{
		crashed(1, 1, panics), crashed(2, 2, parse), crashed(3, 3, again), crashed(3, 4, parse), crashed(3, 5, panics), crashed(4, 6, killed),
		crashed(5, 7, exited), crashed(6, 8, nil), crashed(7, 8, &rollout.Crash{}), crashed(8, 8, killed), crashed(10, 8, parse), blamed,
	} {
		all.Add(e)
	}
	want := []rollout.Cluster{
		{Crash: *parse, Hosts: 3, First: epoch.Add(2 * time.Second)},
		{Crash: *panics, Hosts: 2, First: epoch.Add(time.Second)},
		{Crash: *killed, Hosts: 2, First: epoch.Add(6 * time.Second)},
		{Crash: *exited, Hosts: 1, First: epoch.Add(7 * time.Second)},
	}
	if diff := cmp.Diff(want, all.Largest(10)); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
	if got := all.Largest(1); len(got) != 1 || got[0].Signature != "f00d" {
		t.Errorf("got %+v, want the largest alone", got)
	}
	if got := new(rollout.Crashes).Largest(10); len(got) != 0 {
		t.Errorf("got %+v of no crashes, want none", got)
	}
}

// Hosts that invent a crash each time do not fill the memory.
func TestCrashesAreBounded(t *testing.T) {
	t.Parallel()
	var all rollout.Crashes
	for i := range 100_010 {
		all.Add(crashed(1, 0, &rollout.Crash{Signature: fmt.Sprint(i)}))
	}
	if got := len(all.Largest(1_000_000)); got != 100_000 {
		t.Errorf("got %d clusters, want 100000", got)
	}
}

// What a host found of a crash is in the stored event, and in no other.
func TestCrashIsStored(t *testing.T) {
	t.Parallel()
	for _, want := range []rollout.OutcomeKnown{crashed(1, 1, &rollout.Crash{Signal: "SIGSEGV", Status: 3, Signature: "f00d", Headline: "x"}), crashed(1, 1, nil)} {
		name, data, err := rollout.EncodeEvent(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rollout.DecodeEvent(name, data)
		if diff := cmp.Diff(rollout.Event(want), got); diff != "" || err != nil {
			t.Errorf("error %v, stored event (-want +got):\n%s", err, diff)
		}
	}
}
