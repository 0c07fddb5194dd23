// Package backup copies an installation into one file while it runs, and makes an installation of such a file again.
//
// A backup is a moment that has passed: the endpoints have gone on. They remember the highest sequence of directives and the newest
// metadata that they saw, they hold leases that the backup does not know, and rollouts may have tripped since. [MakeSafe] does what can
// be done about that, and does not let anything widen before a person has looked. docs/disaster.md says what it cannot do.
package backup

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Options say what to back up, and how.
type Options struct {
	Data        string // data directory of the installation
	Keys        string // directory with the keys; empty: Data/keys
	To          string // the file to make; it must not exist
	Elsewhere   bool   // the database is not in Data but in PostgreSQL, which is backed up by its own means
	WithoutKeys bool
	WithBlobs   bool
	Recipients  []age.Recipient // who can decrypt it; none: it is not encrypted
	Identities  []age.Identity  // with which it is read again afterwards; without, only its bytes are compared
	Version     string          // of this program
	Now         time.Time
	Progress    func(what string)       // called before each part; may be nil
	Bytes       func(done, total int64) // called in parts that take long, with the bytes that are done; may be nil
}

// Manifest is the last part of a backup: what is in it.
type Manifest struct {
	Created  time.Time `json:"created"`
	Version  string    `json:"version"`  // of the program that made it
	Database string    `json:"database"` // "sqlite", or "elsewhere" if it is not in here
	Content  Database  `json:"content"`
	Keys     bool      `json:"keys"`
	Blobs    bool      `json:"blobs"`  // their bytes are in here too
	Listed   []Listed  `json:"listed"` // artifacts and manifests that there were
	Parts    []Part    `json:"parts"`  // all files that come before the manifest
}

// Listed is an artifact, or a manifest, that was there when the backup was made.
type Listed struct {
	Digest release.Digest `json:"digest"`
	Size   int64          `json:"size"`
}

// Result is what [Make] did.
type Result struct {
	File      string   `json:"file"`
	Size      int64    `json:"size"`
	Encrypted bool     `json:"encrypted"`
	ReadAgain bool     `json:"read_again"` // it was decrypted and read, not only compared byte by byte
	Manifest  Manifest `json:"manifest"`
}

// Make makes a backup: all of it, checked, or no file at all.
func Make(ctx context.Context, o Options) (Result, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Keys == "" {
		o.Keys = filepath.Join(o.Data, keysDir)
	}
	result, err := o.make(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("back up %s to %s: %w", o.Data, o.To, err)
	}
	return result, nil
}

func (o Options) make(ctx context.Context) (Result, error) {
	if _, err := os.Lstat(o.To); err == nil {
		return Result{}, fault.New(fault.Conflict, "the file is there already").Hint("Name another file: backups are never overwritten.")
	}
	work, err := os.MkdirTemp(filepath.Dir(o.To), ".firebreak-backup-") // only its owner may look into it
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	m := Manifest{Created: o.Now.UTC(), Version: o.Version, Database: "elsewhere", Keys: !o.WithoutKeys, Blobs: o.WithBlobs}
	if !o.Elsewhere {
		m.Database = "sqlite"
		if m.Content, err = o.copyDatabase(ctx, filepath.Join(work, databaseName)); err != nil {
			return Result{}, err
		}
	}
	written := filepath.Join(work, "backup")
	sum, err := o.write(ctx, written, work, &m)
	if err != nil {
		return Result{}, err
	}
	o.Progress("reading it again")
	if err := o.verify(written, sum); err != nil {
		return Result{}, err
	}
	return o.settle(written, m)
}

// copyDatabase copies the database and checks the copy.
func (o Options) copyDatabase(ctx context.Context, to string) (Database, error) {
	o.Progress("copying the database")
	from := filepath.Join(o.Data, databaseName)
	if _, err := os.Stat(from); err != nil {
		return Database{}, fault.New(fault.NotFound, "there is no database: %w", err).Hint("Name the data directory of the control plane with --data.")
	}
	if err := clone(ctx, from, to); err != nil {
		return Database{}, fmt.Errorf("copy the database: %w", err)
	}
	o.Progress("checking the copy")
	d, err := Inspect(ctx, to, true)
	if err != nil {
		return Database{}, fmt.Errorf("check the copy of the database: %w", err)
	}
	if len(d.Problems) > 0 {
		return Database{}, fault.New(fault.Internal, "the copy of the database is damaged, so the database may be: %s", d.Problems[0]).
			Hint("Run: firebreak doctor --data %s --all", o.Data)
	}
	return d, nil
}

// write writes the archive and returns the digest of its bytes.
func (o Options) write(ctx context.Context, file, work string, m *Manifest) (sum string, err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, private)
	if err != nil {
		return "", err
	}
	defer f.Close()
	w, err := newWriter(f, o.Recipients)
	if err != nil {
		return "", err
	}
	if err := o.fill(ctx, w, work, m); err != nil {
		return "", err
	}
	m.Parts = w.parts
	if err := w.json(manifestName, m); err != nil {
		return "", err
	}
	if err := w.close(); err != nil {
		return "", err
	}
	return hex.EncodeToString(w.sum.Sum(nil)), f.Sync()
}

func (o Options) fill(ctx context.Context, w *writer, work string, m *Manifest) error {
	if !o.Elsewhere {
		o.Progress("packing the database")
		file := filepath.Join(work, databaseName)
		if info, err := os.Stat(file); err == nil {
			w.tell = o.of(0, info.Size())
		}
		if err := w.file(databaseName, file); err != nil {
			return err
		}
		w.tell = nil
	}
	if !o.WithoutKeys {
		o.Progress("packing the keys")
		if err := o.packKeys(w); err != nil {
			return err
		}
	}
	o.Progress("listing the artifacts")
	blobs, err := Blobs(o.Data)
	if err != nil {
		return err
	}
	m.Listed = blobs
	if !o.WithBlobs {
		return nil
	}
	return o.packBlobs(ctx, w, blobs)
}

func (o Options) packBlobs(ctx context.Context, w *writer, blobs []Listed) error {
	o.Progress("packing the artifacts")
	var done, total int64
	for _, b := range blobs {
		total += b.Size
	}
	for _, b := range blobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.tell = o.of(done, total)
		if err := w.file(blobsDir+"/"+b.Digest.Hex(), BlobFile(o.Data, b.Digest)); err != nil {
			return err
		}
		done += b.Size
	}
	return nil
}

// of makes what is told of a file the progress of all, of which so many bytes were done before.
func (o Options) of(before, total int64) func(int64) {
	if o.Bytes == nil {
		return nil
	}
	return func(done int64) { o.Bytes(before+done, total) }
}

func (o Options) packKeys(w *writer) error {
	entries, err := os.ReadDir(o.Keys)
	if err != nil || len(entries) == 0 {
		return fault.New(fault.NotFound, "there are no keys in %s", o.Keys).
			Hint("Name the directory with --keys-dir, or leave them out with --without-keys if they are kept elsewhere.")
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !allowed(keysDir+"/"+e.Name()) {
			continue // temporary files
		}
		if err := w.file(keysDir+"/"+e.Name(), filepath.Join(o.Keys, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// BlobFile is where an artifact is in a data directory.
func BlobFile(data string, d release.Digest) string {
	return filepath.Join(blobDir(data), d.Hex())
}

func blobDir(data string) string { return filepath.Join(data, "blobs", "blobs", "sha256") }

// Blobs lists the artifacts in a data directory, in order; none if it has none, because they are kept elsewhere.
func Blobs(data string) ([]Listed, error) {
	entries, err := os.ReadDir(blobDir(data))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Listed
	for _, e := range entries {
		info, err := e.Info()
		if os.IsNotExist(err) {
			continue // collected meanwhile
		}
		if err != nil {
			return nil, err
		}
		if d := release.Digest("sha256:" + e.Name()); d.Valid() && info.Mode().IsRegular() {
			all = append(all, Listed{Digest: d, Size: info.Size()})
		}
	}
	slices.SortFunc(all, func(a, b Listed) int { return cmp.Compare(a.Digest, b.Digest) })
	return all, nil
}

// verify reads what was written from the disk again.
func (o Options) verify(file, sum string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	read := sha256.New()
	if _, err = io.Copy(read, measured(f, o.Bytes)); err != nil {
		return err
	}
	got := hex.EncodeToString(read.Sum(nil))
	if got != sum {
		return fault.New(fault.Unavailable, "the file has other bytes than were written").Hint("Check the disk, and back up to another one.")
	}
	if len(o.Recipients) > 0 && len(o.Identities) == 0 {
		return nil // only others can read it
	}
	_, err = readAll(file, o.Identities)
	return err
}

// settle gives the backup its name.
func (o Options) settle(written string, m Manifest) (Result, error) {
	info, err := os.Stat(written)
	if err != nil {
		return Result{}, err
	}
	if err := os.Link(written, o.To); err != nil { // unlike a rename it never replaces a file
		if os.IsExist(err) {
			return Result{}, fault.New(fault.Conflict, "the file is there already").Hint("Name another file: backups are never overwritten.")
		}
		if err := os.Rename(written, o.To); err != nil { // a file system without links
			return Result{}, err
		}
	}
	encrypted := len(o.Recipients) > 0
	return Result{
		File: o.To, Size: info.Size(), Encrypted: encrypted, ReadAgain: !encrypted || len(o.Identities) > 0, Manifest: m,
	}, syncDir(filepath.Dir(o.To))
}

// readAll reads an archive to its end, and keeps nothing.
func readAll(file string, identities []age.Identity) (Manifest, error) {
	f, err := os.Open(file)
	if err != nil {
		return Manifest{}, err
	}
	defer f.Close()
	r, err := newReader(f, identities)
	if err != nil {
		return Manifest{}, err
	}
	defer r.close()
	return r.each(nil)
}

// syncDir makes what was made or renamed in a directory durable. Windows has no such call and needs none.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// private is the mode of all files that are made here.
const private fs.FileMode = 0o600
