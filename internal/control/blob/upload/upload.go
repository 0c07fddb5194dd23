// Package upload takes in large blobs in pieces, so that a broken connection or a restart of the server costs no more than the piece.
//
// An upload is one file, named after the digest and the size that were announced; its length is the offset, its modification time its
// age. There is no other state, so nothing can disagree after a crash. A whole upload is put into the store of blobs, which judges it.
package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Blobs is where whole uploads go. Every store of blobs is one.
type Blobs interface {
	Put(ctx context.Context, want release.Digest, size int64, r io.Reader) error
}

// Limits bound what uploads take. The zero value of each means the default.
type Limits struct {
	Life time.Duration // an upload is forgotten this long after its last byte; default 24 h
	Most int           // uploads at once; default 64
	Room int64         // bytes that all of them were announced to have; default 16 GiB
}

// Defaults of [Limits].
const (
	DefaultLife = 24 * time.Hour
	DefaultMost = 64
	DefaultRoom = int64(16 << 30)
)

// Status is where an upload stands.
type Status struct {
	ID       string
	Digest   release.Digest
	Size     int64
	Offset   int64 // bytes that are there, durably
	Complete bool  // it is in the store of blobs, and the upload is gone
	Expires  time.Time
}

// Desk takes uploads in. All methods are safe for concurrent use; one process at a time may have the directory open.
type Desk struct {
	dir    string
	blobs  Blobs
	clock  clock.Clock
	limits Limits

	mu  sync.Mutex
	all map[string]*upload
}

// upload is one file. Whoever holds turn may write to it.
type upload struct {
	id     string
	digest release.Digest
	size   int64
	turn   chan struct{}

	// Guarded by Desk.mu.
	offset    int64
	touched   time.Time
	interrupt func() // ends the append that has the turn; nil if none has
}

// Open opens the directory, makes it if it is not there, and finds the uploads that were begun before.
func Open(dir string, blobs Blobs, c clock.Clock, l Limits) (*Desk, error) {
	if l.Life <= 0 {
		l.Life = DefaultLife
	}
	if l.Most <= 0 {
		l.Most = DefaultMost
	}
	if l.Room <= 0 {
		l.Room = DefaultRoom
	}
	d := &Desk{dir: dir, blobs: blobs, clock: c, limits: l, all: map[string]*upload{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open uploads: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open uploads: %w", err)
	}
	for _, entry := range entries {
		u, ok := parse(entry.Name())
		info, err := entry.Info()
		if !ok || err != nil || !info.Mode().IsRegular() {
			continue // not ours
		}
		u.offset, u.touched = min(info.Size(), u.size), info.ModTime()
		d.all[u.id] = u
	}
	d.Expire()
	return d, nil
}

// parse reads an id: the digest's hexadecimal digits, a dash and the size.
func parse(id string) (*upload, bool) {
	hex, text, ok := strings.Cut(id, "-")
	size, err := strconv.ParseInt(text, 10, 64)
	u := named(release.Digest("sha256:"+hex), size)
	return u, ok && err == nil && size > 0 && u.digest.Valid() && u.id == id
}

func named(digest release.Digest, size int64) *upload {
	return &upload{id: digest.Hex() + "-" + strconv.FormatInt(size, 10), digest: digest, size: size, turn: make(chan struct{}, 1)}
}

// Begin begins an upload of size bytes that have a digest. One of the same bytes that was begun before goes on where it stands.
func (d *Desk) Begin(digest release.Digest, size int64) (Status, error) {
	if err := blob.Check(digest); err != nil {
		return Status{}, fmt.Errorf("begin an upload: %w", err)
	}
	if size <= 0 || size > release.MaxArtifactSize {
		return Status{}, fault.New(fault.Invalid, "begin an upload: its size must be 1 to %d bytes, is %d", int64(release.MaxArtifactSize), size)
	}
	d.Expire()
	d.mu.Lock()
	defer d.mu.Unlock()
	fresh := named(digest, size)
	if u := d.all[fresh.id]; u != nil {
		return d.status(u), nil
	}
	room := d.limits.Room - size
	for _, u := range d.all {
		room -= u.size
	}
	if len(d.all) >= d.limits.Most || room < 0 {
		return Status{}, fault.New(fault.Unavailable, "begin an upload: %d others are not finished, and there is no room for more", len(d.all)).
			Hint("Finish or cancel others, or wait: they are forgotten after %s.", d.limits.Life)
	}
	f, err := os.OpenFile(d.path(fresh), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return Status{}, fmt.Errorf("begin an upload: %w", err)
	}
	if err := errors.Join(f.Close(), d.stamp(fresh)); err != nil {
		return Status{}, fmt.Errorf("begin an upload: %w", err)
	}
	d.all[fresh.id] = fresh
	return d.status(fresh), nil
}

// Status tells where an upload stands.
func (d *Desk) Status(id string) (Status, error) {
	d.Expire()
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.all[id]
	if u == nil {
		return Status{}, unknown("look at", id)
	}
	return d.status(u), nil
}

// Append adds length bytes of r at an offset. Another offset than the upload's is a fault.Conflict, and Status then has the right one.
// If r ends early what came stays, and the error is Unavailable. Another append to the same upload is ended with the interrupt that it
// came with: its sender has gone and does not know, or the two can agree on offsets. The append that completes an upload puts the blob
// into the store; bytes of another digest are fault.Invalid, and the upload is forgotten.
func (d *Desk) Append(ctx context.Context, id string, offset, length int64, r io.Reader, interrupt func()) (Status, error) {
	u, err := d.take(ctx, id, interrupt)
	if err != nil {
		return Status{}, err
	}
	defer d.release(u)
	if at := d.at(u); offset != at || length <= 0 || length > u.size-at {
		s, _ := d.Status(id) // it is there: we have its turn
		if offset == at {
			return s, fault.New(fault.Invalid, "append to upload %s: %d bytes from %d do not fit into %d", u.id, length, offset, u.size)
		}
		return s, fault.New(fault.Conflict, "append to upload %s: it has %d bytes, not %d", u.id, at, offset).
			Hint("Go on from byte %d.", at)
	}
	if err := d.write(u, offset, length, r); err != nil {
		s, _ := d.Status(id)
		return s, fmt.Errorf("append to upload %s: %w", u.id, err)
	}
	if d.at(u) < u.size {
		return d.Status(id)
	}
	return d.finish(ctx, u)
}

// take waits for the turn of an upload.
func (d *Desk) take(ctx context.Context, id string, interrupt func()) (*upload, error) {
	d.mu.Lock()
	u := d.all[id]
	if u == nil {
		d.mu.Unlock()
		return nil, unknown("append to", id)
	}
	if u.interrupt != nil {
		u.interrupt()
	}
	d.mu.Unlock()
	select {
	case u.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "append to upload %s: %w", id, ctx.Err())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all[id] != u { // it was finished or forgotten meanwhile
		<-u.turn
		return nil, unknown("append to", id)
	}
	u.interrupt = interrupt
	return u, nil
}

func (d *Desk) release(u *upload) {
	d.mu.Lock()
	u.interrupt = nil
	d.mu.Unlock()
	<-u.turn
}

// write adds what comes, makes it durable and only then counts it.
func (d *Desk) write(u *upload, offset, length int64, r io.Reader) error {
	f, err := os.OpenFile(d.path(u), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.NewOffsetWriter(f, offset), io.LimitReader(r, length))
	switch {
	case err == nil && n < length:
		err = fault.New(fault.Unavailable, "its sender stopped after %d of %d bytes", n, length)
	case err != nil:
		err = fault.New(fault.Unavailable, "it broke off after %d of %d bytes: %w", n, length, err)
	}
	if durable := errors.Join(f.Sync(), f.Close()); durable != nil {
		return durable
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	u.offset += n
	return errors.Join(err, d.stamp(u))
}

// finish puts a whole upload into the store. Only what the bytes are to blame for ends it without success.
func (d *Desk) finish(ctx context.Context, u *upload) (Status, error) {
	f, err := os.Open(d.path(u))
	if err != nil {
		return Status{}, fmt.Errorf("finish upload %s: %w", u.id, err)
	}
	err = d.blobs.Put(ctx, u.digest, u.size, f)
	_ = f.Close() // it was only read
	if err != nil && fault.KindOf(err) != fault.Invalid {
		s, _ := d.Status(u.id)
		return s, fmt.Errorf("finish upload %s: %w", u.id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if forgotten := d.forget(u); err == nil {
		err = forgotten
	}
	if err != nil {
		return Status{}, fmt.Errorf("finish upload %s: %w", u.id, err)
	}
	return Status{ID: u.id, Digest: u.digest, Size: u.size, Offset: u.size, Complete: true}, nil
}

// Finish puts an upload that is all there into the store: its last append was acknowledged by nobody because the store did not answer.
// Of any other it tells where it stands.
func (d *Desk) Finish(ctx context.Context, id string) (Status, error) {
	s, err := d.Status(id)
	if err != nil || s.Offset < s.Size {
		return s, err
	}
	u, err := d.take(ctx, id, nil)
	if err != nil {
		return Status{}, err
	}
	defer d.release(u)
	return d.finish(ctx, u)
}

// Cancel forgets an upload.
func (d *Desk) Cancel(ctx context.Context, id string) error {
	u, err := d.take(ctx, id, nil)
	if err != nil {
		return err
	}
	defer d.release(u)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.forget(u)
}

// Expire forgets the uploads of which nothing came for long. Begin and Status do so too.
func (d *Desk) Expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	for _, u := range slices.Collect(maps.Values(d.all)) {
		if u.interrupt == nil && now.Sub(u.touched) >= d.limits.Life {
			_ = d.forget(u) // it is tried again
		}
	}
}

// Digests are those of the uploads in progress.
func (d *Desk) Digests() []release.Digest {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]release.Digest, 0, len(d.all))
	for _, u := range d.all {
		all = append(all, u.digest)
	}
	return all
}

// forget removes an upload's file; d.mu is held. An upload whose file cannot be removed stays.
func (d *Desk) forget(u *upload) error {
	if err := os.Remove(d.path(u)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget upload %s: %w", u.id, err)
	}
	delete(d.all, u.id)
	return nil
}

// stamp writes an upload's age to disk.
func (d *Desk) stamp(u *upload) error {
	u.touched = d.clock.Now()
	return os.Chtimes(d.path(u), u.touched, u.touched)
}

func (d *Desk) at(u *upload) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return u.offset
}

// status reads an upload; d.mu is held.
func (d *Desk) status(u *upload) Status {
	return Status{ID: u.id, Digest: u.digest, Size: u.size, Offset: u.offset, Expires: u.touched.Add(d.limits.Life)}
}

func (d *Desk) path(u *upload) string { return filepath.Join(d.dir, u.id) }

func unknown(what, id string) error {
	return fault.New(fault.NotFound, "%s upload %.100q: it was finished, forgotten or never begun", what, id).
		Hint("Begin it again: what is stored already is not sent twice.")
}
