// Package storetest is the contract that every database of package store keeps: one small case for each promise.
package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Open gives an empty store that is closed when the test ends.
type Open func(testing.TB) *store.Store

type test struct {
	name string
	run  func(*testing.T, *store.Store)
}

// Run runs the whole suite, each case on a store of its own.
func Run(t *testing.T, open Open) {
	groups := [][]test{
		tokenTests(), sessionTests(), auditTests(), endpointTests(), componentTests(), metadataTests(), rolloutTests(), commitTests(),
		incidentTests(), directiveTests(), reportTests(), deltaTests(), hearingTests(),
		lookTests(), leaderTests(), letterTests(), wakeTests(), answerTests(),
	}
	for _, group := range groups {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, open(t))
			})
		}
	}
}

// The time of all cases, with the microseconds that a store keeps.
var now = time.Date(2026, 7, 19, 4, 9, 0, 123456000, time.UTC)

func after(d time.Duration) time.Time { return now.Add(d) }

// ok ends the test at an error.
func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
}

// must is ok for calls with a result.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

// refused checks the kind of an error.
func refused(t testing.TB, err error, want fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want {
		t.Errorf("got error %v (%s), want kind %s", err, fault.KindOf(err), want)
	}
}

// same compares a result with what is wanted. What a state keeps to itself is not stored.
func same[T any](t testing.TB, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(rollout.State{})); diff != "" {
		t.Errorf("got a different %T (-want +got):\n%s", got, diff)
	}
}

// digest makes a well-formed digest of a name.
func digest(name string) release.Digest { return release.DigestOf([]byte(name)) }

func endpoint(id fleet.EndpointID) store.Endpoint {
	return store.Endpoint{
		ID: id, Tenant: "acme", Attributes: fleet.Attributes{OS: "linux", Version: "12", Class: "server", Site: "graz"},
		Labels: fleet.Labels{"role": "web"}, Enrolled: now,
	}
}

func somePlan(name string) plan.Plan {
	return plan.Plan{
		Name:  name,
		Rings: []plan.Ring{{Name: "first", Hosts: 2, Select: fleet.Selector{"os": {"linux", "windows"}}}, {Name: "rest", Share: 1}},
		Watch: plan.Duration(36 * time.Hour), Breaker: breaker.Params{Ceiling: 0.001},
	}
}

func published(component, version string, serial int64) release.Published {
	name := component + " " + version
	return release.Published{
		Digest: digest("manifest of " + name),
		Manifest: release.Manifest{
			Format: 1, Component: component, Version: version, Serial: serial, Floor: 1, Kind: release.Content, Created: now,
			Artifacts: []release.Artifact{{Platform: release.AnyPlatform, Format: release.File, Name: "rules.json", Digest: digest(name), Size: 7}},
			Contract:  map[string]string{"fields": "20"}, Plan: somePlan("careful"),
		},
	}
}

func state(id rollout.ID) rollout.State {
	return rollout.State{
		ID: id, Release: rollout.Release{Component: "sensor-content", Version: "v2", Manifest: digest("v2"), Artifacts: []release.Digest{digest("a")}},
		Plan: somePlan("careful"), Phase: rollout.Running, Rings: []rollout.RingState{{Leased: 1, HostHours: 0.25}, {}},
		Window: 2, Unconfirmed: 1, Alarm: breaker.Quiet, Started: now.Add(789 * time.Nanosecond), Last: now, Observed: 3 * time.Second,
	}
}

// commit makes the commit of a rollout's event at a revision.
func commit(id rollout.ID, revision int64) store.Commit {
	s := state(id)
	s.Unconfirmed = revision
	return store.Commit{State: s, Events: []store.Event{{
		Rollout: id, Revision: revision, At: after(time.Duration(revision) * time.Second), Name: "woke",
		Data: json.RawMessage(fmt.Sprintf(`{"at": %d}`, revision)), Effects: json.RawMessage(`[]`),
	}}}
}

func lease(id rollout.ID, endpoint fleet.EndpointID) *store.Lease {
	return &store.Lease{
		ID: "l-" + string(endpoint), Rollout: id, Endpoint: endpoint, Tenant: "acme", Site: "graz", Stratum: "os linux", Class: "server", Ring: 1,
		Issued: now, Expires: after(time.Minute), Deadline: after(time.Hour), Outcome: rollout.Pending,
	}
}
