// Package backuptest makes data directories as a control plane leaves them, for tests of backups and of what looks at them.
package backuptest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/disk"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/repository"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/domain/trust/trusttest"
)

// Component is the one that installations have.
const Component = "sensor-content"

// Rollout is the one that is running.
const Rollout rollout.ID = "ro-1"

// Start is when installations were made.
func Start() time.Time { return time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC) }

// Installation is a data directory whose server is open until the test ends or [Installation.Stop].
type Installation struct {
	Dir   string
	Store *store.Store
	Blobs *disk.Store
	Repo  *repository.Repository
	Clock *clock.Fixed

	t    testing.TB
	role *trust.Targets
}

// New makes an installation with keys, a published release, a running rollout of it, an endpoint and a token.
func New(t testing.TB) *Installation {
	t.Helper()
	return In(t, filepath.Join(t.TempDir(), "data"))
}

// In makes such an installation in a directory that is not there yet.
func In(t testing.TB, dir string) *Installation {
	t.Helper()
	in := &Installation{t: t, Dir: dir, Clock: clock.At(Start())}
	_, err := ca.Open(filepath.Join(in.Dir, "keys"), in.Clock)
	in.must(err)
	in.Open()
	t.Cleanup(func() { in.Stop() })
	in.role = trust.NewRole(0, Start().AddDate(1, 0, 0))
	in.trust()
	in.must(in.Store.PutComponent(t.Context(), store.Component{Name: Component, Kind: release.Content, Validation: "required", Created: Start()}))
	in.must(in.Store.PutEndpoint(t.Context(), store.Endpoint{ID: "ep-1", Tenant: "default", Enrolled: Start(), LastSeen: Start()}))
	in.must(in.Store.PutToken(t.Context(), store.Token{ID: "t1", Hash: []byte("h"), Kind: store.OperatorToken, Created: Start()}))
	in.Publish("1", 1)
	in.start()
	in.must(in.Store.PutDirective(t.Context(), store.Directive{Component: Component, Sequence: 7, Envelope: []byte("{}"), Issued: Start()}))
	return in
}

// Again opens a data directory that is there already.
func Again(t testing.TB, dir string) *Installation {
	t.Helper()
	in := &Installation{t: t, Dir: dir, Clock: clock.At(Start())}
	in.Open()
	t.Cleanup(func() { in.Stop() })
	return in
}

// Engine is a new engine over the installation, as a server has when it starts.
func (in *Installation) Engine() *engine.Engine {
	in.t.Helper()
	e, err := engine.New(in.t.Context(), engine.Options{
		Store: in.Store, Settings: in.Store, Releases: in.Store, Directives: in.Store, Fleet: registry.New(), Signer: in.Repo, Notifier: nobody{},
		Clock: in.Clock, Log: slog.New(slog.DiscardHandler), NewID: func(prefix string) string { return prefix + "-9" },
		Tick: time.Second, Grace: time.Minute, Reach: time.Hour, Hearing: time.Hour, Freshness: time.Hour,
	})
	in.must(err)
	return e
}

// nobody is told anything.
type nobody struct{}

// Notify implements engine.Notifier.
func (nobody) Notify(context.Context, string, string) {}

// Open opens what is in the directory, as a server does.
func (in *Installation) Open() {
	in.t.Helper()
	var err error
	in.Store, err = sqlite.Open(context.WithoutCancel(in.t.Context()), filepath.Join(in.Dir, "firebreak.db"))
	in.must(err)
	in.Blobs, err = disk.Open(filepath.Join(in.Dir, "blobs"))
	in.must(err)
	keys, err := repository.OpenKeys(filepath.Join(in.Dir, "keys"), rand.Reader)
	in.must(err)
	in.Repo, err = repository.New(repository.Options{
		Store: in.Store, Blobs: in.Blobs, Keys: keys, Clock: in.Clock, Log: slog.New(slog.DiscardHandler),
		Policy: func(context.Context, string) (repository.ComponentPolicy, error) {
			return repository.ComponentPolicy{Kind: release.Content, ValidationRequired: true}, nil
		},
	})
	in.must(err)
}

// Stop closes the database, as a server does that stops. It may be called again.
func (in *Installation) Stop() {
	if in.Store != nil {
		in.must(in.Store.Close())
	}
	in.Store = nil
}

// trust submits root and targets.
func (in *Installation) trust() {
	in.t.Helper()
	online, err := repository.OpenKeys(filepath.Join(in.Dir, "keys"), rand.Reader)
	in.must(err)
	one := func(s *trust.Signer) trust.Keys { return trust.NewKeys(1, []ed25519.PublicKey{s.Public()}...) }
	root, err := trust.NewRoot(1, Start().AddDate(1, 0, 0), trust.RootRoles{
		Root: one(trusttest.Signer(in.t, "root")), Targets: one(trusttest.Signer(in.t, "targets")), Snapshot: one(online.Snapshot),
		Timestamp: one(online.Timestamp),
	})
	in.must(err)
	in.must(trust.Sign(root, trusttest.Signer(in.t, "root")))
	data, err := trust.Encode(root)
	in.must(err)
	in.submit(trust.RoleRoot, data)
	targets, err := trust.NewTargets(1, Start().AddDate(1, 0, 0), []trust.Delegation{
		{Role: trust.RoleDirector, Keys: one(online.Director)}, {Role: Component, Keys: one(trusttest.Signer(in.t, Component))},
	})
	in.must(err)
	in.must(trust.Sign(targets, trusttest.Signer(in.t, "targets")))
	data, err = trust.Encode(targets)
	in.must(err)
	in.submit(trust.RoleTargets, data)
}

// Publish publishes one more release.
func (in *Installation) Publish(version string, serial int64) {
	in.t.Helper()
	m := trusttest.Manifest(Component, version, serial, Start())
	data, err := json.Marshal(m)
	in.must(err)
	for _, content := range [][]byte{[]byte(Component + " " + version), data} {
		in.must(in.Blobs.Put(in.t.Context(), release.DigestOf(content), int64(len(content)), bytes.NewReader(content)))
	}
	in.must(trust.AddRelease(in.role, data))
	in.role.Signed.Version++
	in.role.Signatures = nil
	in.must(trust.Sign(in.role, trusttest.Signer(in.t, Component)))
	signed, err := trust.Encode(in.role)
	in.must(err)
	in.submit(Component, signed)
}

func (in *Installation) submit(role string, data []byte) {
	in.t.Helper()
	_, err := in.Repo.Submit(in.t.Context(), role, data)
	in.must(err)
}

// start begins the rollout of version 1.
func (in *Installation) start() {
	in.t.Helper()
	p, err := in.Store.Release(in.t.Context(), Component, "1")
	in.must(err)
	var artifacts []release.Digest
	for _, a := range p.Manifest.Artifacts {
		artifacts = append(artifacts, a.Digest)
	}
	in.Commit(rollout.State{}, 0, rollout.Started{
		At: Start(), ID: Rollout, Plan: p.Manifest.Plan.Defaulted(), Eligible: 10, Actor: "alice",
		Release: rollout.Release{Component: Component, Version: "1", Serial: 1, Manifest: p.Digest, Artifacts: artifacts},
	})
}

// Commit decides over an event of the rollout and stores it.
func (in *Installation) Commit(s rollout.State, revision int64, event rollout.Event) {
	in.t.Helper()
	next, effects := rollout.Step(s, rollout.Dated(s, event))
	e := store.Event{Rollout: Rollout, Revision: revision + 1, At: event.When()}
	var err error
	e.Name, e.Data, err = rollout.EncodeEvent(event)
	in.must(err)
	e.Effects, err = rollout.EncodeEffects(effects)
	in.must(err)
	in.must(in.Store.Commit(in.t.Context(), store.Commit{Events: []store.Event{e}, State: next}))
}

// View is an endpoint that trusts root 1 and saw what is published now.
func (in *Installation) View() *trust.View {
	in.t.Helper()
	root, err := in.Repo.File(in.t.Context(), "1.root.json")
	in.must(err)
	v, err := trust.Open(root, nil)
	in.must(err)
	in.must(in.Refresh(v))
	return v
}

// Refresh lets an endpoint look at what is published now.
func (in *Installation) Refresh(v *trust.View) error {
	_, err := v.Refresh(in.Clock.Now(), []string{Component}, func(name string) ([]byte, error) { return in.Repo.File(in.t.Context(), name) })
	return err
}

func (in *Installation) must(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}
