package backup

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/repository"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Store is what [MakeSafe] needs of the database. *store.Store is one.
type Store interface {
	Metadata
	Rollouts(ctx context.Context, component string, limit int) ([]store.Rollout, error)
	Commit(ctx context.Context, c store.Commit) error
	Components(ctx context.Context) ([]store.Component, error)
	Directives(ctx context.Context) ([]store.Directive, error)
	PutDirective(ctx context.Context, d store.Directive) error
	Setting(ctx context.Context, key string) (string, error)
	PutSetting(ctx context.Context, key, value string) error
}

// Metadata keeps the files of the TUF repository.
type Metadata interface {
	MetadataFile(ctx context.Context, name string) ([]byte, error)
	SaveMetadata(ctx context.Context, files map[string][]byte, releases []release.Published) error
}

// SafeOptions are what [MakeSafe] needs.
type SafeOptions struct {
	Store    Store
	Keys     string    // directory with the control plane's keys
	LostKeys bool      // they are gone: metadata waits for the publisher's new root
	Taken    time.Time // when the backup was made; zero if that is not known
	Now      time.Time
}

// Made is what [MakeSafe] changed.
type Made struct {
	Sequences map[string]int64 `json:"sequences,omitempty"` // of directives, by component: the next ones are above these
	Versions  map[string]int64 `json:"versions,omitempty"`  // of the metadata that is signed online, by role
	Paused    []rollout.ID     `json:"paused,omitempty"`    // rollouts that were running
	Frozen    bool             `json:"frozen"`
}

const (
	// freezeName is what the freeze is called that a restore begins with.
	freezeName = "restored from a backup"
	// authorityKey names the authority that the installation began with among the control plane's settings.
	authorityKey = "authority"
	// freezesKey names the freezes among the engine's settings.
	freezesKey = "freezes"
	// floorKey is the engine's, above which it numbers directives of components that had none.
	floorKey = "directive_floor"
	actor    = "restore"
	// step is how far sequences and versions go ahead at the least, should the clock be wrong.
	step = 1_000_000
)

// MakeSafe prepares a database that comes from a backup, and that no server has open, for being served again:
//
//   - Sequences of directives and versions of the metadata that is signed online go far ahead, because endpoints refuse what is older
//     than what they saw. The milliseconds of now are taken: they are above whatever was counted by ones, and restoring the same backup
//     a second time is above the first.
//   - Rollouts that were running are paused: leases that were granted since are not known, so windows and rings could be exceeded (I2),
//     and a trip may be forgotten (I3).
//   - The installation is frozen, because complete rollouts grant leases too, and one may have been recalled since.
//
// What is paused or frozen is for a person to let go on. Doing it again is harmless.
func MakeSafe(ctx context.Context, o SafeOptions) (Made, error) {
	m := Made{Sequences: map[string]int64{}, Versions: map[string]int64{}}
	for _, do := range []func(context.Context, *Made) error{o.freeze, o.pause, o.sequences, o.versions, o.forget} {
		if err := do(ctx, &m); err != nil {
			return Made{}, fmt.Errorf("make a restored database safe: %w", err)
		}
	}
	return m, nil
}

// named is what a backup is called.
func named(taken time.Time) string {
	if taken.IsZero() {
		return "a backup"
	}
	return "a backup of " + taken.UTC().Format("2006-01-02 15:04:05 MST")
}

// ahead is a number that nobody has seen yet.
func (o SafeOptions) ahead(last int64) int64 { return max(last+step, o.Now.UnixMilli()) }

// frozen is how the engine stores freezes.
type frozen struct {
	Calendar calendar.Calendar `json:"calendar"`
	Actor    string            `json:"actor"`
}

func (o SafeOptions) freeze(ctx context.Context, m *Made) error {
	var f frozen
	text, err := o.Store.Setting(ctx, freezesKey)
	if err == nil {
		err = json.Unmarshal([]byte(text), &f)
	}
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return fmt.Errorf("read the freezes: %w", err)
	}
	ours := calendar.Freeze{Name: freezeName, From: calendar.Date(o.Now.UTC().AddDate(0, 0, -1).Format("2006-01-02")), To: "9999-12-30"}
	f.Calendar.Freezes = slices.DeleteFunc(f.Calendar.Freezes, func(other calendar.Freeze) bool { return other.Name == freezeName })
	if len(f.Calendar.Freezes) == calendar.MaxEntries {
		f.Calendar.Freezes = f.Calendar.Freezes[1:] // this one holds over all of them
	}
	f.Calendar.Freezes, f.Actor = append(f.Calendar.Freezes, ours), actor
	if err = fault.Problems("freeze the installation", f.Calendar.Check("")); err != nil {
		return err
	}
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	m.Frozen = true
	return o.Store.PutSetting(ctx, freezesKey, string(data))
}

func (o SafeOptions) pause(ctx context.Context, m *Made) error {
	rows, err := o.Store.Rollouts(ctx, "", 0)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.State.Phase != rollout.Running {
			continue
		}
		reason := "restored from " + named(o.Taken) + ": leases granted since are not known"
		event := rollout.Dated(row.State, rollout.OperatorActed{At: o.Now.UTC().Truncate(time.Microsecond), Action: rollout.Pause, Actor: actor, Reason: reason})
		next, effects := rollout.Step(row.State.Clone(), event)
		e := store.Event{Rollout: next.ID, Revision: row.Revision + 1, At: event.When(), Notable: store.Matters}
		if e.Name, e.Data, err = rollout.EncodeEvent(event); err != nil {
			return err
		}
		if e.Effects, err = rollout.EncodeEffects(effects); err != nil {
			return err
		}
		if err := o.Store.Commit(ctx, store.Commit{Events: []store.Event{e}, State: next}); err != nil {
			return err
		}
		m.Paused = append(m.Paused, next.ID)
	}
	return nil
}

// sequences moves the directives of all components ahead, of those too that had none yet. The server publishes the next one when it starts,
// before it serves: what is stored is not served.
func (o SafeOptions) sequences(ctx context.Context, m *Made) error {
	stored, err := o.Store.Directives(ctx)
	if err != nil {
		return err
	}
	components, err := o.Store.Components(ctx)
	if err != nil {
		return err
	}
	directives := map[string]store.Directive{}
	for _, c := range components {
		directives[c.Name] = store.Directive{Component: c.Name, Envelope: []byte("{}")}
	}
	for _, d := range stored {
		directives[d.Component] = d
	}
	for _, d := range directives {
		d.Sequence = o.ahead(d.Sequence)
		if d.Issued.IsZero() {
			d.Issued = o.Now
		}
		if err := o.Store.PutDirective(ctx, d); err != nil {
			return err
		}
		m.Sequences[d.Component] = d.Sequence
	}
	return o.Store.PutSetting(ctx, floorKey, strconv.FormatInt(o.ahead(0), 10)) // components that the backup does not know
}

// versions signs director, snapshot and timestamp anew.
func (o SafeOptions) versions(ctx context.Context, m *Made) error {
	data, err := o.Store.MetadataFile(ctx, "timestamp.json")
	if fault.KindOf(err) == fault.NotFound || o.LostKeys {
		return nil // nothing was published, or whoever has the root key begins anew
	}
	if err != nil {
		return err
	}
	keys, err := o.keys(ctx)
	if err != nil {
		return err
	}
	timestamp, err := trust.DecodeTimestamp(data)
	if err != nil {
		return err
	}
	data, err = o.Store.MetadataFile(ctx, trust.FileName(trust.RoleSnapshot, timestamp.Signed.Meta["snapshot.json"].Version))
	if err != nil {
		return err
	}
	snapshot, err := trust.DecodeSnapshot(data)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	roles := map[string][]byte{}
	if listed := snapshot.Signed.Meta[trust.RoleDirector+".json"]; listed != nil {
		if roles[trust.RoleDirector], err = o.director(files, keys, listed.Version, m); err != nil {
			return err
		}
	}
	if err := o.top(files, keys, timestamp, snapshot, roles, m); err != nil {
		return err
	}
	return o.Store.SaveMetadata(ctx, files, nil)
}

// forget lets the server begin with a new authority, if the old one is lost.
func (o SafeOptions) forget(ctx context.Context, _ *Made) error {
	if !o.LostKeys {
		return nil
	}
	return o.Store.PutSetting(ctx, authorityKey, "")
}

func (o SafeOptions) director(files map[string][]byte, keys repository.Keys, version int64, m *Made) ([]byte, error) {
	version = o.ahead(version)
	director := trust.NewRole(version, o.Now.Add(repository.DirectorLife))
	if err := trust.Sign(director, keys.Director); err != nil {
		return nil, err
	}
	data, err := trust.Encode(director)
	files[trust.FileName(trust.RoleDirector, version)], m.Versions[trust.RoleDirector] = data, version
	return data, err
}

// top signs snapshot and timestamp.
func (o SafeOptions) top(
	files map[string][]byte, keys repository.Keys, oldTimestamp *trust.Timestamp, old *trust.Snapshot, roles map[string][]byte, m *Made,
) error {
	version := o.ahead(old.Signed.Version)
	snapshot, err := trust.NewSnapshot(version, o.Now.Add(repository.SnapshotLife), old, roles)
	if err != nil {
		return err
	}
	if err = trust.Sign(snapshot, keys.Snapshot); err != nil {
		return err
	}
	data, err := trust.Encode(snapshot)
	if err != nil {
		return err
	}
	files[trust.FileName(trust.RoleSnapshot, version)], m.Versions[trust.RoleSnapshot] = data, version
	next := o.ahead(oldTimestamp.Signed.Version)
	timestamp := trust.NewTimestamp(next, o.Now.Add(repository.TimestampLife), version, data)
	if err = trust.Sign(timestamp, keys.Timestamp); err != nil {
		return err
	}
	files["timestamp.json"], err = trust.Encode(timestamp)
	m.Versions[trust.RoleTimestamp] = next
	return err
}

// keys opens the online keys, which must be those that the root names. It makes none.
func (o SafeOptions) keys(ctx context.Context) (repository.Keys, error) {
	if o.Keys == "" {
		return repository.Keys{}, fault.New(fault.Invalid, "the backup has no keys, and they are needed to sign metadata that endpoints take").
			Hint("Name the directory that has them with --keys-dir. If they are lost for good, give --lost-keys.")
	}
	for _, name := range []string{"snapshot.pem", "timestamp.pem", "director.pem"} {
		if _, err := os.Stat(filepath.Join(o.Keys, name)); errors.Is(err, os.ErrNotExist) {
			return repository.Keys{}, fault.New(fault.NotFound, "there is no %s in %s", name, o.Keys).Hint("Name the directory that has the keys with --keys-dir.")
		}
	}
	keys, err := repository.OpenKeys(o.Keys, rand.Reader)
	if err != nil {
		return repository.Keys{}, err
	}
	data, err := o.Store.MetadataFile(ctx, "root.json")
	if err != nil {
		return repository.Keys{}, err
	}
	root, err := trust.DecodeRoot(data)
	if err != nil {
		return repository.Keys{}, err
	}
	roles, err := trust.RolesOf(root)
	if err != nil {
		return repository.Keys{}, err
	}
	if roles.Snapshot.Public[keys.Snapshot.ID()] == nil || roles.Timestamp.Public[keys.Timestamp.ID()] == nil {
		return repository.Keys{}, fault.New(fault.Conflict, "the keys in %s are not those that the database's root names", o.Keys).
			Hint("Name the directory with the keys of this installation. If they are lost for good, give --lost-keys.")
	}
	return keys, nil
}
