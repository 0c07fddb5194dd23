// Package slots is the layout of one component on disk, and the switch and the way back in it.
//
//	<dir>/slots/<version>-<digest12>/   one immutable directory per staged release
//	<dir>/current                       link to the slot in use: what consumers read through
//	<dir>/previous                      link to the slot that was in use before, for people and for rescue
//	<dir>/.back                         link to the slot to go back to, ready to be renamed to current
//
// The way back is made before the switch. Going back renames .back over current: one step that needs no inode, no block and no network,
// so that the boot guard can take it in an initramfs, and the recovery medium on the disk of a dead host, with the same code as the agent.
//
// On Windows the links are small text files (see package disk).
package slots

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// Slot names one staged release of a component on this host; "" means none.
type Slot string

// Link is one of the links in a component's directory.
type Link string

// The links.
const (
	Current  Link = "current"
	Previous Link = "previous"
	Back     Link = ".back"
)

const (
	slotsDir = "slots"
	staging  = ".stage-" // prefix of a slot that is being staged
	trash    = ".trash-" // prefix of a slot that is being removed
)

// Dir is the directory of one component. The caller sees to it that one at a time changes it; anybody may read.
type Dir struct {
	FS   disk.FS
	Path string
}

// Make makes the directory if need be.
func (d Dir) Make() error {
	const everybodyReads = 0o755 // consumers run as other users
	return disk.MkdirAll(d.FS, d.Slots(), everybodyReads)
}

// Slots is the path of the directory that holds the slots.
func (d Dir) Slots() string { return filepath.Join(d.Path, slotsDir) }

// Slot is the path of a slot.
func (d Dir) Slot(s Slot) string { return filepath.Join(d.Slots(), string(s)) }

// Staging is the path where a slot is built before it gets its name.
func (d Dir) Staging(s Slot) string { return filepath.Join(d.Slots(), staging+string(s)) }

// Link is the path of a link.
func (d Dir) Link(l Link) string { return filepath.Join(d.Path, string(l)) }

// Has tells whether a slot is staged.
func (d Dir) Has(s Slot) bool {
	if s == "" || s[0] == '.' || strings.ContainsAny(string(s), `/\:`) {
		return false
	}
	info, err := d.FS.Lstat(d.Slot(s))
	return err == nil && info.IsDir()
}

// List lists the staged slots in the order of names.
func (d Dir) List() ([]Slot, error) {
	entries, err := d.FS.ReadDir(d.Slots())
	if err != nil {
		return nil, err
	}
	var all []Slot
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			all = append(all, Slot(e.Name()))
		}
	}
	return all, nil
}

// Target is the slot that a link points to; "" if there is no link or no such slot.
func (d Dir) Target(l Link) (Slot, error) {
	to, err := d.FS.Readlink(d.Link(l))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fault.New(fault.Conflict, "read link %s: %w", d.Link(l), err).Hint("move away what is there; Firebreak keeps a link there")
	}
	dir, name := path.Split(filepath.ToSlash(to))
	if s := Slot(name); path.Clean(dir) == slotsDir && d.Has(s) {
		return s, nil
	}
	return "", nil
}

// Switch makes current lead to a staged slot, having made the way back to another first; back "" says that there is none. After an error
// current is what it was, or the slot. Previous is set on the way, for people, and not vouched for.
func (d Dir) Switch(to, back Slot) error {
	was, err := d.Target(Current)
	if err == nil {
		err = d.wayBack(back)
	}
	if err == nil {
		err = d.point(Current, to)
	}
	if err == nil && was != "" && was != to {
		_ = d.point(Previous, was)
	}
	return err
}

// GoBack makes current lead to a slot that was so before, durably; "" takes it away. It needs no space when to is what Switch was given
// as the way back. Going back to what is current makes sure of it.
func (d Dir) GoBack(to Slot) error {
	was, err := d.Target(Current)
	switch {
	case err != nil:
	case to == "":
		err = d.discard(Current)
	case was != to:
		err = d.rename(to)
	}
	if err == nil {
		err = d.FS.SyncDir(d.Path)
	}
	if err == nil {
		_ = d.wayBack(to) // best effort: the link that was used up is made again for the next time
	}
	return err
}

// Remove takes a slot away. It is renamed first, so that nobody ever sees one half removed; Sweep does the rest.
func (d Dir) Remove(s Slot) error {
	return d.FS.Rename(d.Slot(s), filepath.Join(d.Slots(), trash+string(s)))
}

// Sweep removes what is half staged or half removed.
func (d Dir) Sweep() error {
	entries, err := d.FS.ReadDir(d.Slots())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), staging) || strings.HasPrefix(e.Name(), trash) {
			err = errors.Join(err, disk.RemoveAll(d.FS, filepath.Join(d.Slots(), e.Name())))
		}
	}
	return err
}

// point makes a link to a slot, durably.
func (d Dir) point(l Link, s Slot) error {
	return disk.Link(d.FS, path.Join(slotsDir, string(s)), d.Link(l))
}

// wayBack makes .back lead to a slot, durably; with "" there is nothing to go back to and no link that says so.
func (d Dir) wayBack(to Slot) error {
	if to == "" {
		if err := errors.Join(d.discard(Back), d.discard(Previous)); err != nil {
			return err
		}
		return d.FS.SyncDir(d.Path)
	}
	ready, err := d.Target(Back)
	if err != nil {
		return err
	}
	if ready != to {
		return d.point(Back, to)
	}
	return d.FS.SyncDir(d.Path) // it may be there and not yet durable
}

// rename renames a link that is ready over current, and makes one only if none is: when that fails for want of space, what is half
// staged has to make room.
func (d Dir) rename(to Slot) error {
	for _, l := range []Link{Back, Previous} {
		if ready, err := d.Target(l); err == nil && ready == to {
			return d.FS.Rename(d.Link(l), d.Link(Current))
		}
	}
	err := d.point(Current, to)
	if disk.Full(err) && d.Sweep() == nil {
		err = d.point(Current, to)
	}
	return err
}

func (d Dir) discard(l Link) error {
	if err := d.FS.Remove(d.Link(l)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
