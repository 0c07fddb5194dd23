package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/disk"
	"github.com/firebreak-dev/firebreak/internal/control/blob/gc"
	"github.com/firebreak-dev/firebreak/internal/control/blob/oci"
	"github.com/firebreak-dev/firebreak/internal/control/blob/s3"
	"github.com/firebreak-dev/firebreak/internal/control/blob/shape"
	"github.com/firebreak-dev/firebreak/internal/control/blob/upload"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/gate"
	"github.com/firebreak-dev/firebreak/internal/control/health"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/live"
	"github.com/firebreak-dev/firebreak/internal/control/metrics"
	"github.com/firebreak-dev/firebreak/internal/control/replica"
	"github.com/firebreak-dev/firebreak/internal/control/repository"
	"github.com/firebreak-dev/firebreak/internal/control/roots"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/web"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// blobs is a store of artifacts, on disk or in a bucket.
type blobs interface {
	server.Blobs
	oci.Blobs
	gc.Blobs
	Has(ctx context.Context, d release.Digest) (bool, error)
}

// open is the wiring: one place where everything meets, read from top to bottom. It is tried again after what may heal, with a new App.
func (a *App) open(ctx context.Context) error {
	a.Replica = replicaName(a.Replica) // of this try: a name that has led leads no second time
	gates, err := gate.New(gate.Options{Prometheus: a.Prometheus, Allowed: a.GateHosts, Clock: a.Clock})
	if err != nil {
		return err
	}
	others, err := a.openCells()
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		open func(context.Context) error
	}{
		{"disk", a.openDirectory},
		{"database", a.openDatabase},
		{"keys", a.openKeys},
		{"artifacts", a.openArtifacts},
		{"fleet", leaders{App: a, gates: gates, cells: others, stops: engine.NewStops()}.openReplica},
	} {
		a.start.Opening(part.name)
		if err := part.open(ctx); err != nil {
			return err
		}
	}
	a.openEntrance()
	a.ingest = ingest.New(ingest.Options{
		Store: a.store, Engine: a.replica, CA: a.ca, Metadata: a.repo, Blobs: a.blobs, Fleet: a.fleet, Clock: a.Clock,
		Log: component(a.Log, "ingest"), PollIdle: a.PollIdle, PollActive: a.PollActive, Flush: flush, Idle: idleTimeout, Streams: streams,
		Desk: a.entrance, Meter: a.metrics, Shape: shape.New(a.Clock, shape.Limits{Global: a.Downloads, Tenant: a.TenantDownloads, Slowest: slowest}).Handler,
	})
	a.watchHealth()
	overview := live.NewDesk(live.DeskOptions{
		Rollouts: a.replica, Store: a.store, Fleet: a.countFleet, Freezes: a.replica.Freezes, Health: a.checks, Clock: a.Clock,
	})
	a.hub = live.New(live.Options{Sources: server.Topics(overview, a.replica, a.store), Clock: a.Clock, Log: component(a.Log, "live")})
	a.operate = server.New(server.Options{
		Tokens: a.store, Fleet: a.store, Components: a.store, Plans: a.store, Releases: a.store, Records: a.store, Engine: a.replica,
		Freezes: a.replica, Repository: a.repository(), Blobs: a.blobs, Uploads: a.desk, Catalogue: a.catalog,
		OCI: oci.Handler(a.catalog, component(a.Log, "oci")), Garbage: a.garbage, Live: a.fleet, About: a.about, Web: web.Handler(), Random: rand.Reader, Cell: a.Cell, Leads: a.lookForLeader,
		Clock: a.Clock, Log: component(a.Log, "server"), Identities: a.ingest, Forecast: a.Forecast, Overview: overview.Overview, Watch: a.hub,
		Fingerprint: a.ca.Fingerprint(),
	})
	return nil
}

// countFleet is how the fleet is now, for the overview.
func (a *App) countFleet(now time.Time) api.FleetState { return server.CountFleet(a.fleet, "", now) }

// checks are what the health found last, for the overview.
func (a *App) checks() []api.HealthCheck {
	var all []api.HealthCheck
	for _, c := range a.health.Report().Checks {
		all = append(all, api.HealthCheck{Name: c.Name, OK: c.OK, Since: c.Since, Why: c.Why, Next: c.Next})
	}
	return all
}

// openReplica loads the fleet and takes the lead if nobody has it.
func (l leaders) openReplica(ctx context.Context) (err error) {
	l.replica, err = replica.New(ctx, replica.Options{
		Store: l.store, Open: l.open, Stops: l.stops, Fleet: l.fleet, Nudge: l.nudge, Clock: l.Clock, Log: component(l.Log, "replica"), Name: l.Replica,
		Decided: func() { l.hub.Ring() }, // once it runs
		Life:    l.Life, Grace: l.Grace, Alone: l.Database == "",
	})
	return err
}

// openDirectory makes the data directory, and looks whether this process may write there.
func (a *App) openDirectory(context.Context) error {
	if err := os.MkdirAll(a.Data, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	probe, err := os.CreateTemp(a.Data, ".probe-")
	if err != nil {
		return fmt.Errorf("write to the data directory: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// openArtifacts opens where artifacts are, and what is done with them beside keeping them.
func (a *App) openArtifacts(ctx context.Context) (err error) {
	if a.Blobs == "" {
		a.blobs, err = disk.Open(filepath.Join(a.Data, "blobs"))
	} else {
		a.blobs, err = s3.Open(ctx, a.Blobs, s3.Options{Clock: a.Clock})
	}
	if err != nil {
		return err
	}
	if a.desk, err = upload.Open(filepath.Join(a.Data, "uploads"), a.blobs, a.Clock, upload.Limits{}); err != nil {
		return err
	}
	if a.repo, err = a.repositoryOn(a.store); err != nil {
		return err
	}
	a.catalog = oci.NewCatalogue(a.store, a.blobs)
	a.garbage = &server.Collector{
		Roots: roots.Roots{Store: a.store, Pending: a.repo.Pending, Uploads: a.desk.Digests, Derived: a.catalog.Needs},
		Blobs: a.blobs, Deltas: a.store, Rebuild: a.catalog.Rebuild, Clock: a.Clock, Log: component(a.Log, "garbage"),
	}
	return a.catalog.Rebuild(ctx)
}

// nudge lets hosts that hold a stream here look again.
func (a *App) nudge(component string) {
	if a.ingest != nil { // while the first leader begins it is not there yet, and no stream is open
		a.ingest.Nudge(component)
	}
}

// databaseName is the database of one process, in the data directory.
const databaseName = "firebreak.db"

// openDatabase opens the database, this process's own or that of all replicas.
func (a *App) openDatabase(ctx context.Context) (err error) {
	if a.Database == "" {
		a.store, err = sqlite.Open(ctx, filepath.Join(a.Data, databaseName))
	} else {
		a.store, err = postgres.Open(ctx, a.Database, postgres.Options{})
	}
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.store.Close)
	a.metrics = metrics.New(metrics.Options{Version: a.Version, Reasons: rollout.WaitCodes(), Snapshot: a.snapshot})
	a.store.Observe(a.observe)
	return nil
}

// fingerprintKey names, among the settings, the authority that the installation began with.
const fingerprintKey = "authority"

// openKeys opens the authority and the director's keys.
func (a *App) openKeys(ctx context.Context) (err error) {
	dir := cmp.Or(a.Keys, filepath.Join(a.Data, "keys"))
	if a.ca, err = openAuthority(ctx, a.store, dir, a.Clock); err != nil {
		return err
	}
	a.keys, err = repository.OpenKeys(dir, rand.Reader)
	return err
}

// openAuthority opens the authority in a directory. Replicas must have the same: a host that knows one authority trusts no other. Of replicas
// that start first with different ones, at once, one keeps its own.
func openAuthority(ctx context.Context, s *store.Store, dir string, c clock.Clock) (*ca.CA, error) {
	begun, err := s.Setting(ctx, fingerprintKey)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	if _, missing := os.Stat(filepath.Join(dir, "ca.pem")); begun != "" && os.IsNotExist(missing) {
		return nil, fault.New(fault.Invalid, "open the keys in %s: they are not there, and the database belongs to an installation that has some", dir).
			Hint("copy the keys directory of another replica, or of a backup, to %s; with new keys every host would have to join again", dir)
	}
	authority, err := ca.Open(dir, c)
	if err != nil {
		return nil, err
	}
	begun, err = s.KeepSetting(ctx, fingerprintKey, authority.Fingerprint())
	if err == nil && begun != authority.Fingerprint() {
		err = fault.New(fault.Conflict, "open the keys in %s: they are not those of the database's installation", dir).
			Hint("give all replicas of an installation the same keys directory, or name the right one with --keys")
	}
	if err != nil {
		return nil, err
	}
	return authority, nil
}

func (a *App) repositoryOn(s *store.Store) (*repository.Repository, error) {
	return repository.New(repository.Options{
		Store: s, Blobs: a.blobs, Keys: a.keys, Policy: a.policy, Clock: a.Clock, Log: component(a.Log, "repository"),
	})
}

// desk is the repository as operators see it: any replica reads, the leader writes.
type desk struct {
	*repository.Repository
	leader *replica.Replica
}

func (a *App) repository() server.Repository { return desk{Repository: a.repo, leader: a.replica} }

// threeTries is how long an object store may take to be asked three times: only then it is known why it does not answer.
const threeTries = 6 * time.Second

// watchHealth says what must hold for hosts to be sent here.
func (a *App) watchHealth() {
	checks := []health.Check{
		{Name: "database", Look: func(ctx context.Context) error {
			_, err := a.store.Setting(ctx, fingerprintKey)
			return notFoundIsFine(err)
		}},
		{Name: "leader", Look: a.lookForLeader},
		{Name: "artifacts", Within: threeTries, Look: a.lookForArtifacts},
	}
	if a.Database == "" || a.Blobs == "" {
		checks = append(checks, health.RoomFor(a.Data, leastRoom))
	}
	a.health = health.New(health.Options{Checks: checks, Clock: a.Clock, Log: component(a.Log, "health")})
}

// lookForArtifacts tells whether the store of artifacts answers, and has what is being rolled out.
func (a *App) lookForArtifacts(ctx context.Context) error {
	if _, err := a.blobs.Has(ctx, release.DigestOf(nil)); err != nil {
		return err
	}
	going, err := a.replica.Rollouts(ctx, store.RolloutQuery{Active: true, Limit: 1})
	if err != nil || len(going) == 0 {
		return nil //nolint:nilerr // what is wrong with the database another check says
	}
	shipped, err := a.store.Release(ctx, going[0].Component, going[0].Version)
	if err != nil {
		return nil //nolint:nilerr // the same
	}
	return lacks(ctx, shipped.Manifest, a.blobs.Has)
}

// lacks tells which artifact of a release is not there: a replica that has a store of its own would leave its hosts without.
func lacks(ctx context.Context, m release.Manifest, has func(context.Context, release.Digest) (bool, error)) error {
	for _, artifact := range m.Artifacts {
		there, err := has(ctx, artifact.Digest)
		if err == nil && !there {
			err = fault.New(fault.NotFound, "look for artifact %s of %s %s, which is being rolled out: it is not there", artifact.Digest.Short(), m.Component, m.Version).
				Hint("give all replicas the same artifacts: one --blobs, or one --data that they share; 'firebreak release publish' of the same files brings it back")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func notFoundIsFine(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// lookForLeader tells whether some replica decides.
func (a *App) lookForLeader(ctx context.Context) error {
	if leads, _, _ := a.replica.Leads(); leads {
		return nil
	}
	l, err := a.store.Leader(ctx)
	if err == nil && l.Left <= 0 {
		err = fault.New(fault.Unavailable, "find the leader: no replica leads").Hint("one takes the lead by itself within %v; if not, look at their logs", 2*a.Life)
	}
	return err
}

// withHealth puts the health in front of the operators' port: without a token, and without the database.
func (a *App) withHealth(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", a.health.Live())
	mux.Handle("GET /readyz", a.health.Ready())
	mux.Handle("/", next)
	return mux
}

// withDefaults fills in what was left open.
func (o Options) withDefaults() Options {
	o.Grace, o.Life = cmp.Or(o.Grace, grace), cmp.Or(o.Life, life)
	return o
}

// replicaName names this process among the replicas: no other process ever has the name.
func replicaName(given string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "replica"
	}
	return cmp.Or(given, host) + "-" + strings.ToLower(rand.Text()[:8])
}
