package deb

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// view is all that is known at one moment.
type view struct {
	link    installer.Slot // where current leads to
	slots   []staged
	factory []parcel          // as it was before Firebreak; a version of "" was not installed
	status  map[string]status // of every package of slots and factory
}

type staged struct {
	name    installer.Slot
	parcels []parcel
	broken  bool // somebody edited it: it can be neither current nor gone to
}

// look asks the disk and dpkg.
func (i *Installer) look(ctx context.Context) (view, error) {
	v := view{status: map[string]status{}}
	names, err := i.dir.List()
	if err == nil {
		v.link, err = i.dir.Target(slots.Current)
	}
	if err != nil {
		return v, disk.Explain(err, "look at %s", i.dir.Path)
	}
	for _, name := range names {
		parcels, unread := i.contents(ctx, name)
		if unread != nil && fault.KindOf(unread) != fault.Invalid {
			return v, unread
		}
		v.slots = append(v.slots, staged{name: name, parcels: parcels, broken: unread != nil})
	}
	if v.factory, err = i.entries(ctx); err != nil {
		return v, err
	}
	for _, p := range v.parcels() {
		if _, known := v.status[p.name]; known {
			continue
		}
		if v.status[p.name], err = i.host.query(ctx, p.name); err != nil {
			return v, err
		}
	}
	return v, nil
}

// contents reads the packages of a slot.
func (i *Installer) contents(ctx context.Context, s installer.Slot) ([]parcel, error) {
	entries, err := i.dir.FS.ReadDir(i.dir.Slot(s))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, missing(s)
		}
		return nil, disk.Explain(err, "read slot %s", s)
	}
	var all []parcel
	for _, e := range entries {
		p, err := i.host.read(ctx, filepath.Join(i.dir.Slot(s), e.Name()))
		if err != nil {
			return all, err
		}
		if slices.ContainsFunc(all, func(other parcel) bool { return other.name == p.name }) {
			return all, fault.New(fault.Invalid, "read %s: package %s is there twice", e.Name(), p.name)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return all, fault.New(fault.Invalid, "read slot %s: it holds no package", s)
	}
	return all, nil
}

// parcels lists the packages of all slots, and of before.
func (v view) parcels() []parcel {
	all := slices.Clone(v.factory)
	for _, s := range v.slots {
		all = append(all, s.parcels...)
	}
	return all
}

// ours tells whether what is installed could have been installed by Firebreak: a version of a slot, or half of something.
func (v view) ours(s status) bool {
	if s.present && !s.whole {
		return true
	}
	for _, slot := range v.slots {
		if slices.ContainsFunc(slot.parcels, func(p parcel) bool { return s.is(p) }) {
			return true
		}
	}
	return false
}

// is tells whether exactly this package is installed and configured.
func (s status) is(p parcel) bool { return s.whole && s.version == p.version && s.arch == p.arch }

// todo is what brings the host to a slot: its packages exactly, and of the packages that other releases brought those of before. Of the
// latter only what Firebreak installed is touched: what somebody else installed since is theirs.
func (v view) todo(to installer.Slot) change {
	var c change
	wanted := v.of(to)
	for _, p := range wanted {
		s := v.status[p.name]
		if !s.is(p) {
			c.install = append(c.install, p)
		}
		if !s.is(p) || !s.held {
			c.hold = append(c.hold, p.name)
		}
	}
	for _, p := range v.factory {
		s := v.status[p.name]
		switch {
		case slices.ContainsFunc(wanted, func(w parcel) bool { return w.name == p.name }), !v.ours(s):
		case p.version == "":
			c.remove = append(c.remove, p.name)
		case !s.is(p):
			c.install = append(c.install, p)
		}
	}
	return c
}

func (v view) of(s installer.Slot) []parcel {
	for _, slot := range v.slots {
		if slot.name == s {
			return slot.parcels
		}
	}
	return nil
}

// current is the slot for which nothing is left to do. Where several fit, the link decides.
func (v view) current() installer.Slot {
	var fit []installer.Slot
	for _, s := range v.slots {
		if !s.broken && v.todo(s.name).empty() {
			fit = append(fit, s.name)
		}
	}
	if v.todo("").empty() {
		fit = append(fit, "")
	}
	switch {
	case slices.Contains(fit, v.link):
		return v.link
	case len(fit) > 0:
		return fit[0]
	default:
		return Unknown
	}
}
