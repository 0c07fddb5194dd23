package deb

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// mostBallast bounds what is set aside for the way back, in bytes. A release whose way back needs more is refused.
const mostBallast = 8 << 30

// ballast is a file of no use but its size: dpkg needs room to unpack, so room for the way back is set aside before an activation and
// given up right before the way back is taken. It lies on the file system of the agent's state.
func (i *Installer) ballast() string { return filepath.Join(i.dir.Path, "ballast") }

// wayBackSize is what going back to a slot, from a release with these packages, unpacks to at most.
func (v view) wayBackSize(to installer.Slot, from []parcel) (size int64) {
	in := func(all []parcel, fits func(parcel) bool) bool { return slices.ContainsFunc(all, fits) }
	wanted := v.of(to)
	for _, p := range wanted {
		if !in(from, func(o parcel) bool { return o.name == p.name && o.version == p.version && o.arch == p.arch }) {
			size += p.size
		}
	}
	for _, p := range v.factory {
		if p.version != "" && !in(wanted, func(o parcel) bool { return o.name == p.name }) {
			size += p.size
		}
	}
	return size
}

// ballasted is how much there is.
func (i *Installer) ballasted() int64 {
	info, err := i.dir.FS.Lstat(i.ballast())
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// fits refuses a way back that nothing would be set aside for.
func fits(ballast int64) error {
	if ballast <= mostBallast {
		return nil
	}
	return fault.New(fault.Conflict, "set room aside for the way back: it needs %d bytes, and %d is the most", ballast, int64(mostBallast)).
		Hint("release these packages in parts")
}

// setAside makes the ballast, if there is not as much of it yet. One that was cut short by a kill is made again.
func (i *Installer) setAside(ctx context.Context, size int64) error {
	if err := fits(size); err != nil || i.ballasted() >= size {
		return err
	}
	err := i.Settle()
	if err == nil {
		err = i.fill(ctx, size)
	}
	if err == nil {
		return nil
	}
	err = errors.Join(err, i.Settle()) // half of it is of no use
	if ctx.Err() != nil {
		return err
	}
	return fault.New(fault.Unavailable, "set %d bytes aside for the way back: %w", size, err).
		Hint("free some space on the file system of %s", i.dir.Path)
}

func (i *Installer) fill(ctx context.Context, size int64) (err error) {
	f, err := i.dir.FS.Open(i.ballast(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err == nil {
			err = i.dir.FS.SyncDir(i.dir.Path)
		}
	}()
	if done, err := allocate(f, size); err != nil {
		return err
	} else if !done {
		if err := write(ctx, f, size); err != nil {
			return err
		}
	}
	return f.Sync()
}

// write fills a file where the file system cannot allocate, with what no file system compresses.
func write(ctx context.Context, f disk.File, size int64) error {
	const at = 1 << 20
	noise := rand.NewChaCha8([32]byte{}) // always the same: it hides nothing
	buf := make([]byte, min(at, size))
	for ; size > 0 && ctx.Err() == nil; size -= int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), size)]
		_, _ = noise.Read(buf) // it cannot fail
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Settle implements [installer.Settler]: it gives up what is set aside for the way back.
func (i *Installer) Settle() error {
	if _, err := i.dir.FS.Lstat(i.ballast()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := i.dir.FS.Remove(i.ballast())
	if err == nil {
		err = i.dir.FS.SyncDir(i.dir.Path) // a file system may keep the blocks until then
	}
	return disk.Explain(err, "give up the room that was set aside in %s", i.dir.Path)
}
