package deb

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

const (
	suffix  = ".deb"
	loading = ".load" // directory in which a package of before is being downloaded
)

// factory is the directory of the packages as they were before Firebreak.
func (i *Installer) factory() string { return filepath.Join(i.dir.Path, "factory") }

func (i *Installer) entryPath(name string) string { return filepath.Join(i.factory(), name+suffix) }

// entries reads all packages of before.
func (i *Installer) entries(ctx context.Context) ([]parcel, error) {
	list, err := i.dir.FS.ReadDir(i.factory())
	if err != nil {
		return nil, disk.Explain(err, "read %s", i.factory())
	}
	var all []parcel
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue // being written
		}
		p, err := i.entry(ctx, name)
		if fault.KindOf(err) == fault.Invalid {
			continue // somebody edited it: it is as if it was not kept
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// entry reads the package of before of that name; a version of "" says that it was not installed.
func (i *Installer) entry(ctx context.Context, name string) (parcel, error) {
	info, err := i.dir.FS.Lstat(i.entryPath(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return parcel{}, fault.New(fault.NotFound, "package %s of before Firebreak is not kept", name)
	case err != nil:
		return parcel{}, disk.Explain(err, "read the package %s of before", name)
	case info.Size() == 0:
		return parcel{name: name}, nil
	}
	return i.host.read(ctx, i.entryPath(name))
}

// remember keeps what is installed now of the packages of a release, unless Firebreak installed it. Online allows it to download.
func (i *Installer) remember(ctx context.Context, v view, parcels []parcel, online bool) error {
	for _, p := range parcels {
		if err := i.rememberOne(ctx, v, p.name, online); err != nil {
			return err
		}
	}
	return nil
}

func (i *Installer) rememberOne(ctx context.Context, v view, name string, online bool) error {
	s := v.status[name]
	was, err := i.entry(ctx, name)
	known := err == nil
	if kind := fault.KindOf(err); err != nil && kind != fault.NotFound && kind != fault.Invalid {
		return err
	}
	switch {
	case known && (!s.present || s.is(was) || v.ours(s)):
		return nil
	case !s.present:
		return disk.Explain(disk.WriteFile(i.dir.FS, i.entryPath(name), nil, 0o600), "note that package %s was not installed", name)
	case !s.whole:
		return fault.New(fault.Conflict, "package %s %s is only half installed", name, s.version).Hint("mend it on the host: dpkg --configure -a")
	}
	return i.keep(ctx, v, s, online)
}

// keep copies the file of what is installed: from a slot, from apt's archives, or from where apt downloads.
func (i *Installer) keep(ctx context.Context, v view, s status, online bool) error {
	for _, p := range v.parcels() {
		if s.is(p) {
			return disk.Explain(i.copyFile(ctx, p.path, i.entryPath(s.name)), "keep package %s %s", s.name, s.version)
		}
	}
	dir := filepath.Join(i.factory(), loading)
	err := disk.RemoveAll(i.dir.FS, dir)
	if err == nil {
		err = i.dir.FS.Mkdir(dir, 0o755) // apt downloads as a user of its own
	}
	if err != nil {
		return disk.Explain(err, "keep package %s %s", s.name, s.version)
	}
	found, err := i.obtain(ctx, s, dir, online)
	if err == nil {
		err = disk.Explain(i.copyFile(ctx, found, i.entryPath(s.name)), "keep package %s %s", s.name, s.version)
	} else if i.NoWayBack && ctx.Err() == nil {
		err = nil
	}
	return errors.Join(err, disk.Explain(disk.RemoveAll(i.dir.FS, dir), "keep package %s %s", s.name, s.version))
}

// obtain gets the file of what is installed and checks that it is that.
func (i *Installer) obtain(ctx context.Context, s status, dir string, online bool) (string, error) {
	path, err := i.host.obtain(ctx, s, dir, online)
	if err == nil {
		var p parcel
		if p, err = i.host.read(ctx, path); err == nil && !s.is(p) {
			err = fault.New(fault.NotFound, "%s holds %s %s", path, p.name, p.version)
		}
	}
	if err != nil && ctx.Err() == nil {
		return "", fault.New(fault.Unavailable, "make the way back to package %s %s, which is installed: %w", s.name, s.version, err).
			Hint("put %s_%s_%s.deb into %s, or allow the component to have no way back", s.name, escape(s.version), s.arch, i.Archives)
	}
	return path, err
}

// escape writes a version as apt does in names of files.
func escape(version string) string { return strings.ReplaceAll(version, ":", "%3a") }

// copyFile makes a durable copy that is there as a whole or not at all.
func (i *Installer) copyFile(ctx context.Context, from, to string) (err error) {
	fsys := i.dir.FS
	in, err := fsys.Open(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	tmp := to + ".tmp"
	if err = disk.RemoveAll(fsys, tmp); err != nil {
		return err
	}
	out, err := fsys.Open(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(struct{ io.Writer }{out}, struct{ io.Reader }{in})
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close(), ctx.Err()); err == nil {
		err = fsys.Rename(tmp, to)
	}
	if err != nil {
		return errors.Join(err, disk.RemoveAll(fsys, tmp))
	}
	return fsys.SyncDir(i.factory())
}

// sweep removes what an interrupted call left among the packages of before.
func (i *Installer) sweep() error {
	list, err := i.dir.FS.ReadDir(i.factory())
	if err != nil {
		return err
	}
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), suffix) {
			err = errors.Join(err, disk.RemoveAll(i.dir.FS, filepath.Join(i.factory(), e.Name())))
		}
	}
	return err
}

// twins refuses a package that another slot has under the same version with other bytes: dpkg could not tell the two apart.
func (i *Installer) twins(v view, s installer.Slot, parcels []parcel) error {
	for _, slot := range v.slots {
		for _, other := range slot.parcels {
			for _, p := range parcels {
				if slot.name == s || other.name != p.name || other.version != p.version || other.arch != p.arch {
					continue
				}
				same, err := i.same(p.path, other.path)
				if err != nil {
					return disk.Explain(err, "compare %s with that of slot %s", p.name, slot.name)
				}
				if !same {
					return fault.New(fault.Invalid, "package %s %s has other bytes than the one of slot %s", p.name, p.version, slot.name).
						Hint("give a package that was built again a version of its own")
				}
			}
		}
	}
	return nil
}

func (i *Installer) same(a, b string) (bool, error) {
	first, err := i.digest(a)
	if err != nil {
		return false, err
	}
	second, err := i.digest(b)
	return first == second, err
}

func (i *Installer) digest(path string) (_ release.Digest, err error) {
	f, err := i.dir.FS.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, struct{ io.Reader }{f}); err != nil {
		return "", err
	}
	return release.DigestFrom([sha256.Size]byte(h.Sum(nil))), nil
}
