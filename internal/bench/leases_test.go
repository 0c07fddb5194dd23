package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const sensor = "sensor-content"

// rush is an engine over a SQLite database on disk, with a rollout whose only ring is open to the whole fleet.
type rush struct {
	db     *store.Store
	engine *engine.Engine
	wish   api.Wish
	hosts  []fleet.EndpointID
}

func newRush(t *testing.T, hosts int) *rush {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "firebreak.db"))
	ok(err)
	t.Cleanup(func() { _ = db.Close() })
	r := &rush{db: db}
	known, now := registry.New(), clock.Wall{}.Now()
	for n := range hosts {
		id := fleet.EndpointID(fmt.Sprintf("ep-%020x", n))
		number, err := db.Enrol(t.Context(), store.Endpoint{ID: id, Tenant: fleet.DefaultTenant, Enrolled: now, LastSeen: now})
		ok(err)
		known.Put(registry.Endpoint{
			ID: id, Number: number, LastSeen: now, Synced: true, Subject: fleet.Subject{Tenant: fleet.DefaultTenant},
			Components: map[string]api.Component{sensor: {Kind: "content", Phase: "idle"}},
		})
		r.hosts = append(r.hosts, id)
	}
	m := release.Manifest{
		Format: 1, Component: sensor, Version: "1", Serial: 1, Kind: release.Content, Created: now.Add(-time.Minute),
		Artifacts: []release.Artifact{{
			Platform: release.AnyPlatform, Format: release.File, Name: "rules", Digest: release.DigestOf([]byte("1")), Size: 1,
		}},
		Plan: plan.Plan{
			Name: "all", Rings: []plan.Ring{{Name: "all", Share: 1}}, Window: plan.Window{Start: int64(hosts), Max: int64(hosts)},
			Lease: plan.Lease{Expires: plan.Duration(time.Hour), Deadline: plan.Duration(time.Hour)},
		}.Defaulted(),
	}
	data, err := json.Marshal(m)
	ok(err)
	digest := release.DigestOf(data)
	ok(db.SaveMetadata(t.Context(), nil, []release.Published{{Manifest: m, Digest: digest}}))
	var ids atomic.Int64
	r.engine, err = engine.New(t.Context(), engine.Options{
		Store: db, Settings: db, Releases: db, Directives: db, Fleet: known, Signer: pen{}, Notifier: nobody{}, Clock: clock.Wall{},
		Log: slog.New(slog.DiscardHandler), NewID: func(prefix string) string { return fmt.Sprintf("%s-%d", prefix, ids.Add(1)) },
		Tick: time.Second, Grace: time.Hour, Reach: time.Hour, Hearing: time.Hour, Freshness: time.Hour,
	})
	ok(err)
	started, err := r.engine.Start(t.Context(), api.StartRollout{Component: sensor, Version: "1"}, "bench")
	ok(err)
	r.wish = api.Wish{Component: sensor, Rollout: started.ID, Manifest: string(digest)}
	return r
}

// talkers is how many hosts talk at the same time.
const talkers = 64

// each does something for every host, talkers at a time, and tells how many a second.
func (r *rush) each(t *testing.T, do func(id fleet.EndpointID) error) float64 {
	t.Helper()
	var all sync.WaitGroup
	next := make(chan fleet.EndpointID)
	begun := clock.Wall{}.Now()
	for range talkers {
		all.Go(func() {
			for id := range next {
				if err := do(id); err != nil {
					t.Errorf("host %s: %v", id, err)
				}
			}
		})
	}
	for _, id := range r.hosts {
		next <- id
	}
	close(next)
	all.Wait()
	return float64(len(r.hosts)) / clock.Wall{}.Now().Sub(begun).Seconds()
}

// Leases are durable before the hosts have them, and reports are durable and decided on before they are acknowledged.
func TestLeases(t *testing.T) {
	hosts := 400
	if *full {
		hosts = 40_000
	}
	r := newRush(t, hosts)
	figure(t, "leases", r.each(t, func(id fleet.EndpointID) error {
		_, refusal, err := r.engine.Ask(context.Background(), id, r.wish)
		if err == nil && refusal != "" {
			err = fault.New(fault.Conflict, "%s", refusal)
		}
		return err
	}), "1/s")
	data, err := json.Marshal(api.Report{Seq: 1, Component: sensor, Rollout: r.wish.Rollout, Manifest: r.wish.Manifest, Outcome: "confirmed"})
	if err != nil {
		t.Fatal(err)
	}
	figure(t, "reports_decided", r.each(t, func(id fleet.EndpointID) error {
		if _, err := r.db.AddReports(context.Background(), id, clock.Wall{}.Now(), []store.Report{{Seq: 1, Data: data}}); err != nil {
			return err
		}
		return r.engine.Take(context.Background(), id)
	}), "1/s")
	leases, err := r.db.Leases(t.Context(), rollout.ID(r.wish.Rollout))
	if err != nil || len(leases) != hosts {
		t.Fatalf("got %d leases, %v, want %d", len(leases), err, hosts)
	}
	for _, l := range leases {
		if l.Outcome != rollout.Confirmed {
			t.Fatalf("host %s: got %s, want it confirmed", l.Endpoint, l.Outcome)
		}
	}
}

type pen struct{}

func (pen) Sign(_ context.Context, d api.Directive) ([]byte, error)  { return json.Marshal(d) }
func (pen) SignLease(_ context.Context, l api.Lease) ([]byte, error) { return json.Marshal(l) }

type nobody struct{}

func (nobody) Notify(context.Context, string, string) {}
