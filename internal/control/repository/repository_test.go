package repository_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/repository"
	"github.com/firebreak-dev/firebreak/internal/control/repository/repositorytest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/domain/trust/trusttest"
)

const (
	sensor = "sensor-content"
	nginx  = "nginx-config"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bench is a repository over memory and the offline keys of a publisher.
type bench struct {
	t      *testing.T
	repo   *repository.Repository
	store  *repositorytest.Store
	blobs  *repositorytest.Blobs
	clock  *clock.Fixed
	keys   repository.Keys
	policy map[string]repository.ComponentPolicy

	root, targets, release *trust.Signer
	role                   *trust.Targets // the sensor's metadata as last made
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchAt(t, start)
}

func newBenchAt(t *testing.T, now time.Time) *bench {
	t.Helper()
	b := &bench{
		t: t, store: repositorytest.NewStore(), blobs: repositorytest.NewBlobs(), clock: clock.At(now),
		keys: repository.Keys{
			Snapshot: trusttest.Signer(t, "snapshot"), Timestamp: trusttest.Signer(t, "timestamp"), Director: trusttest.Signer(t, "director"),
		},
		root: trusttest.Signer(t, "root"), targets: trusttest.Signer(t, "targets"), release: trusttest.Signer(t, sensor),
		policy: map[string]repository.ComponentPolicy{
			sensor: {Kind: release.Content, ValidationRequired: true}, nginx: {Kind: release.Config},
		},
	}
	b.open()
	return b
}

// open starts the server anew over the same data.
func (b *bench) open() {
	b.t.Helper()
	repo, err := repository.New(repository.Options{
		Store: b.store, Blobs: b.blobs, Keys: b.keys, Clock: b.clock, Log: slog.New(slog.NewTextHandler(b.t.Output(), nil)),
		Policy: func(_ context.Context, component string) (repository.ComponentPolicy, error) {
			p, ok := b.policy[component]
			if !ok {
				return p, fault.New(fault.NotFound, "no component %s", component)
			}
			return p, nil
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.repo = repo
}

func one(s ...*trust.Signer) trust.Keys { return of(1, s...) }

func of(threshold int, signers ...*trust.Signer) trust.Keys {
	var public []ed25519.PublicKey
	for _, s := range signers {
		public = append(public, s.Public())
	}
	return trust.NewKeys(threshold, public...)
}

func (b *bench) roles() trust.RootRoles {
	return trust.RootRoles{Root: one(b.root), Targets: one(b.targets), Snapshot: one(b.keys.Snapshot), Timestamp: one(b.keys.Timestamp)}
}

func (b *bench) rootDoc(version int64, roles trust.RootRoles, signers ...*trust.Signer) []byte {
	b.t.Helper()
	root, err := trust.NewRoot(version, b.clock.Now().AddDate(1, 0, 0), roles)
	if err != nil {
		b.t.Fatal(err)
	}
	return signed(b.t, "root", must(trust.Encode(root))(b.t), signers...)
}

func (b *bench) delegations() []trust.Delegation {
	return []trust.Delegation{
		{Role: trust.RoleDirector, Keys: one(b.keys.Director)}, {Role: nginx, Keys: one(b.release)}, {Role: sensor, Keys: one(b.release)},
	}
}

func (b *bench) targetsDoc(version int64, delegations []trust.Delegation, signers ...*trust.Signer) []byte {
	b.t.Helper()
	targets, err := trust.NewTargets(version, b.clock.Now().AddDate(1, 0, 0), delegations)
	if err != nil {
		b.t.Fatal(err)
	}
	return signed(b.t, "targets", must(trust.Encode(targets))(b.t), signers...)
}

// bootstrap submits root 1 and targets 1.
func (b *bench) bootstrap() *bench {
	b.t.Helper()
	b.submit("root", b.rootDoc(1, b.roles(), b.root))
	b.submit("targets", b.targetsDoc(1, b.delegations(), b.targets))
	b.role = trust.NewRole(0, b.clock.Now().AddDate(1, 0, 0))
	return b
}

func (b *bench) submit(role string, data []byte) api.Submission {
	b.t.Helper()
	answer, err := b.repo.Submit(b.t.Context(), role, data)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer
}

// upload stores a release's manifest and artifacts and gives the manifest's bytes.
func (b *bench) upload(m release.Manifest) []byte {
	b.t.Helper()
	b.blobs.Put([]byte(m.Component + " " + m.Version))
	data, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	b.blobs.Put(data)
	return data
}

// sensorDoc is the sensor's next metadata, with the given manifests added.
func (b *bench) sensorDoc(signers []*trust.Signer, manifests ...[]byte) []byte {
	b.t.Helper()
	b.role.Signed.Version++
	b.role.Signatures = nil
	for _, m := range manifests {
		if err := trust.AddRelease(b.role, m); err != nil {
			b.t.Fatal(err)
		}
	}
	return signed(b.t, sensor, must(trust.Encode(b.role))(b.t), signers...)
}

func (b *bench) publish(version string, serial int64) {
	b.t.Helper()
	b.submit(sensor, b.sensorDoc([]*trust.Signer{b.release}, b.upload(trusttest.Manifest(sensor, version, serial, start))))
}

// view is an endpoint that trusts root 1.
func (b *bench) view() *trust.View {
	b.t.Helper()
	v, err := trust.Open(must(b.repo.File(b.t.Context(), "1.root.json"))(b.t), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.refresh(v)
	return v
}

func (b *bench) refresh(v *trust.View) {
	b.t.Helper()
	_, err := v.Refresh(b.clock.Now(), []string{sensor, nginx}, func(name string) ([]byte, error) { return b.repo.File(b.t.Context(), name) })
	if err != nil {
		b.t.Fatal(err)
	}
}

func signed(t *testing.T, role string, data []byte, signers ...*trust.Signer) []byte {
	t.Helper()
	return must(trust.SignBytes(role, data, signers...))(t)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func refused(t *testing.T, err error, kind fault.Kind, parts ...string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Fatalf("got error %v of kind %s, want kind %s", err, fault.KindOf(err), kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got error %q, want it to mention %q", err, part)
		}
	}
}

func TestBootstrapAndPublish(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	b.publish("1", 1)
	b.publish("2", 2)
	v := b.view()
	if r, err := v.Release(sensor, "2"); err != nil || r.Serial != 2 {
		t.Errorf("got release %+v, %v", r, err)
	}
	if err := v.Fresh(b.clock.Now(), sensor); err != nil {
		t.Error(err)
	}
	if got := len(b.store.Releases()); got != 2 {
		t.Errorf("got %d releases stored, want 2", got)
	}
	keys, err := v.Director()
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := b.repo.Sign(t.Context(), api.Directive{Component: sensor, Sequence: 1, Issued: start, Expires: start.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.OpenDirective(envelope, keys, trust.DirectiveWanted{Component: sensor, Now: start}); err != nil {
		t.Error(err)
	}
}

// Nothing that an honest publisher submits twice makes a difference, even after the server was killed in between.
// A release page says who vouches for it: those keys alone whose signature is good.
func TestSignaturesOfReleases(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	if got := must(b.repo.Signatures(t.Context(), sensor))(t); got != nil {
		t.Errorf("before anything was published: got %+v, want none", got)
	}
	b.publish("1", 1)
	want := []api.Signature{{Role: sensor, Key: one(b.release).IDs()[0]}}
	if diff := cmp.Diff(want, must(b.repo.Signatures(t.Context(), sensor))(t)); diff != "" {
		t.Errorf("signatures (-want +got):\n%s", diff)
	}
	for _, other := range []string{"unknown", "targets"} {
		if got := must(b.repo.Signatures(t.Context(), other))(t); got != nil {
			t.Errorf("%s: got %+v, want none", other, got)
		}
	}
}

func TestSubmitAgainChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	doc := b.sensorDoc([]*trust.Signer{b.release}, b.upload(trusttest.Manifest(sensor, "1", 1, start)))
	first := b.submit(sensor, doc)
	b.open()
	before := must(b.repo.File(t.Context(), "timestamp.json"))(t)
	if again := b.submit(sensor, doc); !cmp.Equal(first, again) {
		t.Errorf("got %+v, first %+v", again, first)
	}
	b.submit("root", b.rootDoc(1, b.roles(), b.root))
	b.submit("targets", b.targetsDoc(1, b.delegations(), b.targets))
	if after := must(b.repo.File(t.Context(), "timestamp.json"))(t); !cmp.Equal(before, after) {
		t.Error("the repository changed")
	}
}

func TestFailedSaveLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	doc := b.sensorDoc([]*trust.Signer{b.release}, b.upload(trusttest.Manifest(sensor, "1", 1, start)))
	b.store.Break(errors.New("disk full"))
	if _, err := b.repo.Submit(t.Context(), sensor, doc); err == nil {
		t.Fatal("got no error from a broken store")
	}
	b.store.Break(nil)
	b.submit(sensor, doc)
	if _, err := b.view().Release(sensor, "1"); err != nil {
		t.Error(err)
	}
}

func TestTooFewSignaturesArePending(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	second, stranger := trusttest.Signer(t, "second"), trusttest.Signer(t, "stranger")
	b.submit("root", b.rootDoc(1, b.roles(), b.root))
	d := b.delegations()
	d[2].Keys = of(2, b.release, second)
	b.submit("targets", b.targetsDoc(1, d, b.targets))
	b.role = trust.NewRole(0, start.AddDate(1, 0, 0))
	bare := b.sensorDoc(nil, b.upload(trusttest.Manifest(sensor, "1", 1, start)))

	_, err := b.repo.Submit(t.Context(), sensor, signed(t, sensor, bare, stranger))
	refused(t, err, fault.Denied, "none of its signatures")
	want := api.Submission{Role: sensor, Version: 1, State: api.SubmissionPending, Signatures: 1, Threshold: 2}
	if got := b.submit(sensor, signed(t, sensor, bare, b.release)); !cmp.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := b.submit(sensor, signed(t, sensor, bare, b.release, stranger)); !cmp.Equal(got, want) {
		t.Errorf("the same key again: got %+v, want %+v", got, want)
	}
	pending := must(b.repo.Pending(t.Context()))(t)
	if len(pending) != 1 || pending[0].Role != sensor || !cmp.Equal(pending[0].SignedBy, []string{b.release.ID()}) {
		t.Fatalf("got pending %+v", pending)
	}
	if _, err := b.view().Release(sensor, "1"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a pending release is visible: %v", err)
	}

	other := b.upload(trusttest.Manifest(sensor, "other", 1, start))
	b.role = trust.NewRole(0, start.AddDate(1, 0, 0))
	otherDoc := b.sensorDoc(nil, other)
	_, err = b.repo.Submit(t.Context(), sensor, signed(t, sensor, otherDoc, second))
	refused(t, err, fault.Conflict, "another version 1 waits")

	b.open()
	got := b.submit(sensor, signed(t, sensor, pending[0].Metadata, second))
	if got.State != api.SubmissionPublished || got.Signatures != 2 {
		t.Errorf("got %+v", got)
	}
	if _, err := b.view().Release(sensor, "1"); err != nil {
		t.Error(err)
	}
	if left := must(b.repo.Pending(t.Context()))(t); len(left) != 0 {
		t.Errorf("got %d still pending", len(left))
	}
}

func TestPendingIsReplacedByItsSignersOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	second := trusttest.Signer(t, "second")
	b.submit("root", b.rootDoc(1, b.roles(), b.root))
	d := b.delegations()
	d[2].Keys = of(2, b.release, second)
	b.submit("targets", b.targetsDoc(1, d, b.targets))
	for _, version := range []string{"wrong", "right"} {
		b.role = trust.NewRole(0, start.AddDate(1, 0, 0))
		b.submit(sensor, b.sensorDoc([]*trust.Signer{b.release}, b.upload(trusttest.Manifest(sensor, version, 1, start))))
	}
	b.submit(sensor, signed(t, sensor, must(b.repo.Pending(t.Context()))(t)[0].Metadata, second))
	if _, err := b.view().Release(sensor, "right"); err != nil {
		t.Error(err)
	}
	_, err := b.repo.File(t.Context(), "pending/"+sensor+".json")
	refused(t, err, fault.NotFound)
	refused(t, b.repo.Discard(t.Context(), sensor), fault.NotFound)
}

// Root N+1 must be signed by a threshold of root N and of itself.
func TestRootRotation(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	b.publish("1", 1)
	v := b.view()
	a, c := trusttest.Signer(t, "new root a"), trusttest.Signer(t, "new root b")
	roles := b.roles()
	roles.Root = of(2, a, c)

	pending := b.submit("root", b.rootDoc(2, roles, a, c))
	if want := (api.Submission{Role: "root", Version: 2, State: api.SubmissionPending, Signatures: 0, Threshold: 1}); !cmp.Equal(pending, want) {
		t.Errorf("without the old key: got %+v, want %+v", pending, want)
	}
	got := b.submit("root", b.rootDoc(2, roles, b.root))
	if got.State != api.SubmissionPublished {
		t.Errorf("with the old key added: got %+v", got)
	}
	b.refresh(v)
	if v.RootVersion() != 2 {
		t.Errorf("endpoint has root %d, want 2", v.RootVersion())
	}
	got = b.submit("root", b.rootDoc(3, roles, a))
	if got.State != api.SubmissionPending || got.Signatures != 1 || got.Threshold != 2 {
		t.Errorf("one of two: got %+v", got)
	}
	_, err := b.repo.Submit(t.Context(), "root", b.rootDoc(3, roles, b.root))
	refused(t, err, fault.Denied)
}

// A server with new online keys works again once a root names them.
func TestOnlineKeysAreReplaced(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	b.publish("1", 1)
	v := b.view()
	b.keys.Snapshot, b.keys.Timestamp = trusttest.Signer(t, "snapshot 2"), trusttest.Signer(t, "timestamp 2")
	b.open()
	b.clock.Move(23 * time.Hour)
	refused(t, b.repo.Refresh(t.Context(), b.clock.Now()), fault.Conflict, "does not let this server's snapshot key")
	b.submit("root", b.rootDoc(2, b.roles(), b.root))
	b.refresh(v)
	if _, err := v.Release(sensor, "1"); err != nil {
		t.Error(err)
	}
}

func TestReleaseKeysAreReplacedInSteps(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	b.publish("1", 1)
	v := b.view()
	fresh := trusttest.Signer(t, "new release key")
	d := b.delegations()
	d[2].Keys = one(fresh)
	_, err := b.repo.Submit(t.Context(), "targets", b.targetsDoc(2, d, b.targets))
	refused(t, err, fault.Conflict, "keys of role "+sensor, "0 signatures")
	_, err = b.repo.Submit(t.Context(), "targets", b.targetsDoc(2, d[:2], b.targets))
	refused(t, err, fault.Conflict, "keys of role "+sensor)

	d[2].Keys = one(b.release, fresh)
	b.submit("targets", b.targetsDoc(2, d, b.targets))
	b.release = fresh
	b.publish("2", 2)
	d[2].Keys = one(fresh)
	b.submit("targets", b.targetsDoc(3, d, b.targets))
	b.refresh(v)
	if _, err := v.Release(sensor, "2"); err != nil {
		t.Error(err)
	}
}

func TestRefusedTargetsAndRoots(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make  func(*bench) (role string, data []byte)
		kind  fault.Kind
		parts []string
	}{
		"root by a stranger": {func(b *bench) (string, []byte) {
			return "root", b.rootDoc(2, b.roles(), trusttest.Signer(b.t, "stranger"))
		}, fault.Denied, []string{"root.json", "none of its signatures"}},
		"root that jumps": {func(b *bench) (string, []byte) { return "root", b.rootDoc(3, b.roles(), b.root) }, fault.Conflict, []string{"version 3", "would be 2"}},
		"root that goes back": {func(b *bench) (string, []byte) {
			r := b.roles()
			r.Root = of(1, b.root, b.targets)
			return "root", b.rootDoc(1, r, b.root)
		}, fault.Conflict, []string{"version 1"}},
		"root without our keys": {func(b *bench) (string, []byte) {
			r := b.roles()
			r.Timestamp = one(b.root)
			return "root", b.rootDoc(2, r, b.root)
		}, fault.Conflict, []string{"timestamp key"}},
		"root that disowns targets": {func(b *bench) (string, []byte) {
			r := b.roles()
			r.Targets = one(b.root)
			return "root", b.rootDoc(2, r, b.root)
		}, fault.Conflict, []string{"role targets"}},
		"expired root": {func(b *bench) (string, []byte) {
			b.clock.Move(-366 * 24 * time.Hour)
			data := b.rootDoc(2, b.roles(), b.root)
			b.clock.Move(366 * 24 * time.Hour)
			return "root", data
		}, fault.Invalid, []string{"expired"}},
		"targets by the release key": {
			func(b *bench) (string, []byte) { return "targets", b.targetsDoc(2, b.delegations(), b.release) }, fault.Denied,
			[]string{"targets.json"},
		},
		"targets without director": {
			func(b *bench) (string, []byte) { return "targets", b.targetsDoc(2, b.delegations()[1:], b.targets) }, fault.Invalid,
			[]string{"director key"},
		},
		"targets that lists files": {func(b *bench) (string, []byte) {
			targets := must(trust.NewTargets(2, start.AddDate(1, 0, 0), b.delegations()))(b.t)
			targets.Signed.Targets = must(trust.DecodeTargets(sensor, b.sensorDoc(nil, b.upload(trusttest.Manifest(sensor, "1", 1, start)))))(b.t).Signed.Targets
			targets.Signed.Delegations.Roles[1].Paths = []string{"*/*/*"}
			targets.Signed.Delegations.Roles[2].Name = "Sensor"
			return "targets", signed(b.t, "targets", must(trust.Encode(targets))(b.t), b.targets)
		}, fault.Invalid, []string{"4 problems", "only delegates", "roles[1].paths", "roles[2].name"}},
		"unreadable":            {func(*bench) (string, []byte) { return "targets", []byte("{}") }, fault.Invalid, []string{"targets.json"}},
		"a role that is ours":   {func(*bench) (string, []byte) { return "timestamp", []byte("{}") }, fault.Denied, []string{"only the control plane"}},
		"a root as a component": {func(b *bench) (string, []byte) { return sensor, b.rootDoc(1, b.roles(), b.root) }, fault.Invalid, []string{"type"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t).bootstrap()
			b.publish("0", 1)
			b.role = trust.NewRole(1, start.AddDate(1, 0, 0))
			role, data := c.make(b)
			before := b.files()
			_, err := b.repo.Submit(t.Context(), role, data)
			refused(t, err, c.kind, c.parts...)
			if diff := cmp.Diff(before, b.files()); diff != "" {
				t.Errorf("a refused submission changed the store: %s", diff)
			}
		})
	}
}

func (b *bench) files() map[string]string {
	b.t.Helper()
	all := map[string]string{}
	for _, name := range must(b.store.MetadataNames(b.t.Context(), ""))(b.t) {
		all[name] = string(must(b.store.MetadataFile(b.t.Context(), name))(b.t))
	}
	return all
}

func TestRefusedReleases(t *testing.T) {
	t.Parallel()
	good := func() release.Manifest { return trusttest.Manifest(sensor, "2", 2, start) }
	for name, c := range map[string]struct {
		change func(*bench, *release.Manifest)
		kind   fault.Kind
		parts  []string
	}{
		"serial that jumps": {func(_ *bench, m *release.Manifest) { m.Serial = 3 }, fault.Conflict, []string{"serial is 3, the next one is 2"}},
		"serial used twice": {func(_ *bench, m *release.Manifest) { m.Serial = 1 }, fault.Invalid, []string{"same serial 1"}},
		"no verdict":        {func(_ *bench, m *release.Manifest) { m.Verdicts = nil }, fault.Invalid, []string{"missing verdict is a rejection"}},
		"verdict of another artifact": {
			func(_ *bench, m *release.Manifest) { m.Verdicts[0].Artifact = release.DigestOf(nil) }, fault.Invalid,
			[]string{"missing verdict is a rejection"},
		},
		"failed verdict": {
			func(_ *bench, m *release.Manifest) { m.Verdicts[0].Passed, m.Verdicts[0].Detail = false, "21 of 20" }, fault.Invalid,
			[]string{"check rejected", "21 of 20"},
		},
		"another kind":    {func(_ *bench, m *release.Manifest) { m.Kind = release.Config }, fault.Invalid, []string{"kind is config, the component's is content"}},
		"from the future": {func(_ *bench, m *release.Manifest) { m.Created = start.Add(time.Hour) }, fault.Invalid, []string{"created at", "clock"}},
		"artifact not uploaded": {func(_ *bench, m *release.Manifest) {
			m.Artifacts[0].Digest = release.DigestOf([]byte("elsewhere"))
			m.Verdicts[0].Artifact = m.Artifacts[0].Digest
		}, fault.NotFound, []string{"artifact rules.json", "was not uploaded"}},
		"artifact of another size": {func(_ *bench, m *release.Manifest) { m.Artifacts[0].Size++ }, fault.Invalid, []string{"artifact rules.json", "bytes here"}},
		"artifact damaged": {func(b *bench, m *release.Manifest) {
			b.blobs.Forge(m.Artifacts[0].Digest, []byte(strings.ToUpper(m.Component+" "+m.Version)))
		}, fault.Invalid, []string{"artifact rules.json", "is damaged"}},
		"unknown component": {func(b *bench, _ *release.Manifest) { delete(b.policy, sensor) }, fault.NotFound, []string{"unknown component"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t).bootstrap()
			b.publish("1", 1)
			m := good()
			b.blobs.Put([]byte(m.Component + " " + m.Version))
			c.change(b, &m)
			data, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			b.blobs.Put(data)
			_, err = b.repo.Submit(t.Context(), sensor, b.sensorDoc([]*trust.Signer{b.release}, data))
			refused(t, err, c.kind, append(c.parts, sensor)...)
			if got := len(b.store.Releases()); got != 1 {
				t.Errorf("got %d releases, want the 1 of before", got)
			}
		})
	}
}

// A component whose owner waived validation needs no verdict, but a failed one still counts.
func TestValidationWaived(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	b.policy[sensor] = repository.ComponentPolicy{Kind: release.Content}
	m := trusttest.Manifest(sensor, "1", 1, start)
	m.Verdicts = nil
	b.submit(sensor, b.sensorDoc([]*trust.Signer{b.release}, b.upload(m)))
	m = trusttest.Manifest(sensor, "2", 2, start)
	m.Verdicts[0].Passed = false
	_, err := b.repo.Submit(t.Context(), sensor, b.sensorDoc([]*trust.Signer{b.release}, b.upload(m)))
	refused(t, err, fault.Invalid, "rejected")
}

func TestPublishedReleasesStay(t *testing.T) {
	t.Parallel()
	path := sensor + "/1/release.json"
	for name, c := range map[string]struct {
		change func(*bench) []byte
		parts  []string
	}{
		"one version, different bytes": {func(b *bench) []byte {
			m := trusttest.Manifest(sensor, "1", 1, start)
			m.Contract = map[string]string{"fields": "21"}
			return b.upload(m)
		}, []string{"two publishes of version 1 with different bytes", "sha256:"}},
		"left out": {func(b *bench) []byte {
			delete(b.role.Signed.Targets, path)
			return nil
		}, []string{"leaves out release.json of release 1"}},
		"floor changed": {func(b *bench) []byte {
			custom := json.RawMessage(`{"serial":1,"floor":1}`)
			b.role.Signed.Targets[path].Custom = &custom
			return nil
		}, []string{"changes serial or floor of release 1"}},
		"file added": {func(b *bench) []byte {
			b.role.Signed.Targets[sensor+"/1/more"] = b.role.Signed.Targets[sensor+"/1/rules.json"]
			return nil
		}, []string{"adds more to release 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t).bootstrap()
			b.publish("1", 1)
			old := b.store.Releases()[sensor+" 1"]
			var manifests [][]byte
			if data := c.change(b); data != nil {
				manifests = append(manifests, data)
				c.parts = append(c.parts, string(old.Digest), string(release.DigestOf(data)))
			}
			_, err := b.repo.Submit(t.Context(), sensor, b.sensorDoc([]*trust.Signer{b.release}, manifests...))
			refused(t, err, fault.Conflict, c.parts...)
			if diff := cmp.Diff(old, b.store.Releases()[sensor+" 1"]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestForeignTargetsAreRefused(t *testing.T) {
	t.Parallel()
	for _, path := range []string{nginx + "/1/release.json", sensor + "/1/rules.json", "x", sensor + "/1/a/b"} {
		b := newBench(t).bootstrap()
		b.upload(trusttest.Manifest(sensor, "1", 1, start))
		doc := trust.NewRole(1, start.AddDate(1, 0, 0))
		if err := trust.AddRelease(doc, b.upload(trusttest.Manifest(sensor, "1", 1, start))); err != nil {
			t.Fatal(err)
		}
		file := doc.Signed.Targets[sensor+"/1/rules.json"]
		clear(doc.Signed.Targets)
		doc.Signed.Targets[path] = file
		_, err := b.repo.Submit(t.Context(), sensor, signed(t, sensor, must(trust.Encode(doc))(t), b.release))
		refused(t, err, fault.Invalid, path, "belongs to no release")
	}
}

func TestTwoPublishersRace(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	b.publish("1", 1)
	late := trust.NewRole(1, start.AddDate(1, 0, 0))
	if err := trust.AddRelease(late, b.upload(trusttest.Manifest(sensor, "1b", 1, start))); err != nil {
		t.Fatal(err)
	}
	_, err := b.repo.Submit(t.Context(), sensor, signed(t, sensor, must(trust.Encode(late))(t), b.release))
	refused(t, err, fault.Conflict, sensor)
	if fault.NextOf(err) == "" {
		t.Error("got no next step")
	}
}

func TestRefreshSignsInTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.repo.Refresh(t.Context(), start); err != nil {
		t.Fatalf("with nothing published: %v", err)
	}
	b.bootstrap()
	b.publish("1", 1)
	v := b.view()
	for i := range 60 { // more than a day in half hours, and another week in half days
		b.clock.Move(30*time.Minute + time.Second)
		if i > 45 {
			b.clock.Move(12 * time.Hour)
		}
		if err := b.repo.Refresh(t.Context(), b.clock.Now()); err != nil {
			t.Fatal(err)
		}
		b.refresh(v)
		if err := v.Fresh(b.clock.Now(), sensor); err != nil {
			t.Fatal(err)
		}
	}
	before := b.files()
	if err := b.repo.Refresh(t.Context(), b.clock.Now()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, b.files()); diff != "" {
		t.Error("signed anew although nothing was due")
	}
	snapshots := 0
	for name := range before {
		if strings.HasSuffix(name, ".snapshot.json") {
			snapshots++
		}
	}
	if snapshots > 8 {
		t.Errorf("got %d snapshots kept, want at most 8", snapshots)
	}
}

// A server whose clock was a year ahead and is right again signs what is too young anew.
func TestRefreshAfterTheClockFellBack(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	b.clock.Move(300 * 24 * time.Hour)
	if err := b.repo.Refresh(t.Context(), b.clock.Now()); err != nil {
		t.Fatal(err)
	}
	b.clock.Move(-300 * 24 * time.Hour)
	if err := b.repo.Refresh(t.Context(), b.clock.Now()); err != nil {
		t.Fatal(err)
	}
	timestamp := must(trust.DecodeTimestamp(must(b.repo.File(t.Context(), "timestamp.json"))(t)))(t)
	if got, want := timestamp.Signed.Expires, start.Add(time.Hour); !got.Equal(want) {
		t.Errorf("got expiry %s, want %s", got, want)
	}
}

func TestKeysAreMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	keys, err := repository.OpenKeys(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	again, err := repository.OpenKeys(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if keys.Director.ID() != again.Director.ID() || keys.Snapshot.ID() == keys.Timestamp.ID() {
		t.Error("got other keys at the second start, or one key for two roles")
	}
	path := filepath.Join(dir, "director.pem")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = repository.OpenKeys(dir, rand.Reader)
	refused(t, err, fault.Denied, "director", "others may read it")
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = repository.OpenKeys(dir, rand.Reader)
	refused(t, err, fault.Invalid, "director.pem", "not PEM")
}

// Any TUF client can read the repository: go-tuf's own updater refreshes over HTTP and downloads a manifest and its artifact.
func TestAnyTUFClientCanRead(t *testing.T) {
	t.Parallel()
	b := newBenchAt(t, clock.Wall{}.Now()) // the updater knows no other clock
	b.bootstrap()
	m := trusttest.Manifest(sensor, "1", 1, start)
	manifest := b.upload(m)
	b.submit(sensor, b.sensorDoc([]*trust.Signer{b.release}, manifest))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name := strings.TrimPrefix(req.URL.Path, "/tuf/")
		if path, ok := strings.CutPrefix(name, "targets/"); ok {
			blob, _, err := b.repo.Target(req.Context(), path)
			if err != nil {
				http.NotFound(w, req)
				return
			}
			defer blob.Close()
			_, _ = io.Copy(w, blob)
			return
		}
		data, err := b.repo.File(req.Context(), name)
		if err != nil {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(server.Close)

	cfg := must(config.New(server.URL+"/tuf", must(b.repo.File(t.Context(), "1.root.json"))(t)))(t)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = t.TempDir(), t.TempDir()
	client := must(updater.New(cfg))(t)
	if err := client.Refresh(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{sensor + "/1/release.json": string(manifest), sensor + "/1/rules.json": sensor + " 1"} {
		info := must(client.GetTargetInfo(path))(t)
		_, data, err := client.DownloadTarget(info, "", "")
		if err != nil || string(data) != want {
			t.Errorf("target %s: got %q, %v, want %q", path, data, err, want)
		}
	}
	if _, _, err := b.repo.Target(t.Context(), "../../etc/passwd"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v for a path that leads elsewhere", err)
	}
}

// A threshold is raised after the first publish: the new owner signs what is published, and then two are asked for.
func TestPublishedMetadataGainsSignatures(t *testing.T) {
	t.Parallel()
	b := newBench(t).bootstrap()
	b.publish("1", 1)
	v := b.view()
	second, stranger := trusttest.Signer(t, "second"), trusttest.Signer(t, "stranger")
	d := b.delegations()
	d[2].Keys = of(2, b.release, second)
	_, err := b.repo.Submit(t.Context(), "targets", b.targetsDoc(2, d, b.targets))
	refused(t, err, fault.Conflict, "1 signatures by the new keys, 2 would be needed")

	d[2].Keys = of(1, b.release, second)
	b.submit("targets", b.targetsDoc(2, d, b.targets))
	published := must(b.repo.File(t.Context(), "1."+sensor+".json"))(t)
	b.submit(sensor, signed(t, sensor, published, stranger))
	if same := must(b.repo.File(t.Context(), "1."+sensor+".json"))(t); !cmp.Equal(same, published) {
		t.Error("a stranger's signature changed what is published")
	}
	want := api.Submission{Role: sensor, Version: 1, State: api.SubmissionPublished, Signatures: 2, Threshold: 1}
	if got := b.submit(sensor, signed(t, sensor, published, second)); !cmp.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	b.refresh(v)
	d[2].Keys = of(2, b.release, second)
	b.submit("targets", b.targetsDoc(3, d, b.targets))
	b.refresh(v)
	if _, err := v.Release(sensor, "1"); err != nil {
		t.Error(err)
	}
	if err := v.Fresh(start, sensor); err != nil {
		t.Error(err)
	}
}
