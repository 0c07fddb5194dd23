package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// RestoreOptions say what to restore, and to where.
type RestoreOptions struct {
	From       string
	To         string // data directory to make; it must not exist, or be empty
	Identities []age.Identity
	Keys       string // directory with the keys, for a backup without; they are used, not copied
	LostKeys   bool   // the keys are gone: the server will make new ones
	Now        time.Time
	Progress   func(what string)       // may be nil
	Bytes      func(done, total int64) // called while the backup is read, with its bytes that are done; may be nil
}

// Restored is what [Restore] did.
type Restored struct {
	Manifest Manifest `json:"manifest"`
	Made     Made     `json:"made_safe"`
	Missing  []Listed `json:"missing"` // artifacts that were there and are not in the backup
	Next     []string `json:"next"`    // what a person must do now, in order
}

// Restore makes a data directory of a backup. Everything is checked before anything is in its place; after an error nothing is.
func Restore(ctx context.Context, o RestoreOptions) (Restored, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	r, err := o.restore(ctx)
	if err != nil {
		return Restored{}, fmt.Errorf("restore %s to %s: %w", o.From, o.To, err)
	}
	return r, nil
}

func (o RestoreOptions) restore(ctx context.Context) (Restored, error) {
	if err := vacant(o.To); err != nil {
		return Restored{}, err
	}
	to, err := filepath.Abs(o.To)
	if err != nil {
		return Restored{}, err
	}
	if err = os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return Restored{}, err
	}
	work, err := os.MkdirTemp(filepath.Dir(to), "."+filepath.Base(to)+"-restoring-")
	if err != nil {
		return Restored{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	o.Progress("unpacking and checking")
	m, err := o.unpack(work)
	if err != nil {
		return Restored{}, err
	}
	r := Restored{Manifest: m, Missing: missing(m)}
	if m.Database == "sqlite" {
		if r.Made, err = o.revive(ctx, work, m); err != nil {
			return Restored{}, err
		}
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Restored{}, err
	}
	if err := os.Rename(work, to); err != nil {
		return Restored{}, err
	}
	r.Next = o.next(r)
	return r, syncDir(filepath.Dir(to))
}

// vacant refuses a directory that has something in it.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fault.New(fault.Conflict, "the directory is not empty: it has %s", entries[0].Name()).
			Hint("Name a directory that does not exist. If this one is what was lost, move it away; do not delete it yet.")
	}
	return nil
}

// unpack lays the parts out as in a data directory.
func (o RestoreOptions) unpack(work string) (Manifest, error) {
	f, err := os.Open(o.From)
	if err != nil {
		return Manifest{}, fault.New(fault.NotFound, "open it: %w", err)
	}
	defer f.Close()
	r, err := newReader(measured(f, o.Bytes), o.Identities)
	if err != nil {
		return Manifest{}, err
	}
	defer r.close()
	dirs := map[string]bool{work: true}
	m, err := r.each(func(part *tar.Header) (io.WriteCloser, error) {
		path := filepath.Join(work, filepath.FromSlash(part.Name))
		if strings.HasPrefix(part.Name, blobsDir+"/") {
			path = filepath.Join(work, "blobs", filepath.FromSlash(part.Name))
		}
		for dir := filepath.Dir(path); !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
		if failed := os.MkdirAll(filepath.Dir(path), 0o700); failed != nil {
			return nil, failed
		}
		file, failed := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, private)
		return durable{file}, failed
	})
	if err != nil {
		return Manifest{}, err
	}
	for dir := range maps.Keys(dirs) {
		if err := syncDir(dir); err != nil {
			return Manifest{}, err
		}
	}
	return m, nil
}

// durable is a file that is on the disk when it is closed.
type durable struct{ *os.File }

// Close implements [io.Closer].
func (d durable) Close() error { return errors.Join(d.Sync(), d.File.Close()) }

// revive checks the database, brings its schema up to date and makes it safe.
func (o RestoreOptions) revive(ctx context.Context, work string, m Manifest) (Made, error) {
	o.Progress("checking the database")
	file := filepath.Join(work, databaseName)
	found, err := Inspect(ctx, file, true)
	switch {
	case err != nil:
		return Made{}, damaged(fmt.Errorf("read the database: %w", err))
	case len(found.Problems) > 0:
		return Made{}, damaged(fmt.Errorf("the database: %s", found.Problems[0]))
	case found.Schema != m.Content.Schema || !maps.Equal(found.Tables, m.Content.Tables):
		return Made{}, damaged(errors.New("the database has other rows than the manifest says"))
	}
	o.Progress("making it safe to run")
	s, err := sqlite.Open(ctx, file)
	if err != nil {
		return Made{}, err
	}
	keys := filepath.Join(work, keysDir)
	if !m.Keys {
		keys = o.Keys
	}
	made, err := MakeSafe(ctx, SafeOptions{Store: s, Keys: keys, LostKeys: o.LostKeys && !m.Keys, Taken: m.Created, Now: o.Now})
	if err = errors.Join(err, s.Close()); err != nil {
		return Made{}, err
	}
	if err := os.Remove(file + ".lock"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Made{}, err
	}
	return made, syncDir(work)
}

// missing are the artifacts that a backup names and does not have.
func missing(m Manifest) []Listed {
	if m.Blobs {
		return nil
	}
	return m.Listed
}

// next says what a person must do, in order.
func (o RestoreOptions) next(r Restored) []string {
	var steps []string
	add := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }
	if r.Manifest.Database != "sqlite" {
		add("Restore the PostgreSQL database by its own means, then run: firebreak restore --database URL --keys-dir %s", filepath.Join(o.To, keysDir))
	}
	if !r.Manifest.Keys && o.LostKeys {
		add("After the start run 'firebreak key init' with the root key: it names the new keys. Every endpoint has to join again.")
	} else if !r.Manifest.Keys {
		add("Put the keys into %s, with mode 0600.", filepath.Join(o.To, keysDir))
	}
	if len(r.Missing) > 0 {
		add("Put the artifacts into %s, or publish them again: %d are missing. 'firebreak doctor' lists those that are needed.",
			filepath.Join(o.To, "blobs"), len(r.Missing))
	}
	return append(append(steps,
		fmt.Sprintf("Give %s to the user that runs the server (chown -R), and make sure that the old server can never start again.", o.To)),
		Afterwards(r.Manifest.Created, r.Made)...)
}

// Afterwards says what a person must do once a database that was made safe is served again: what happened after the backup is unknown.
func Afterwards(taken time.Time, m Made) []string {
	since := "the backup was made"
	if !taken.IsZero() {
		since = taken.UTC().Format("2006-01-02 15:04 MST")
	}
	var steps []string
	add := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }
	add("Start the server. Nobody is exposed to anything: a freeze named %q holds until you remove it.", freezeName)
	add("Recall again what was recalled or rolled back after %s: firebreak rollout rollback ID. Endpoints that had heard of it remember; "+
		"the others do not.", since)
	for _, id := range m.Paused {
		add("Look at rollout %s, which is paused: it does not know its leases since the backup. Halt it and start again if it gave any.", id)
	}
	add("Publish again what was published after %s: until then endpoints that saw it refuse the older metadata.", since)
	add("Revoke tokens again that were revoked after %s. Endpoints that joined after it have to join again.", since)
	add("Then lift the freeze: firebreak freeze remove %q", freezeName)
	return steps
}
