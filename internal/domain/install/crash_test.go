package install_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// TestCrashEverywhere plays every scenario again, once for each of its events: after that event the agent is killed, before or after the
// effects were carried out, once or twice, and started again. Every scenario ends as if nothing had happened, with the same reports;
// only a release that the added deaths are blamed on may be left instead.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	for name, path := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := &host{now: epoch}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				whole.run(t, d)
				return d.Expected
			})
			for i := range whole.events {
				for _, c := range []crash{{after: i}, {after: i, done: true}, {after: i, deaths: 2}} {
					c.compare(t, whole)
				}
			}
		})
	}
}

// crash says where the agent dies.
type crash struct {
	after  int  // this event of the scenario
	done   bool // its swap or restore was carried out, but nobody was told
	deaths int  // in a row; 0 is one
}

func (c crash) String() string {
	return fmt.Sprintf("killed after event %d, effects done: %t, deaths: %d", c.after, c.done, max(1, c.deaths))
}

func (c crash) compare(t *testing.T, whole *host) {
	h := &host{}
	fetched := map[release.Digest]install.Fetched{}
	for i, e := range whole.events {
		if f, ok := e.(install.Fetched); ok {
			fetched[f.Manifest] = f
		}
		h.step(t, e)
		if i == c.after {
			c.die(t, h, whole.events[i+1:], fetched)
		}
	}
	if h.blamed() {
		if h.state.Phase == install.Proving || h.state.Phase != install.Reverting && h.disk != h.state.Current.Slot {
			t.Errorf("%s: blamed, but %s runs in phase %s and the disk shows %q", c, show(h.state.Current), h.state.Phase, h.disk)
		}
		return
	}
	// How often and why something failed before is not what matters.
	passing := cmpopts.IgnoreFields(install.State{}, "Tries", "RetryAt", "Why")
	if diff := cmp.Diff(whole.state, h.state, passing); diff != "" {
		t.Errorf("%s: the end differs (-uninterrupted +killed):\n%s", c, diff)
	}
	if diff := cmp.Diff(whole.reports, h.reports); diff != "" {
		t.Errorf("%s: the reports differ (-uninterrupted +killed):\n%s", c, diff)
	}
	if h.disk != whole.disk {
		t.Errorf("%s: the disk shows %q, uninterrupted %q", c, h.disk, whole.disk)
	}
}

// blamed tells whether a release was left because the agent died too often.
func (h *host) blamed() bool {
	return slices.ContainsFunc(h.state.Refused, func(r install.Refusal) bool { return strings.Contains(r.Why, "again and again") })
}

// die kills the agent, starts it again, and does what it wants until it waits for what comes next in the scenario.
func (c crash) die(t *testing.T, h *host, rest []install.Event, fetched map[release.Digest]install.Fetched) {
	at := h.at
	if c.done && len(rest) > 0 {
		if _, another := rest[0].(install.Restarted); !another { // that one brings its own disk
			h.carryOut(rest[0])
		}
	}
	ready := h.state.Phase == install.Ready
	for range max(1, c.deaths) {
		h.step(t, install.Restarted{At: at, Current: h.disk})
	}
	if ready && h.state.Phase == install.Fetching {
		f := fetched[h.state.Next.Manifest]
		f.At = at
		h.step(t, f)
	}
}
