package backup_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/control/backup"
	"github.com/firebreak-dev/firebreak/internal/control/backup/backuptest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// later is when backups are restored.
func later() time.Time { return backuptest.Start().Add(48 * time.Hour) }

func options(t *testing.T, in *backuptest.Installation) backup.Options {
	t.Helper()
	return backup.Options{Data: in.Dir, To: filepath.Join(t.TempDir(), "it.backup"), Version: "1.2.3", Now: backuptest.Start().Add(time.Hour)}
}

func backUp(t *testing.T, o backup.Options) backup.Result {
	t.Helper()
	r, err := backup.Make(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func restore(t *testing.T, o backup.RestoreOptions) (*backuptest.Installation, backup.Restored) {
	t.Helper()
	if o.To == "" {
		o.To = filepath.Join(t.TempDir(), "restored")
	}
	o.Now = later()
	r, err := backup.Restore(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	in := backuptest.Again(t, o.To)
	in.Clock.Move(48 * time.Hour)
	return in, r
}

// names lists the files below a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRoundTripWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	o := options(t, in)
	o.WithBlobs = true
	var stages []string
	o.Progress = func(what string) { stages = append(stages, what) }
	ends := map[string]bool{} // stages all of whose bytes were told
	o.Bytes = func(done, total int64) {
		if done > total {
			t.Errorf("%s: got %d of %d bytes", stages[len(stages)-1], done, total)
		}
		ends[stages[len(stages)-1]] = done == total
	}
	made := backUp(t, o)
	if want := map[string]bool{"packing the database": true, "packing the artifacts": true, "reading it again": true}; !maps.Equal(ends, want) {
		t.Errorf("got %v, want all bytes of %v told", ends, want)
	}
	if made.Encrypted || !made.ReadAgain || made.Size == 0 || len(stages) < 5 {
		t.Errorf("got %+v after %d stages, want a plain backup that was read again", made, len(stages))
	}
	if n := made.Manifest.Content.Tables["rollouts"]; n != 1 || made.Manifest.Content.Schema == 0 {
		t.Errorf("got %+v, want one rollout", made.Manifest.Content)
	}
	if info, err := os.Stat(o.To); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a file that only its owner may read", info.Mode(), err)
	}
	if left := names(t, filepath.Dir(o.To)); len(left) != 1 {
		t.Errorf("got %v, want nothing but the backup", left)
	}
	read := int64(0)
	again, r := restore(t, backup.RestoreOptions{From: o.To, Bytes: func(done, _ int64) { read = done }})
	if read != made.Size {
		t.Errorf("got %d bytes told of %d", read, made.Size)
	}
	if len(r.Missing) != 0 || r.Manifest.Created != o.Now {
		t.Errorf("got %+v, want nothing missing", r)
	}
	for _, name := range []string{"ca.pem", "director.pem", "snapshot.pem", "timestamp.pem"} {
		was, errA := os.ReadFile(filepath.Join(in.Dir, "keys", name))
		is, errB := os.ReadFile(filepath.Join(again.Dir, "keys", name))
		if errA != nil || errB != nil || !bytes.Equal(was, is) {
			t.Errorf("%s: got another key, %v, %v", name, errA, errB)
		}
	}
	was := must(backup.Blobs(in.Dir))(t)
	if len(was) != 2 {
		t.Errorf("got %d artifacts, want the manifest and the content", len(was))
	}
	if diff := cmp.Diff(was, must(backup.Blobs(again.Dir))(t)); diff != "" {
		t.Errorf("artifacts differ (-was +is):\n%s", diff)
	}
	if _, err := again.Store.Endpoint(t.Context(), "ep-1"); err != nil {
		t.Errorf("got %v, want the endpoint", err)
	}
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

// What endpoints saw after the backup must not be above what the restored server says next, however often it is restored.
func TestNothingGoesBackwards(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	o := options(t, in)
	backUp(t, o)
	endpoint := in.View()
	for range 12 { // the server goes on: metadata is renewed again and again
		in.Clock.Move(time.Hour)
		if err := in.Repo.Refresh(t.Context(), in.Clock.Now()); err != nil {
			t.Fatal(err)
		}
		if err := in.Refresh(endpoint); err != nil {
			t.Fatal(err)
		}
	}
	first, r := restore(t, backup.RestoreOptions{From: o.To})
	if err := first.Refresh(endpoint); err != nil {
		t.Errorf("got %v, want an endpoint to take what the restored server says", err)
	}
	d := must(first.Store.Directive(t.Context(), backuptest.Component))(t)
	if d.Sequence < 1_000_000 || d.Sequence != r.Made.Sequences[backuptest.Component] {
		t.Errorf("got sequence %d, want it far ahead of 7", d.Sequence)
	}
	sequence := d.Sequence
	to := filepath.Join(t.TempDir(), "second")
	if _, err := backup.Restore(t.Context(), backup.RestoreOptions{From: o.To, To: to, Now: later().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	second := backuptest.Again(t, to)
	second.Clock.Move(49 * time.Hour)
	if err := second.Refresh(endpoint); err != nil {
		t.Errorf("got %v after restoring a second time, want an endpoint to take it", err)
	}
	if d := must(second.Store.Directive(t.Context(), backuptest.Component))(t); d.Sequence <= sequence {
		t.Errorf("got sequence %d the second time, want above %d", d.Sequence, sequence)
	}
}

// A rollout that was running may have exposed others, or tripped, since the backup.
func TestInvariantI2I3RestoredRolloutsGrantNothing(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	o := options(t, in)
	backUp(t, o)
	again, r := restore(t, backup.RestoreOptions{From: o.To})
	if !slices.Equal(r.Made.Paused, []rollout.ID{backuptest.Rollout}) || !r.Made.Frozen {
		t.Errorf("got %+v, want the rollout paused and the installation frozen", r.Made)
	}
	row := must(again.Store.Rollout(t.Context(), backuptest.Rollout))(t)
	if row.State.Phase != rollout.Paused || row.Revision != 2 {
		t.Errorf("got %s at revision %d, want it paused by event 2", row.State.Phase, row.Revision)
	}
	events := must(again.Store.Events(t.Context(), backuptest.Rollout, 0, 0))(t)
	if len(events) != 2 || events[1].Name != "operator_acted" || !strings.Contains(string(events[1].Data), "restored from a backup") {
		t.Errorf("got %+v, want an event that says why", events)
	}
	freezes := must(again.Store.Setting(t.Context(), "freezes"))(t)
	if !strings.Contains(freezes, "restored from a backup") || !strings.Contains(freezes, "9999") {
		t.Errorf("got %s, want a freeze without an end", freezes)
	}
	if steps := strings.Join(r.Next, "\n"); !strings.Contains(steps, "ro-1") || !strings.Contains(steps, "freeze remove") {
		t.Errorf("got %s, want to be told about the rollout and the freeze", steps)
	}
	// Once more changes no rollout, and there is still one freeze.
	made, err := backup.MakeSafe(t.Context(), backup.SafeOptions{Store: again.Store, Keys: filepath.Join(again.Dir, "keys"), Now: later()})
	if err != nil || len(made.Paused) != 0 {
		t.Errorf("got %+v, %v, want nothing more paused", made, err)
	}
	if text := must(again.Store.Setting(t.Context(), "freezes"))(t); strings.Count(text, "restored") != 1 {
		t.Errorf("got %s, want one freeze", text)
	}
}

// Whatever the engine reads of the freezes must be what a restore writes.
func TestFreezeIsWhatTheEngineReads(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	e := in.Engine()
	if len(e.Freezes().Freezes) != 0 {
		t.Fatal("got a freeze before the restore")
	}
	if _, err := backup.MakeSafe(t.Context(), backup.SafeOptions{Store: in.Store, Keys: filepath.Join(in.Dir, "keys"), Now: later()}); err != nil {
		t.Fatal(err)
	}
	in.Clock.Move(48 * time.Hour)
	e = in.Engine()
	if shut := e.Freezes().At(in.Clock.Now()); !shut.Closed || !strings.Contains(shut.Reason, "restored from a backup") {
		t.Errorf("got %+v, want it closed by the freeze", shut)
	}
	if shut := e.Freezes().At(in.Clock.Now().AddDate(100, 0, 0)); !shut.Closed {
		t.Error("got it open in a hundred years, want a person to lift it")
	}
	if _, sequence := e.Directive(backuptest.Component); sequence < 1_000_000 {
		t.Errorf("got directive %d from the engine, want it to go on far ahead", sequence)
	}
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	identity := must(age.GenerateX25519Identity())(t)
	stranger := must(age.GenerateX25519Identity())(t)
	o := options(t, in)
	o.Recipients = []age.Recipient{identity.Recipient()}
	if made := backUp(t, o); !made.Encrypted || made.ReadAgain {
		t.Errorf("got %+v, want it encrypted for somebody else", made)
	}
	data := must(os.ReadFile(o.To))(t)
	if bytes.Contains(data, []byte("PRIVATE KEY")) || bytes.Contains(data, []byte(backuptest.Component)) {
		t.Error("got clear text in an encrypted backup")
	}
	to := filepath.Join(t.TempDir(), "restored")
	for name, identities := range map[string][]age.Identity{"none": nil, "a stranger": {stranger}} {
		_, err := backup.Restore(t.Context(), backup.RestoreOptions{From: o.To, To: to, Identities: identities, Now: later()})
		if fault.KindOf(err) != fault.Denied || fault.NextOf(err) == "" {
			t.Errorf("%s: got %v, want denied with a next step", name, err)
		}
	}
	restore(t, backup.RestoreOptions{From: o.To, Identities: []age.Identity{stranger, identity}})
	o.To += "2"
	o.Identities = []age.Identity{identity}
	if made := backUp(t, o); !made.ReadAgain {
		t.Errorf("got %+v, want it read again by whoever can", made)
	}
}

// TestDamage flips bits and cuts a backup off everywhere: never does a restore leave anything, but for a bit that stands for nothing.
func TestDamage(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	o := options(t, in)
	o.WithBlobs = true
	made := backUp(t, o)
	good := must(os.ReadFile(o.To))(t)
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.backup")
	try := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(bad, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := backup.Restore(t.Context(), backup.RestoreOptions{From: bad, To: filepath.Join(dir, "to"), Now: later()})
		if err == nil && cmp.Equal(r.Manifest, made.Manifest) && len(data) == len(good) {
			t.Logf("%s: padding of the compression", what)
			if err := os.RemoveAll(filepath.Join(dir, "to")); err != nil {
				t.Fatal(err)
			}
		} else if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v, want invalid", what, err)
		}
		if left := names(t, dir); len(left) != 1 {
			t.Errorf("%s: got %v left behind", what, left)
		}
	}
	for i := 1; i < 12; i++ {
		at := len(good) * i / 12
		flipped := slices.Clone(good)
		flipped[at] ^= 0x10
		try("a flipped bit", flipped)
		try("cut off", good[:at])
	}
	try("cut off by a byte", good[:len(good)-1])
	try("empty", nil)
	try("something else", []byte("hello, this is no backup of anything at all"))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	if err := in.Store.PutSetting(t.Context(), "authority", "sha256:00"); err != nil {
		t.Fatal(err)
	}
	o := options(t, in)
	o.WithoutKeys = true
	backUp(t, o)
	_, err := backup.Make(t.Context(), o)
	refused(t, "overwriting a backup", err, fault.Conflict)
	nowhere := o
	nowhere.Data, nowhere.To = t.TempDir(), o.To+"3"
	_, err = backup.Make(t.Context(), nowhere)
	refused(t, "backing up nothing", err, fault.NotFound)
	noKeys := o
	noKeys.WithoutKeys, noKeys.Keys, noKeys.To = false, t.TempDir(), o.To+"4"
	_, err = backup.Make(t.Context(), noKeys)
	refused(t, "keys that are not there", err, fault.NotFound)

	_, err = backup.Restore(t.Context(), backup.RestoreOptions{From: o.To, To: in.Dir, Keys: filepath.Join(in.Dir, "keys"), Now: later()})
	refused(t, "restoring over something", err, fault.Conflict)
	to := filepath.Join(t.TempDir(), "to")
	_, err = backup.Restore(t.Context(), backup.RestoreOptions{From: o.To, To: to, Now: later()})
	refused(t, "no keys at all", err, fault.Invalid)
	_, err = backup.Restore(t.Context(), backup.RestoreOptions{From: o.To, To: to, Keys: t.TempDir(), Now: later()})
	refused(t, "an empty directory of keys", err, fault.NotFound)
	other := backuptest.New(t)
	_, err = backup.Restore(t.Context(), backup.RestoreOptions{From: o.To, To: to, Keys: filepath.Join(other.Dir, "keys"), Now: later()})
	refused(t, "keys of another installation", err, fault.Conflict)
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want nothing where it was refused", err)
	}
	_, r := restore(t, backup.RestoreOptions{From: o.To, Keys: filepath.Join(in.Dir, "keys")})
	if len(r.Missing) == 0 {
		t.Error("got no artifact missing from a backup without them")
	}
	again, r := restore(t, backup.RestoreOptions{From: o.To, LostKeys: true})
	if begun := must(again.Store.Setting(t.Context(), "authority"))(t); begun != "" {
		t.Errorf("got authority %q, want the server to begin with a new one", begun)
	}
	if steps := strings.Join(r.Next, "\n"); !strings.Contains(steps, "key init") || !strings.Contains(steps, "join again") {
		t.Errorf("got %s, want to be told what lost keys mean", steps)
	}
}

func refused(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != kind || err == nil || fault.NextOf(err) == "" {
		t.Errorf("%s: got %v (%s, next %q), want %s with a next step", what, err, fault.KindOf(err), fault.NextOf(err), kind)
	}
}

// TestWhileOthersWrite backs up again and again while the server writes: each backup is whole, and of one moment.
func TestWhileOthersWrite(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := int64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := in.Store.PutToken(t.Context(), store.Token{ID: "t" + time.Unix(n, 0).String(), Hash: []byte(time.Unix(n, 0).String()), Kind: store.OperatorToken}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var last int64
	for i := range 2 {
		o := options(t, in)
		r := backUp(t, o)
		n := r.Manifest.Content.Tables["tokens"]
		if n < last {
			t.Errorf("backup %d: got %d tokens, want at least %d", i, n, last)
		}
		last = n
	}
	close(stop)
	writing.Wait()
	if last < 2 {
		t.Errorf("got %d tokens, want some that were written meanwhile", last)
	}
}

func TestKeysAloneForPostgreSQL(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	o := options(t, in)
	o.Elsewhere = true
	made := backUp(t, o)
	if made.Manifest.Database != "elsewhere" || len(made.Manifest.Content.Tables) != 0 {
		t.Errorf("got %+v, want no database", made.Manifest)
	}
	to := filepath.Join(t.TempDir(), "to")
	r, err := backup.Restore(t.Context(), backup.RestoreOptions{From: o.To, To: to, Now: later()})
	if err != nil || !strings.Contains(r.Next[0], "PostgreSQL") {
		t.Errorf("got %+v, %v, want to be sent to PostgreSQL first", r.Next, err)
	}
	want := []string{"/keys/ca.pem", "/keys/director.pem", "/keys/snapshot.pem", "/keys/timestamp.pem"}
	if diff := cmp.Diff(want, names(t, to)); diff != "" {
		t.Errorf("files differ (-want +got):\n%s", diff)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	file := filepath.Join(in.Dir, "firebreak.db")
	d, err := backup.Inspect(t.Context(), file, true)
	if err != nil || len(d.Problems) > 0 || d.Tables["components"] != 1 {
		t.Errorf("got %+v, %v, want a whole database with a component", d, err)
	}
	if !slices.Contains(slices.Collect(maps.Keys(d.Tables)), "events") {
		t.Errorf("got tables %v, want events among them", d.Tables)
	}
	in.Stop()
	data := must(os.ReadFile(file))(t)
	for i := len(data) / 2; i < len(data)/2+9000 && i < len(data); i++ {
		data[i] = 0xff
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := backup.Inspect(t.Context(), file, true); err == nil && len(d.Problems) == 0 {
		t.Errorf("got %+v, want a damaged database found", d)
	}
}
