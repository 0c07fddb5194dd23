package publisher_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/repository"
	"github.com/firebreak-dev/firebreak/internal/control/repository/repositorytest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/domain/trust/trusttest"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

const sensor = "sensor-content"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// server is a real repository over memory, as a publisher sees it.
type server struct {
	*repository.Repository
	blobs *repositorytest.Blobs
	// forge, if not nil, changes what the server says.
	forge func(name string, data []byte) []byte

	deltas   []api.DeltaOf
	noDeltas bool // it takes none
}

func (s *server) MetadataFile(ctx context.Context, name string) ([]byte, error) {
	data, err := s.File(ctx, name)
	if err == nil && s.forge != nil {
		data = s.forge(name, data)
	}
	return data, err
}

func (s *server) HasBlob(ctx context.Context, digest release.Digest) (bool, error) {
	blob, _, err := s.blobs.Open(ctx, digest)
	if err != nil {
		return false, nil //nolint:nilerr // it is not there
	}
	data, err := io.ReadAll(blob)
	return release.DigestOf(data) == digest, err
}

func (s *server) Upload(_ context.Context, digest release.Digest, size int64, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if int64(len(data)) != size || release.DigestOf(data) != digest {
		return fault.New(fault.Invalid, "store %s: the bytes are others", digest)
	}
	s.blobs.Put(data)
	return nil
}

func (s *server) Blob(ctx context.Context, digest release.Digest) (io.ReadCloser, error) {
	blob, _, err := s.blobs.Open(ctx, digest)
	return blob, err
}

// office is a publisher, its server, and the clock of both.
type office struct {
	t      *testing.T
	server *server
	store  *repositorytest.Store
	clock  *clock.Fixed
	dir    string // of the keyring
	*publisher.Publisher
}

func newOffice(t *testing.T) *office {
	t.Helper()
	keys, err := repository.OpenKeys(filepath.Join(t.TempDir(), "server"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := &office{t: t, store: repositorytest.NewStore(), clock: clock.At(start), dir: filepath.Join(t.TempDir(), "keys")}
	o.server = &server{blobs: repositorytest.NewBlobs()}
	o.serve(keys)
	o.Publisher = o.colleague(o.dir)
	return o
}

func (o *office) serve(keys repository.Keys) {
	o.t.Helper()
	repo, err := repository.New(repository.Options{
		Store: o.store, Blobs: o.server.blobs, Keys: keys, Clock: o.clock, Log: slog.New(slog.DiscardHandler),
		Policy: func(_ context.Context, component string) (repository.ComponentPolicy, error) {
			if component == "unknown" {
				return repository.ComponentPolicy{}, fault.New(fault.NotFound, "no component %s", component)
			}
			return repository.ComponentPolicy{Kind: release.Content, ValidationRequired: true}, nil
		},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.server.Repository = repo
}

// colleague is another publisher with a keyring of its own.
func (o *office) colleague(dir string) *publisher.Publisher {
	o.t.Helper()
	keyring, err := publisher.OpenKeyring(dir)
	if err != nil {
		o.t.Fatal(err)
	}
	p, err := publisher.New(publisher.Options{Keyring: keyring, Server: o.server, Clock: o.clock, Random: rand.Reader})
	if err != nil {
		o.t.Fatal(err)
	}
	return p
}

func (o *office) init(options publisher.InitOptions) publisher.InitResult {
	o.t.Helper()
	result, err := o.Init(o.t.Context(), options)
	if err != nil {
		o.t.Fatal(err)
	}
	return result
}

func components(names ...string) publisher.InitOptions {
	o := publisher.InitOptions{Components: map[string]publisher.RoleKeys{}}
	for _, name := range names {
		o.Components[name] = publisher.RoleKeys{}
	}
	return o
}

// content makes a directory with a file.
func content(t *testing.T, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rules")
	write(t, filepath.Join(dir, "detections.json"), text)
	write(t, filepath.Join(dir, "more", "note.txt"), "note")
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func release1(t *testing.T, version, text string) publisher.PublishOptions {
	t.Helper()
	return publisher.PublishOptions{
		Component: sensor, Version: version, Kind: release.Content, Plan: trusttest.Plan(),
		Sources: []publisher.Source{{Path: content(t, text)}}, Validator: []string{"sh", "-c", `grep -q good "$0/detections.json"`, "{dir}"},
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

func TestInitPublishVerify(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	result := o.init(components(sensor))
	if len(result.Made) != 3 || len(result.Submissions) != 2 || result.Pending {
		t.Errorf("got %+v, want 3 keys made, root and targets submitted", result)
	}
	if again := o.init(components(sensor)); !cmp.Equal(again, publisher.InitResult{}) {
		t.Errorf("Init again: got %+v, want nothing done", again)
	}
	first, err := o.Publish(t.Context(), release1(t, "1", "good one"))
	if err != nil {
		t.Fatal(err)
	}
	if first.Submission.State != api.SubmissionPublished || first.Manifest.Serial != 1 || !first.Manifest.Validated() {
		t.Errorf("got %+v", first)
	}
	options := release1(t, "2", "good two")
	options.Floor = 1
	second, err := o.Publish(t.Context(), options)
	if err != nil || second.Manifest.Serial != 2 || second.Manifest.Floor != 1 {
		t.Fatalf("got %+v, %v", second, err)
	}
	for _, dir := range []string{"", options.Sources[0].Path} {
		v, err := o.Verify(t.Context(), sensor, "2", dir)
		if err != nil {
			t.Fatal(err)
		}
		if v.Digest != second.Digest || v.Floor != 1 || v.BelowFloor || len(v.Checked) != 5 {
			t.Errorf("got %+v", v)
		}
	}
	_, err = o.Verify(t.Context(), sensor, "2", content(t, "other"))
	refused(t, err, fault.Denied, "rules.tar", "the signed manifest says")
	_, err = o.Verify(t.Context(), sensor, "9", "")
	refused(t, err, fault.NotFound, "release 9")
}

func TestKeyFilesArePrivate(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	for _, name := range []string{"root.pem", "targets.pem", "release-" + sensor + ".pem"} {
		path := filepath.Join(o.dir, name)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, %v, want 0600", name, info.Mode(), err)
		}
		data, err := os.ReadFile(path + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trust.DecodePublic(data); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(o.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("keyring: got mode %v, %v, want 0700", info.Mode(), err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(filepath.Join(o.dir, "release-"+sensor+".pem"), 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := o.Publish(t.Context(), release1(t, "1", "good"))
	refused(t, err, fault.Denied, "others may read it")
}

func TestValidatorStopsARelease(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	before := o.server.blobs.Len()
	bad := release1(t, "1", "bad")
	bad.Validator = []string{"sh", "-c", "echo 21 fields, 20 supplied >&2; exit 3"}
	_, err := o.Publish(t.Context(), bad)
	refused(t, err, fault.Invalid, "validator sh rejected", "21 fields, 20 supplied")
	if o.server.blobs.Len() != before {
		t.Error("something was uploaded")
	}
	bad.Validator = []string{filepath.Join(t.TempDir(), "no-such-validator")}
	_, err = o.Publish(t.Context(), bad)
	refused(t, err, fault.Invalid, "no-such-validator")
	bad.Validator = nil
	_, err = o.Publish(t.Context(), bad)
	refused(t, err, fault.Invalid, "missing verdict is a rejection")
	bad.Validator, bad.Timeout = []string{"sh", "-c", "echo thinking; exec sleep 60"}, 300*time.Millisecond
	_, err = o.Publish(t.Context(), bad)
	refused(t, err, fault.Invalid, "no verdict within 300ms", "thinking")
}

func TestValidatorSeesASingleFileInADirectory(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	path := filepath.Join(t.TempDir(), "detections.json")
	write(t, path, "good")
	write(t, filepath.Join(filepath.Dir(path), "neighbour"), "x")
	packed, err := publisher.Pack(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	verdict, err := o.Validate(t.Context(), []string{"sh", "-c", `ls "$1"; i=0; while [ $i -lt 999 ]; do echo "line $i"; i=$((i+1)); done`, "sh", "{dir}"}, 0, packed)
	if err != nil {
		t.Fatal(err)
	}
	if !verdict.Passed || len(verdict.Detail) > 2000 || !strings.HasSuffix(verdict.Detail, "line 998") {
		t.Errorf("got %+v", verdict)
	}
	verdict, err = o.Validate(t.Context(), []string{"sh", "-c", `test "$(ls "$0")" = detections.json`}, 0, packed)
	if err != nil || !verdict.Passed {
		t.Errorf("got %+v, %v", verdict, err)
	}
}

func TestOneVersionIsPublishedOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	options := release1(t, "1", "good")
	first, err := o.Publish(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	o.clock.Move(time.Hour - time.Minute)
	again, err := o.Publish(t.Context(), options)
	if err != nil || !again.Before || again.Digest != first.Digest {
		t.Errorf("the same again: got %+v, %v", again, err)
	}
	options = release1(t, "1", "good but other")
	_, err = o.Publish(t.Context(), options)
	refused(t, err, fault.Conflict, "different content", "artifacts[0].digest", string(first.Manifest.Artifacts[0].Digest))
	options = release1(t, "1", "good")
	options.Contract = map[string]string{"fields": "21"}
	_, err = o.Publish(t.Context(), options)
	refused(t, err, fault.Conflict, "different content", `contract: was published as nothing, is now {"fields":"21"}`)
}

func TestTheSameContentFromAnotherDirectoryIsTheSame(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	options := release1(t, "1", "good")
	for i, name := range []string{"content", "copy"} {
		dir := filepath.Join(t.TempDir(), name)
		write(t, filepath.Join(dir, "detections.json"), "good")
		options.Sources = []publisher.Source{{Path: dir}}
		got, err := o.Publish(t.Context(), options)
		if err != nil || got.Before != (i == 1) {
			t.Errorf("publish from %s: got %+v, %v, want it to be the same: %t", name, got, err, i == 1)
		}
	}
}

func TestPublishAgainRestoresWhatTheServerLost(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	options := release1(t, "1", "good")
	first, err := o.Publish(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	artifact := first.Manifest.Artifacts[0]
	o.server.blobs.Forge(artifact.Digest, []byte("damaged"))
	_, err = o.Verify(t.Context(), sensor, "1", "")
	refused(t, err, fault.Denied, "does not have the")
	if next := fault.NextOf(err); !strings.Contains(next, "release publish "+sensor+" 1 PATH") {
		t.Errorf("the next step is %q, want how to upload it again", next)
	}
	again, err := o.Publish(t.Context(), options)
	if err != nil || !again.Before || !slices.Equal(again.Restored, []string{artifact.Name}) {
		t.Errorf("got %+v, %v, want %s restored", again, err, artifact.Name)
	}
	if _, err := o.Verify(t.Context(), sensor, "1", ""); err != nil {
		t.Error(err)
	}
}

func TestOneReleaseWaitsAtATime(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	second := trusttest.Signer(t, "second")
	init := components()
	init.Components[sensor] = publisher.RoleKeys{Add: []ed25519.PublicKey{second.Public()}, Threshold: 2}
	o.init(init)
	options := release1(t, "1", "good")
	if _, err := o.Publish(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	again, err := o.Publish(t.Context(), options)
	if err != nil || !again.Before || again.Submission.State != api.SubmissionPending {
		t.Errorf("the same again: got %+v, %v, want it found waiting", again, err)
	}
	for _, other := range []publisher.PublishOptions{release1(t, "2", "good"), release1(t, "1", "other")} {
		_, err = o.Publish(t.Context(), other)
		refused(t, err, fault.Conflict, "version 1 waits for 1 more signature")
	}
	if err := o.server.Discard(t.Context(), sensor); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Publish(t.Context(), release1(t, "2", "good")); err != nil {
		t.Error(err)
	}
}

// A second owner, whose key was made apart, signs what is published, and only then can two be asked for.
func TestThresholdIsRaisedAfterPublishing(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	if _, err := o.Publish(t.Context(), release1(t, "1", "good")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "colleague")
	other := o.colleague(dir)
	key, _, err := must(publisher.OpenKeyring(dir))(t).Make(sensor, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Keyring.Trust(must(os.ReadFile(filepath.Join(o.dir, "root.json")))(t)); err != nil {
		t.Fatal(err)
	}
	_, err = other.Publish(t.Context(), release1(t, "2", "good"))
	refused(t, err, fault.Denied, "is not one of role "+sensor)
	got, err := other.Init(t.Context(), components(sensor))
	if err != nil || !slices.Equal(got.CannotSign, []string{sensor}) {
		t.Errorf("got %+v, %v, want that it cannot sign", got, err)
	}
	raise := components()
	raise.Components[sensor] = publisher.RoleKeys{Add: []ed25519.PublicKey{key.Public()}, Threshold: 2}
	_, err = o.Init(t.Context(), raise)
	refused(t, err, fault.Conflict, "1 signatures by the new keys, 2 would be needed")

	raise.Components[sensor] = publisher.RoleKeys{Add: []ed25519.PublicKey{key.Public()}}
	o.init(raise)
	review, err := other.Review(t.Context(), sensor)
	if err != nil || !review.Published {
		t.Fatalf("got %+v, %v, want a review of what is published", review, err)
	}
	if _, err := other.CoSign(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	raise.Components[sensor] = publisher.RoleKeys{Threshold: 2}
	o.init(raise)
	if _, err := other.Verify(t.Context(), sensor, "1", ""); err != nil {
		t.Error(err)
	}
}

func TestPublishListsAllMistakes(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	options := release1(t, "one/two", "good")
	options.Kind, options.Plan = "sauce", plan.Plan{Name: "p", Rings: []plan.Ring{{Name: "all", Share: 1}}}
	options.Sources[0].Platform = "linux"
	_, err := o.Publish(t.Context(), options)
	refused(t, err, fault.Invalid, "version", "kind", "artifacts[0].platform", "plan.rings")
	_, err = o.Publish(t.Context(), publisher.PublishOptions{Component: "director"})
	refused(t, err, fault.Invalid, `"director"`)
	_, err = o.Publish(t.Context(), publisher.PublishOptions{Component: "nginx"})
	refused(t, err, fault.NotFound, "release-nginx.pem")
}

func TestUnknownComponent(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components("unknown"))
	options := release1(t, "1", "good")
	options.Component = "unknown"
	_, err := o.Publish(t.Context(), options)
	refused(t, err, fault.NotFound, "unknown component")
	if !strings.Contains(fault.NextOf(err), "firebreak apply -f") {
		t.Errorf("got next step %q", fault.NextOf(err))
	}
}

func TestSeveralPlatforms(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	options := release1(t, "1", "good amd64")
	dir := t.TempDir()
	file := filepath.Join(dir, "linux-arm64-detections.json")
	write(t, file, "good arm64")
	options.Sources[0].Platform = "linux/amd64"
	options.Sources = append(options.Sources, publisher.Source{Platform: "linux/arm64", Path: file})
	_, err := o.Publish(t.Context(), options)
	refused(t, err, fault.Invalid, "rejected") // the validator wants detections.json
	options.Validator = []string{"sh", "-c", `grep -rq good "$0"`}
	got, err := o.Publish(t.Context(), options)
	if err != nil || len(got.Manifest.Artifacts) != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := o.Verify(t.Context(), sensor, "1", ""); err != nil {
		t.Error(err)
	}
}

// With a threshold of two a release waits until another owner has looked at it and signed.
func TestCoSign(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := filepath.Join(t.TempDir(), "colleague")
	other := o.colleague(dir)
	key, _, err := must(publisher.OpenKeyring(dir))(t).Make(sensor, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	init := components()
	init.Components[sensor] = publisher.RoleKeys{Add: []ed25519.PublicKey{key.Public()}, Threshold: 2}
	o.init(init)
	published, err := o.Publish(t.Context(), release1(t, "1", "good"))
	if err != nil || published.Submission.State != api.SubmissionPending {
		t.Fatalf("got %+v, %v, want it pending", published, err)
	}
	_, err = o.Verify(t.Context(), sensor, "1", "")
	refused(t, err, fault.NotFound)
	_, err = o.Review(t.Context(), sensor)
	refused(t, err, fault.Conflict, "signed it already")

	_, err = other.Review(t.Context(), sensor)
	refused(t, err, fault.NotFound, "root.json")
	root := must(os.ReadFile(filepath.Join(o.dir, "root.json")))(t)
	if err := must(publisher.OpenKeyring(dir))(t).Trust(root); err != nil {
		t.Fatal(err)
	}
	review, err := other.Review(t.Context(), sensor)
	if err != nil {
		t.Fatal(err)
	}
	if len(review.Releases) != 1 || review.Releases[0].Digest != published.Digest || review.Threshold != 2 || len(review.SignedBy) != 1 || review.Key != key.ID() {
		t.Errorf("got %+v", review)
	}
	done, err := other.CoSign(t.Context(), review)
	if err != nil || done.State != api.SubmissionPublished {
		t.Fatalf("got %+v, %v", done, err)
	}
	if _, err := other.Verify(t.Context(), sensor, "1", ""); err != nil {
		t.Error(err)
	}
	_, err = other.Review(t.Context(), sensor)
	refused(t, err, fault.NotFound, "nothing of it waits")
	_, err = other.CoSign(t.Context(), publisher.Review{Role: sensor})
	refused(t, err, fault.Invalid, "not reviewed")
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

// Root and targets with two owners are made in steps, each co-signed.
func TestInitWithTwoOwners(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := filepath.Join(t.TempDir(), "colleague")
	other := o.colleague(dir)
	keyring := must(publisher.OpenKeyring(dir))(t)
	options := components(sensor)
	for role, keys := range map[string]*publisher.RoleKeys{"root": &options.Root, "targets": &options.Targets} {
		key, _, err := keyring.Make(role, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		*keys = publisher.RoleKeys{Add: []ed25519.PublicKey{key.Public()}, Threshold: 2}
	}
	for _, role := range []string{"root", "targets"} {
		result := o.init(options)
		if !result.Pending || result.Submissions[len(result.Submissions)-1].Role != role {
			t.Fatalf("got %+v, want %s pending", result, role)
		}
		if role == "targets" {
			if err := keyring.Trust(must(o.server.File(t.Context(), "1.root.json"))(t)); err != nil {
				t.Fatal(err)
			}
		}
		review, err := other.Review(t.Context(), role)
		if err != nil {
			t.Fatal(err)
		}
		if len(review.Changes) == 0 {
			t.Errorf("review of %s lists no changes", role)
		}
		if done, err := other.CoSign(t.Context(), review); err != nil || done.State != api.SubmissionPublished {
			t.Fatalf("got %+v, %v", done, err)
		}
	}
	if result := o.init(options); result.Pending || len(result.Submissions) != 0 {
		t.Errorf("got %+v, want nothing left to do", result)
	}
	if _, err := o.Publish(t.Context(), release1(t, "1", "good")); err != nil {
		t.Error(err)
	}
}

// A server that lost its online keys is named anew by running Init, and a key that is left out cannot sign any more.
func TestInitAfterKeysChanged(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	if _, err := o.Publish(t.Context(), release1(t, "1", "good")); err != nil {
		t.Fatal(err)
	}
	o.serve(must(repository.OpenKeys(t.TempDir(), rand.Reader))(t))
	result := o.init(components(sensor))
	if len(result.Submissions) != 2 {
		t.Errorf("got %+v, want root and targets", result)
	}
	if _, err := o.Publish(t.Context(), release1(t, "2", "good")); err != nil {
		t.Fatal(err)
	}

	fresh := trusttest.Signer(t, "fresh root")
	add := publisher.InitOptions{Root: publisher.RoleKeys{Add: []ed25519.PublicKey{fresh.Public()}}}
	if result := o.init(add); len(result.Submissions) != 1 || result.Submissions[0].Role != "root" {
		t.Errorf("got %+v, want a root", result)
	}
	if result := o.init(components(sensor)); len(result.Submissions) != 0 {
		t.Errorf("Init without the new key: got %+v, want the key to stay", result)
	}
	if result := o.init(publisher.InitOptions{Remove: []string{fresh.ID()}}); len(result.Submissions) != 1 {
		t.Errorf("got %+v, want a root without the key", result)
	}
}

func TestInitRenewsBeforeAndAfterExpiry(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	if _, err := o.Publish(t.Context(), release1(t, "1", "good")); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{publisher.Life/2 + time.Hour, 2 * publisher.Life} {
		o.clock.Move(wait)
		if err := o.server.Refresh(t.Context(), o.clock.Now()); err != nil {
			t.Fatal(err)
		}
		result := o.init(publisher.InitOptions{})
		if len(result.Submissions) != 3 || len(result.Made) != 0 {
			t.Errorf("after %s: got %+v, want root, targets and component renewed", wait, result)
		}
		if _, err := o.Verify(t.Context(), sensor, "1", ""); err != nil {
			t.Error(err)
		}
	}
}

// Init that was cut off after the server had the root goes on from there.
func TestInitGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components())
	for _, name := range []string{"root.json", "trusted.json"} {
		if err := os.Remove(filepath.Join(o.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	o.init(components(sensor))
	if _, err := o.Publish(t.Context(), release1(t, "1", "good")); err != nil {
		t.Error(err)
	}
	stranger := o.colleague(filepath.Join(t.TempDir(), "stranger"))
	_, err := stranger.Init(t.Context(), components(sensor))
	refused(t, err, fault.Conflict, "neither trusts it")
}

// What a lying server says is not signed on top of.
func TestLyingServer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	if _, err := o.Publish(t.Context(), release1(t, "1", "good")); err != nil {
		t.Fatal(err)
	}
	o.server.forge = func(name string, data []byte) []byte {
		return bytes.Replace(data, []byte(`"sig":"`), []byte(`"sig":"00`), 1)
	}
	_, err := o.Publish(t.Context(), release1(t, "2", "good"))
	refused(t, err, fault.Denied, "verify the repository", "timestamp.json")
	_, err = o.Verify(t.Context(), sensor, "1", "")
	refused(t, err, fault.Denied, "timestamp.json")

	o.server.forge = nil
	old := must(o.server.File(t.Context(), "timestamp.json"))(t)
	if _, err := o.Publish(t.Context(), release1(t, "2", "good")); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Verify(t.Context(), sensor, "2", ""); err != nil {
		t.Fatal(err)
	}
	o.server.forge = func(name string, data []byte) []byte {
		if name == "timestamp.json" {
			return old
		}
		return data
	}
	_, err = o.Publish(t.Context(), release1(t, "3", "good"))
	refused(t, err, fault.Denied, "version")
}

func TestVerifyFindsTamperedArtifact(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	done, err := o.Publish(t.Context(), release1(t, "1", "good"))
	if err != nil {
		t.Fatal(err)
	}
	a := done.Manifest.Artifacts[0]
	blob := must(o.server.Blob(t.Context(), a.Digest))(t)
	data := must(io.ReadAll(blob))(t)
	o.server.blobs.Forge(a.Digest, bytes.Replace(data, []byte("good"), []byte("evil"), 1))
	_, err = o.Verify(t.Context(), sensor, "1", "")
	refused(t, err, fault.Denied, "artifact rules.tar", "the signed manifest says")
	o.server.blobs.Forge(a.Digest, data[:len(data)-1])
	_, err = o.Verify(t.Context(), sensor, "1", "")
	refused(t, err, fault.Denied, "bytes that the manifest says")
	o.clock.Move(2 * time.Hour)
	_, err = o.Verify(t.Context(), sensor, "1", "")
	refused(t, err, fault.Unavailable, "timestamp.json expired")
}

func TestUploadTellsProgress(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	sent := map[string]string{}
	o.Progress = func(name string, n, size int64) { sent[name] = fmt.Sprintf("%d of %d", n, size) }
	done, err := o.Publish(t.Context(), release1(t, "1", "good"))
	if err != nil {
		t.Fatal(err)
	}
	size := done.Manifest.Artifacts[0].Size
	if want := fmt.Sprintf("%d of %d", size, size); sent["rules.tar"] != want {
		t.Errorf("got %v, want rules.tar %s", sent, want)
	}
}
