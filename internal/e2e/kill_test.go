package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// The control plane is killed at any moments of a good and of a bad rollout, and started again each time. The outcome is the same as if
// nothing had happened, and no report that a host was told is stored is lost.
func TestServerKilledAnywhere(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	const fleetSize, seed = 8, 20240719
	kills := 9
	if testing.Short() {
		kills = 3
	}
	p := newProcess(t)
	hosts := p.newHosts(fleetSize)
	for _, h := range hosts {
		h.stop()
		h.clock.hasty = true
		h.run()
	}
	random := rand.New(rand.NewPCG(seed, seed))
	good := p.roll("v1", "good rules 1", steps())
	p.torment(random, kills, 900)
	if r := p.await(good, "v1 to be everywhere", func(r api.Rollout) bool { return complete(r) && r.Exposed == fleetSize }); r.Confirmed != fleetSize || r.Harmed != 0 {
		t.Errorf("good release: got %d confirmed and %d harmed, want all %d confirmed", r.Confirmed, r.Harmed, fleetSize)
	}
	bad := p.roll("v2", "bad rules 2", steps())
	p.torment(random, kills, 300)
	r := p.await(bad, "v2 to be stopped and left", func(r api.Rollout) bool {
		return r.Phase == "tripped" && r.Unconfirmed == 0 && r.Recovered+r.Returned == r.Exposed
	})
	if r.Harmed < 1 || r.Harmed > 3 || r.Confirmed != 0 {
		t.Errorf("bad release: got %d harmed and %d confirmed, want 1 to 3 and none", r.Harmed, r.Confirmed)
	}
	for _, h := range hosts {
		h.runs("v1")
		if got := h.current(); got != "good rules 1" {
			t.Errorf("%s: in use: got %q, want the first release", h.id, got)
		}
	}
	incidents, err := p.client.Incidents(t.Context())
	if err != nil || len(incidents) != 1 || incidents[0].Rollout != bad {
		t.Errorf("incidents: got %+v (%v), want one, of the bad rollout", incidents, err)
	}
	for _, h := range hosts {
		h.stop()
	}
	p.kill()
	p.audit(hosts, rollout.ID(good), rollout.ID(bad))
}

// torment kills the control plane again and again, after some milliseconds each.
func (p *plane) torment(random *rand.Rand, kills, within int) {
	p.t.Helper()
	for range kills {
		_ = clock.Wall{}.Sleep(p.t.Context(), time.Duration(random.IntN(within))*time.Millisecond)
		p.kill()
		p.start()
		eventually(p.t, "the control plane to answer", func() error {
			_, err := p.client.Status(p.t.Context())
			return err
		})
	}
}

// audit reads what is left on the control plane's disk: all that was acknowledged, and decisions that follow from their events.
func (p *plane) audit(hosts []*host, rollouts ...rollout.ID) {
	p.t.Helper()
	ctx := p.t.Context()
	s, err := sqlite.Open(ctx, filepath.Join(p.dir, "firebreak.db"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	endpoints, err := s.Endpoints(ctx, "", 0)
	if err != nil {
		p.t.Fatal(err)
	}
	untaken, err := s.UntakenReports(ctx, 0, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, id := range rollouts {
		p.replay(s, id)
	}
	for _, h := range hosts {
		stored := slices.IndexFunc(endpoints, func(e store.Endpoint) bool { return e.ID == fleet.EndpointID(h.id) })
		told := h.line.acknowledged()
		if stored < 0 || len(told) > 0 && endpoints[stored].ReportSeq < told[len(told)-1].Seq {
			p.t.Errorf("Invariant I8: %s was told that report %d is stored, which the store does not know", h.id, told[len(told)-1].Seq)
		}
		for _, r := range told {
			waits := slices.ContainsFunc(untaken, func(u store.Report) bool { return string(u.Endpoint) == h.id && u.Seq == r.Seq })
			if want, judged := map[string][]rollout.Outcome{
				"confirmed": {rollout.Confirmed, rollout.Late}, "crashed": {rollout.Crashed}, "reverted": {rollout.Reverted},
			}[r.Outcome]; judged && !waits {
				l := leaseOf(p.t, s, rollout.ID(r.Rollout), h.id)
				if !slices.Contains(want, l.Outcome) {
					p.t.Errorf("Invariant I8: %s reported %s, its lease says %s", h.id, r.Outcome, l.Outcome)
				}
			}
		}
	}
}

func leaseOf(t *testing.T, s *store.Store, id rollout.ID, endpoint string) store.Lease {
	t.Helper()
	leases, err := s.Leases(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases {
		if string(l.Endpoint) == endpoint {
			return l
		}
	}
	return store.Lease{}
}

// replay derives the state of a rollout from its stored events (I10), and looks at every step for I2 and I3.
func (p *plane) replay(s *store.Store, id rollout.ID) {
	p.t.Helper()
	row, err := s.Rollout(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	events, err := s.Events(p.t.Context(), id, 0, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	var state rollout.State
	for _, stored := range events {
		event, err := rollout.DecodeEvent(stored.Name, stored.Data)
		if err != nil {
			p.t.Fatal(err)
		}
		allowed, before := state.Allowed(), state
		var effects []rollout.Effect
		state, effects = rollout.Step(state.Clone(), event)
		for _, effect := range effects {
			grant, ok := effect.(rollout.GrantLease)
			switch {
			case !ok:
			case before.Phase.Final():
				p.t.Errorf("Invariant I3: revision %d of %s grants a lease though it is %s", stored.Revision, id, before.Phase)
			case !grant.Renewed && state.Unconfirmed > allowed:
				p.t.Errorf("Invariant I2: revision %d of %s: %d unconfirmed of %d allowed", stored.Revision, id, state.Unconfirmed, allowed)
			case state.Rings[grant.Ring].Leased-min(state.Rings[grant.Ring].Left(), before.Size()) > max(before.Size(), 1):
				p.t.Errorf("Invariant I2: revision %d of %s: ring %d has %d of %d", stored.Revision, id, grant.Ring,
					state.Rings[grant.Ring].Leased, before.Size())
			}
		}
	}
	if diff := cmp.Diff(row.State, state, cmpopts.IgnoreUnexported(rollout.State{})); diff != "" {
		p.t.Errorf("Invariant I10: rollout %s (- stored, + replayed):\n%s", id, diff)
	}
	if row.Revision != int64(len(events)) {
		p.t.Errorf("rollout %s: got revision %d with %d events", id, row.Revision, len(events))
	}
}

// fleetOf joins n hosts that all run v1, and are quiet enough that many of them fit on a small machine.
func fleetOf(t *testing.T, n int) (*plane, []*host) {
	t.Helper()
	p := newPlane(t, 600*time.Millisecond, 200*time.Millisecond)
	hosts := make([]*host, n)
	for i := range hosts {
		h := p.newHost()
		h.file.Soak, h.file.Interval, h.file.Watch = component.Duration(150*time.Millisecond), component.Duration(150*time.Millisecond), 0
		h.run()
		hosts[i] = h
	}
	id := p.roll("v1", "good rules 1", atOnce())
	for _, h := range hosts {
		h.runs("v1")
	}
	p.await(id, "v1 to be everywhere", complete)
	return p, hosts
}

// strike gives every host a fault: the n-th host at the n-th change of its file system from now on.
func strike(hosts []*host, kind disktest.Kind, stride int) []*disktest.Faulty {
	faulty := make([]*disktest.Faulty, len(hosts))
	for i, h := range hosts {
		h.stop()
		faulty[i] = disktest.New(disk.OS{}, disktest.Fault{Kind: kind, At: 1 + i*stride, Tear: i%2 == 1})
		h.fs, h.killed = faulty[i], func() bool { return kind == disktest.Kill && faulty[i].Struck() }
		h.run()
	}
	return faulty
}

// longestRetry is what a host waits at most before it tries again what failed.
const longestRetry = 5 * time.Minute

// heal runs every struck host's next agent on a sound disk, as soon as it was struck, until all are content. What is in use must be one
// of the texts at any moment.
func heal(t *testing.T, hosts []*host, faulty []*disktest.Faulty, content func(h *host) error, texts ...string) (struck int) {
	t.Helper()
	healed := make([]bool, len(hosts))
	eventually(t, "all hosts to be well", func() error {
		var failed error
		for i, h := range hosts {
			if got := h.current(); !slices.Contains(texts, got) {
				t.Fatalf("change %d: in use: got %q, want one of %q", i+1, got, texts)
			}
			if !healed[i] && faulty[i].Struck() {
				healed[i] = true
				h.cut()
				h.clock.move(longestRetry) // a host gives whoever mends its disk some time
				h.fs, h.killed = disk.OS{}, nil
				h.run()
			}
			if failed == nil { // one that is not content is enough to know
				failed = content(h)
			}
		}
		return failed
	})
	for _, done := range healed {
		if done {
			struck++
		}
	}
	return struck
}

func on(version string) func(*host) error {
	return func(h *host) error {
		if s := h.state(); s.Current.Version != version || s.Phase != install.Idle {
			return fmt.Errorf("%s runs %q, %s: %s", h.id, s.Current.Version, s.Phase, s.Why)
		}
		return nil
	}
}

// changes says how many hosts are struck so that all of so many changes are tried, and how far apart: less are tried where time is short.
func changes(all, stride int) (hosts, apart int) {
	if testing.Short() {
		stride = 6
	}
	return (all + stride - 1) / stride, stride
}

// One update makes about 50 changes to the file system if it is good, and some 20 more if it is not.
const (
	goodChanges = 60
	badChanges  = 80
)

// An agent dies before any change of its file system, during a good update. Its successor ends where it would have.
func TestAgentKilledAtEveryChangeOfAGoodUpdate(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	n, stride := changes(goodChanges, 1)
	p, hosts := fleetOf(t, n)
	faulty := strike(hosts, disktest.Kill, stride)
	id := p.roll("v2", "good rules 2", atOnce())
	struck := heal(t, hosts, faulty, on("v2"), "good rules 1", "good rules 2")
	t.Logf("struck %d of %d hosts", struck, n)
	if struck < n/2 {
		t.Errorf("struck: got %d of %d hosts, want more", struck, n)
	}
	if struck == n {
		t.Errorf("struck: all %d hosts; an update makes more changes than are tried", n)
	}
	p.await(id, "all to be confirmed", func(r api.Rollout) bool { return r.Confirmed == int64(n) && r.Harmed == 0 })
}

// The same during a bad update: wherever the agent dies, the host ends on the old release, and the harm is told.
func TestInvariantI5AgentKilledAtEveryChangeOfABadUpdate(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	n, stride := changes(badChanges, 1)
	p, hosts := fleetOf(t, n)
	faulty := strike(hosts, disktest.Kill, stride)
	id := p.roll("v2", "bad rules 2", atOnce())
	struck := heal(t, hosts, faulty, func(h *host) error {
		if len(h.state().Refused) == 0 {
			return fmt.Errorf("%s has not tried the release yet: %s", h.id, h.state().Phase)
		}
		return on("v1")(h)
	}, "good rules 1", "bad rules 2")
	t.Logf("struck %d of %d hosts", struck, n)
	if struck == n {
		t.Errorf("struck: all %d hosts; going back makes more changes than are tried", n)
	}
	p.await(id, "all to be harmed and recovered", func(r api.Rollout) bool { return r.Harmed == int64(n) && r.Recovered == int64(n) })
}

// The disk fills up before any change, in download, staging and activation, and stays full: the host runs the old release or the new one,
// says why it does not get further, and gets further once there is space.
func TestDiskFullAtEveryChange(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	n, stride := changes(goodChanges, 2)
	p, hosts := fleetOf(t, n)
	faulty := strike(hosts, disktest.Full, stride)
	id := p.roll("v2", "good rules 2", atOnce())
	eventually(t, "all to have v2 or to say that the disk is full", func() error {
		for i, h := range hosts {
			if s := h.state(); s.Current.Version != "v2" && (!faulty[i].Struck() || s.Why == "") {
				return fmt.Errorf("change %d: runs %q, %s: %q", i+1, s.Current.Version, s.Phase, s.Why)
			}
		}
		return nil
	})
	heal(t, hosts, faulty, on("v2"), "good rules 1", "good rules 2")
	p.await(id, "all to be confirmed", func(r api.Rollout) bool { return r.Confirmed == int64(n) && r.Harmed == 0 })
}

// A bad release is left with a disk that has been full since the activation began.
func TestInvariantI5RevertsOnAFullDisk(t *testing.T) {
	t.Parallel()
	n, stride := changes(badChanges, 3)
	p, hosts := fleetOf(t, n)
	faulty := strike(hosts, disktest.Full, stride)
	id := p.roll("v2", "bad rules 2", atOnce())
	eventually(t, "all to be back, or not to have tried", func() error {
		for i, h := range hosts {
			s := h.state()
			tried := len(s.Refused) > 0 && s.Phase == install.Idle
			if s.Current.Version != "v1" || !tried && (!faulty[i].Struck() || s.Why == "") {
				return fmt.Errorf("change %d: runs %q, %s: %q", i+1, s.Current.Version, s.Phase, s.Why)
			}
		}
		return nil
	})
	for _, h := range hosts {
		if got := h.current(); got != "good rules 1" {
			t.Errorf("in use on a full disk: got %q, want the first release", got)
		}
	}
	p.await(id, "those that tried to have recovered", func(r api.Rollout) bool { return r.Recovered == r.Harmed && r.Unconfirmed == 0 })
}
