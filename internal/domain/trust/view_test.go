package trust_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/domain/trust/trusttest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	year   = 365 * 24 * time.Hour
	sensor = "sensor-content"
)

// sensorRepo is a repository with two releases of one component.
func sensorRepo(t testing.TB) *trusttest.Repository {
	t.Helper()
	repo := trusttest.New(t, start, sensor)
	repo.Add(trusttest.Manifest(sensor, "1", 1, start))
	second := trusttest.Manifest(sensor, "2", 2, start)
	second.Floor = 1
	repo.Add(second)
	repo.Publish()
	return repo
}

func open(t testing.TB, repo *trusttest.Repository) *trust.View {
	t.Helper()
	v, err := trust.Open(repo.Files["1.root.json"], nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func refreshed(t testing.TB, repo *trusttest.Repository) *trust.View {
	t.Helper()
	v := open(t, repo)
	if _, err := v.Refresh(repo.Now, []string{sensor}, repo.Fetch); err != nil {
		t.Fatal(err)
	}
	return v
}

// refusedFor checks an error's kind and that its text has all the parts that a reader needs.
func refusedFor(t testing.TB, err error, kind fault.Kind, parts ...string) {
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

func TestRefreshFromRootAlone(t *testing.T) {
	t.Parallel()
	repo := sensorRepo(t)
	v := open(t, repo)
	if floor, err := v.Floor(sensor); floor != 0 || err != nil {
		t.Errorf("floor before anything is known: got %d, %v, want 0", floor, err)
	}
	refusedFor(t, v.Fresh(start, sensor), fault.Unavailable, "no repository metadata")

	files, err := v.Refresh(start, []string{sensor, "not-published"}, repo.Fetch)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"root.json", "timestamp.json", "snapshot.json", "targets.json", "director.json", sensor + ".json"} {
		if files[name] == nil {
			t.Errorf("got no %s to store", name)
		}
	}
	if err := v.Fresh(start, sensor); err != nil {
		t.Error(err)
	}
	if floor, err := v.Floor(sensor); floor != 1 || err != nil {
		t.Errorf("got floor %d, %v, want 1", floor, err)
	}
	director, err := v.Director()
	if want := repo.Roles["director"].Keys(); err != nil || !director.Equal(want) {
		t.Errorf("got director %v, %v, want %v", director, err, want)
	}
	if got := v.Components(); !cmp.Equal(got, []string{sensor}) {
		t.Errorf("got components %v", got)
	}
	again, err := v.Refresh(start, []string{sensor}, repo.Fetch)
	if err != nil || again != nil {
		t.Errorf("refresh without news: got %d files, %v, want none", len(again), err)
	}
}

func TestManifestIsBoundToMetadata(t *testing.T) {
	t.Parallel()
	repo := sensorRepo(t)
	v := refreshed(t, repo)
	data := repo.Manifests[sensor+"/2/release.json"]
	m, err := v.Manifest(sensor, "2", data)
	if err != nil {
		t.Fatal(err)
	}
	if m.Serial != 2 || m.Version != "2" {
		t.Errorf("got serial %d of version %s", m.Serial, m.Version)
	}
	_, err = v.Manifest(sensor, "2", append([]byte{' '}, data...))
	refusedFor(t, err, fault.Denied, sensor+" 2", "bytes, the signed metadata says")
	tampered := bytes.Replace(data, []byte("rules.json"), []byte("RULES.json"), 1)
	_, err = v.Manifest(sensor, "2", tampered)
	refusedFor(t, err, fault.Denied, "its digest is sha256:")
	_, err = v.Manifest(sensor, "1", data)
	refusedFor(t, err, fault.Denied, sensor+" 1")
	_, err = v.Manifest(sensor, "9", data)
	refusedFor(t, err, fault.NotFound, "release 9 of "+sensor)
	_, err = v.Manifest("other", "1", data)
	refusedFor(t, err, fault.NotFound, "component other")
	_, err = v.Manifest("director", "1", data)
	refusedFor(t, err, fault.NotFound)
}

func TestStoredFilesBringAViewBack(t *testing.T) {
	t.Parallel()
	repo := sensorRepo(t)
	files := refreshed(t, repo).Files()
	repo.Now = start.Add(10 * year) // everything has expired, and there is no network

	v, err := trust.Open(repo.Files["1.root.json"], files)
	if err != nil || v.Ignored() != nil {
		t.Fatal(err, v.Ignored())
	}
	if floor, err := v.Floor(sensor); floor != 1 || err != nil {
		t.Errorf("got floor %d, %v, want 1", floor, err)
	}
	if _, err := v.Director(); err != nil {
		t.Error(err)
	}
	refusedFor(t, v.Fresh(repo.Now, sensor), fault.Unavailable, "expired at")

	for name := range files {
		broken := v.Files()
		broken[name] = bytes.Replace(broken[name], []byte("sig"), []byte("gis"), 1)
		w, err := trust.Open(repo.Files["1.root.json"], broken)
		if err != nil {
			t.Fatalf("with a broken %s: %v", name, err)
		}
		if w.Ignored() == nil {
			t.Errorf("with a broken %s: got nothing ignored", name)
		}
		if _, err := w.Refresh(start, []string{sensor}, repo.Fetch); err != nil {
			t.Errorf("refresh with a broken stored %s: %v", name, err)
		}
	}
}

// I9: nothing that the right keys did not sign is believed.
func TestInvariantI9ForgeriesAreDenied(t *testing.T) {
	t.Parallel()
	stranger := trusttest.Signer(t, "stranger")
	resign := func(repo *trusttest.Repository, role, name string) {
		data := repo.Files[name]
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Error(err)
		}
		doc["signatures"] = json.RawMessage("[]")
		bare, _ := json.Marshal(doc)
		signed, err := trust.SignBytes(role, bare, stranger)
		if err != nil {
			t.Error(err)
		}
		repo.Files[name] = signed
	}
	for name, c := range map[string]struct {
		forge func(*trusttest.Repository)
		parts []string
	}{
		"timestamp by a stranger": {
			func(r *trusttest.Repository) { resign(r, "timestamp", "timestamp.json") },
			[]string{"timestamp.json", "0 of 1 signatures", "root", "role timestamp"},
		},
		"snapshot by a stranger": {
			func(r *trusttest.Repository) { resign(r, "snapshot", "2.snapshot.json") },
			[]string{"2.snapshot.json", "0 of 1 signatures", "role snapshot"},
		},
		"targets by a stranger": {
			func(r *trusttest.Repository) { resign(r, "targets", "2.targets.json") },
			[]string{"2.targets.json", "0 of 1 signatures", "role targets"},
		},
		"component by a stranger": {
			func(r *trusttest.Repository) { resign(r, sensor, "2."+sensor+".json") },
			[]string{"2." + sensor + ".json", "0 of 1 signatures", "targets", "role " + sensor},
		},
		"component by the director": {func(r *trusttest.Repository) {
			r.Roles[sensor].Signers = r.Roles["director"].Signers
			r.Files["3."+sensor+".json"] = r.Files["2.director.json"]
			r.Files["2."+sensor+".json"] = r.Files["2.director.json"]
		}, []string{"2." + sensor + ".json", "0 of 1 signatures"}},
		"no signatures at all": {func(r *trusttest.Repository) {
			r.Files["timestamp.json"] = bytes.Replace(r.Files["timestamp.json"], []byte(`"sig":"`), []byte(`"sig":"00`), 1)
		}, []string{"timestamp.json", "0 of 1"}},
		"older component under a valid name": {func(r *trusttest.Repository) {
			r.Files["2."+sensor+".json"] = r.Files["1."+sensor+".json"]
		}, []string{"2." + sensor + ".json", "mismatch"}},
		"cut short": {func(r *trusttest.Repository) {
			r.Files["2.targets.json"] = r.Files["2.targets.json"][:100]
		}, []string{"2.targets.json"}},
		"of another type": {func(r *trusttest.Repository) {
			r.Files["timestamp.json"] = r.Files["2.snapshot.json"]
		}, []string{"timestamp.json", "type"}},
		"huge": {func(r *trusttest.Repository) {
			r.Files["timestamp.json"] = bytes.Repeat([]byte(" "), trust.MaxTimestamp+1)
		}, []string{"timestamp.json", "is the most"}},
		"null where an object belongs": {func(r *trusttest.Repository) {
			r.Files["2."+sensor+".json"] = []byte(`{"signed":{"_type":"targets","targets":{"a":null}},"signatures":[]}`)
		}, []string{"2." + sensor + ".json", "null"}},
		"root 2 by a stranger": {func(r *trusttest.Repository) {
			r.Roles["root"].Signers = []*trust.Signer{stranger}
			r.PublishRoot()
		}, []string{"2.root.json", "0 of 1 signatures", "the trusted root"}},
		"root 2 not signed by itself": {func(r *trusttest.Repository) {
			old := r.Roles["root"].Signers
			r.Roles["root"].Signers = []*trust.Signer{stranger, trusttest.Signer(t, "stranger 2")}
			r.Roles["root"].Threshold, r.Roles["root"].Signing = 2, 1
			r.PublishRoot(old...)
		}, []string{"2.root.json", "1 of 2 signatures", "the new root itself"}},
		"root 2 says version 3": {func(r *trusttest.Repository) {
			r.Roles["root"].Version = 2
			r.PublishRoot()
			r.Files["2.root.json"] = r.Files["3.root.json"]
		}, []string{"2.root.json", "says version 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := sensorRepo(t)
			c.forge(repo)
			v := open(t, repo)
			_, err := v.Refresh(start, []string{sensor}, repo.Fetch)
			refusedFor(t, err, fault.Denied, c.parts...)
			if err := v.Fresh(start, sensor); err == nil {
				t.Error("a forged file was trusted")
			}
		})
	}
}

// A role that needs two signatures is not satisfied by one, nor by the same key under two names.
func TestThreshold(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"targets", "snapshot", "timestamp", sensor} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			repo := sensorRepo(t)
			r := repo.Roles[role]
			r.Signers, r.Threshold, r.Signing = append(r.Signers, trusttest.Signer(t, "second")), 2, 1
			repo.PublishRoot()
			repo.Publish()
			v := open(t, repo)
			_, err := v.Refresh(start, []string{sensor}, repo.Fetch)
			refusedFor(t, err, fault.Denied, "1 of 2 signatures", "role "+role)

			r.Signing = 2
			repo.Publish()
			if _, err := v.Refresh(start, []string{sensor}, repo.Fetch); err != nil {
				t.Fatal(err)
			}
		})
	}
	key := trusttest.Signer(t, "a").Public()
	if err := trust.NewKeys(2, key, key).Check("x"); err == nil {
		t.Error("one key twice passed as two")
	}
	for _, threshold := range []int{0, -1} {
		refusedFor(t, trust.NewKeys(threshold, key).Check("x"), fault.Invalid, "at least 1")
	}
}

func TestThresholdZeroIsRefused(t *testing.T) {
	t.Parallel()
	repo := sensorRepo(t)
	targets, err := trust.DecodeTargets("targets", repo.Files["2.targets.json"])
	if err != nil {
		t.Fatal(err)
	}
	for i := range targets.Signed.Delegations.Roles {
		targets.Signed.Delegations.Roles[i].Threshold = 0
	}
	if err := trust.Sign(targets, repo.Roles["targets"].Signers...); err != nil {
		t.Fatal(err)
	}
	repo.Files["2.targets.json"], _ = trust.Encode(targets)
	_, err = open(t, repo).Refresh(start, []string{sensor}, repo.Fetch)
	refusedFor(t, err, fault.Denied, "2.targets.json", "threshold is 0")
}

func TestRootRotation(t *testing.T) {
	t.Parallel()
	repo := sensorRepo(t)
	v := refreshed(t, repo)
	old := repo.Roles["root"].Signers
	for _, name := range []string{"root", "targets", "snapshot", "timestamp"} {
		repo.Roles[name].Signers = []*trust.Signer{trusttest.Signer(t, "new "+name)}
	}
	repo.PublishRoot(old...)
	repo.Roles["root"].Threshold = 2
	repo.Roles["root"].Signers = append(repo.Roles["root"].Signers, trusttest.Signer(t, "second root"))
	repo.PublishRoot()
	repo.Publish()

	files, err := v.Refresh(start, []string{sensor}, repo.Fetch)
	if err != nil {
		t.Fatal(err)
	}
	if v.RootVersion() != 3 {
		t.Errorf("got root version %d, want 3", v.RootVersion())
	}
	if _, err := trust.Open(repo.Files["1.root.json"], files); err != nil {
		t.Error(err)
	}
	if keys, err := v.Keys("root"); err != nil || keys.Threshold != 2 {
		t.Errorf("got root keys %v, %v", keys, err)
	}
}

// A new root that was verified is kept even if the rest of the repository is not there.
func TestRootIsKeptWhenTheRestFails(t *testing.T) {
	t.Parallel()
	repo := sensorRepo(t)
	v := refreshed(t, repo)
	repo.PublishRoot()
	delete(repo.Files, "timestamp.json")
	files, err := v.Refresh(start, []string{sensor}, repo.Fetch)
	refusedFor(t, err, fault.NotFound, "timestamp.json")
	if v.RootVersion() != 2 || !bytes.Equal(files["root.json"], repo.Files["2.root.json"]) {
		t.Errorf("got root version %d, want 2 and its bytes to store", v.RootVersion())
	}
	if err := v.Fresh(start, sensor); err != nil {
		t.Error(err)
	}
}

func TestVersionsDoNotGoBack(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"timestamp", "snapshot", "targets", sensor} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			repo := sensorRepo(t)
			v := refreshed(t, repo)
			repo.Roles[role].Version = 0
			if role != "timestamp" {
				repo.Files = map[string][]byte{}
			}
			repo.Publish()
			_, err := v.Refresh(start, []string{sensor}, repo.Fetch)
			refusedFor(t, err, fault.Denied, "version")
			if floor, err := v.Floor(sensor); floor != 1 || err != nil {
				t.Errorf("got floor %d, %v, want the one known before", floor, err)
			}
		})
	}
}

// Even with the online keys replaced (which starts the snapshot's memory anew) a component's metadata does not go back, unless its own
// keys were replaced.
func TestComponentDoesNotGoBackWithNewOnlineKeys(t *testing.T) {
	t.Parallel()
	repo := sensorRepo(t)
	v := refreshed(t, repo)
	for _, name := range []string{"snapshot", "timestamp"} {
		repo.Roles[name].Signers = []*trust.Signer{trusttest.Signer(t, "new "+name)}
	}
	repo.PublishRoot()
	repo.Roles[sensor].Version = 0
	repo.Publish()
	_, err := v.Refresh(start, []string{sensor}, repo.Fetch)
	refusedFor(t, err, fault.Denied, "role "+sensor+" went back from version 2 to 1")
	refusedFor(t, v.Fresh(start, sensor), fault.Unavailable, "not what the newest snapshot names")

	repo.Roles[sensor].Signers = []*trust.Signer{trusttest.Signer(t, "new release key")}
	repo.Publish()
	if _, err := v.Refresh(start, []string{sensor}, repo.Fetch); err != nil {
		t.Error(err)
	}
}

func TestOneBadComponentDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	repo := trusttest.New(t, start, sensor, "nginx-config")
	v := open(t, repo)
	if _, err := v.Refresh(start, []string{sensor, "nginx-config"}, repo.Fetch); err != nil {
		t.Fatal(err)
	}
	repo.Add(trusttest.Manifest("nginx-config", "1", 1, start))
	repo.Publish()
	repo.Files["2."+sensor+".json"] = []byte("{}")
	_, err := v.Refresh(start, []string{sensor, "nginx-config"}, repo.Fetch)
	refusedFor(t, err, fault.Denied, sensor)
	if _, err := v.Release("nginx-config", "1"); err != nil {
		t.Error(err)
	}
	if err := v.Fresh(start, "nginx-config"); err != nil {
		t.Error(err)
	}
	refusedFor(t, v.Fresh(start, sensor), fault.Unavailable)
}

// Expiry stops new activations and is told apart from forgery; nothing that was known is forgotten.
func TestExpiry(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]time.Duration{
		"timestamp.json": 2 * time.Hour, "2.snapshot.json": 48 * time.Hour, "2.targets.json": 91 * 24 * time.Hour, "root.json": 91 * 24 * time.Hour,
		"2." + sensor + ".json": 91 * 24 * time.Hour, "2.director.json": 91 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := sensorRepo(t)
			for role, r := range repo.Roles {
				if !strings.Contains(name, role+".") {
					r.Life = 10 * year
				}
			}
			repo.Now = start
			if name != "root.json" {
				repo.PublishRoot()
			}
			for _, r := range repo.Roles {
				r.Version = min(r.Version, 1)
			}
			repo.Publish()
			v := refreshed(t, repo)
			_, err := v.Refresh(start.Add(after), []string{sensor}, repo.Fetch)
			refusedFor(t, err, fault.Unavailable, name, "expired at", "it is now")
			if fault.NextOf(err) == "" {
				t.Error("got no next step")
			}
			if floor, err := v.Floor(sensor); floor != 1 || err != nil {
				t.Errorf("got floor %d, %v, want 1", floor, err)
			}
		})
	}
}

// A clock a year ahead finds everything expired, and all is well once it is right again. A clock a year behind finds nothing expired, but
// never goes back to older metadata.
func TestClockJumpsAYear(t *testing.T) {
	t.Parallel()
	repo := sensorRepo(t)
	v := refreshed(t, repo)
	_, err := v.Refresh(start.Add(year), []string{sensor}, repo.Fetch)
	refusedFor(t, err, fault.Unavailable, "root.json expired")
	refusedFor(t, v.Fresh(start.Add(year), sensor), fault.Unavailable)
	if err := v.Fresh(start, sensor); err != nil {
		t.Error(err)
	}
	if _, err := v.Refresh(start.Add(-year), []string{sensor}, repo.Fetch); err != nil {
		t.Error(err)
	}
	repo.Roles["timestamp"].Version = 0
	repo.Publish()
	_, err = v.Refresh(start.Add(-year), []string{sensor}, repo.Fetch)
	refusedFor(t, err, fault.Denied, "version")
}

func TestLowerBound(t *testing.T) {
	t.Parallel()
	if got := trust.LowerBound(start, start.Add(-year)); !got.Equal(start) {
		t.Errorf("clock ahead of what was signed: got %s", got)
	}
	if got := trust.LowerBound(start.Add(-year), start); !got.Equal(start) {
		t.Errorf("clock that fell back: got %s", got)
	}
	newest := start
	if newest = trust.Newest(newest, start.Add(time.Hour), start.Add(time.Hour)); !newest.Equal(start.Add(time.Hour)) {
		t.Errorf("newer: got %s", newest)
	}
	if newest = trust.Newest(newest, start, start.Add(time.Hour)); !newest.Equal(start.Add(time.Hour)) {
		t.Errorf("older: got %s", newest)
	}
	if newest = trust.Newest(newest, start.Add(year), start.Add(time.Hour)); !newest.Equal(start.Add(time.Hour)) {
		t.Errorf("ahead of the clock: got %s", newest)
	}
}

func TestComponentMayNotSpeakForOthers(t *testing.T) {
	t.Parallel()
	repo := sensorRepo(t)
	targets, err := trust.DecodeTargets("targets", repo.Files["2.targets.json"])
	if err != nil {
		t.Fatal(err)
	}
	for i := range targets.Signed.Delegations.Roles {
		targets.Signed.Delegations.Roles[i].Paths = []string{"elsewhere/*/*"}
	}
	if err := trust.Sign(targets, repo.Roles["targets"].Signers...); err != nil {
		t.Fatal(err)
	}
	repo.Files["3.targets.json"], _ = trust.Encode(targets)
	files := map[string][]byte{
		"targets": repo.Files["3.targets.json"], sensor: repo.Files["2."+sensor+".json"], "director": repo.Files["2.director.json"],
	}
	snapshot, err := trust.NewSnapshot(9, start.Add(time.Hour), nil, files)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := trust.Encode(snapshot)
	data, _ = trust.SignBytes("snapshot", data, repo.Roles["snapshot"].Signers...)
	repo.Files["9.snapshot.json"] = data
	repo.Files["2.targets.json"] = repo.Files["3.targets.json"]
	stamp, _ := trust.Encode(trust.NewTimestamp(9, start.Add(time.Hour), 9, data))
	repo.Files["timestamp.json"], _ = trust.SignBytes("timestamp", stamp, repo.Roles["timestamp"].Signers...)

	v := refreshed(t, repo)
	_, err = v.Release(sensor, "1")
	refusedFor(t, err, fault.Denied, "does not let its role speak for")
}
