package guard

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// Rehearse proves on a live host that the way back works: it switches a scratch component in the guard's directory, goes back by the code
// that a boot runs, and looks that every component has what its own way back needs. Nothing of the host changes, nothing stays behind.
// It writes a line for each, and tells whether all is well.
func Rehearse(h Host, out io.Writer) bool {
	well := true
	report := func(what string, err error) {
		if err != nil {
			well = false
			fmt.Fprintf(out, "FAIL  %s: %v\n", what, err)
			return
		}
		fmt.Fprintf(out, "ok    %s\n", what)
	}
	if why := h.disabled(); why != "" {
		report("guard", fmt.Errorf("is disabled %s", why))
	}
	dir, err := h.at(h.Dir)
	var book *Book
	if err == nil {
		book, err = open(h.FS, dir)
	}
	if err != nil {
		report("guard's memory", err)
		return false
	}
	defer func() { _ = book.Close() }()
	s, damaged, err := book.load()
	report("guard's memory can be read", errors.Join(err, damaged))
	report("guard's memory can be written", h.rewrite(book))
	report("a scratch component goes back", h.scratch(filepath.Join(h.Dir, rehearsalDir)))
	for _, e := range s.Entries {
		if e.Dir == "" {
			fmt.Fprintf(out, "ok    %s: the agent goes back, the guard tells it to\n", e.Component)
			continue
		}
		report(e.Component+": "+describe(e, h.shows([]bootguard.Entry{e})), h.wayOf(e))
	}
	return well
}

// rewrite saves the record as it is, in the other slot.
func (h Host) rewrite(book *Book) error {
	held, err := lock(book.dir)
	if err != nil {
		return err
	}
	defer func() { _ = held.Close() }()
	data, ok, err := book.file.Load()
	if err != nil || !ok {
		return err
	}
	return book.file.Save(data)
}

// scratch goes through a switch and the way back.
func (h Host) scratch(path string) (err error) {
	d, err := h.component(path)
	if err != nil {
		return err
	}
	if err = disk.RemoveAll(h.FS, d.Path); err != nil { // of a rehearsal that was interrupted
		return err
	}
	defer func() {
		err = errors.Join(err, disk.RemoveAll(h.FS, d.Path), h.FS.SyncDir(filepath.Dir(d.Path)))
	}()
	const good, bad slots.Slot = "good", "bad"
	if err = h.fake(d, good, bad); err != nil {
		return err
	}
	entry := bootguard.Entry{Component: rehearsalDir, Dir: path, Current: string(bad), Good: string(good), Pending: true}
	if err = h.wayOf(entry); err != nil {
		return err
	}
	if err = h.goBack(path, string(good)); err != nil {
		return err
	}
	read, err := disk.ReadFile(h.FS, filepath.Join(d.Link(slots.Current), "payload"), int64(len(good)))
	if err == nil && string(read) != string(good) {
		err = fmt.Errorf("current shows %q, want %q", read, good)
	}
	return err
}

// fake makes a component with two slots, of which the second is activated.
func (h Host) fake(d slots.Dir, good, bad slots.Slot) error {
	if err := d.Make(); err != nil {
		return err
	}
	for _, slot := range []slots.Slot{good, bad} {
		if err := disk.MkdirAll(h.FS, d.Slot(slot), 0o700); err != nil {
			return err
		}
		if err := disk.WriteFile(h.FS, filepath.Join(d.Slot(slot), "payload"), []byte(slot), 0o600); err != nil {
			return err
		}
	}
	if err := d.Switch(good, ""); err != nil {
		return err
	}
	return d.Switch(bad, good)
}

// wayOf tells what is missing for the way back of a component. A pending one needs its link too, so that going back takes no space.
func (h Host) wayOf(e bootguard.Entry) error {
	d, err := h.component(e.Dir)
	if err != nil {
		return err
	}
	if _, err = h.FS.Lstat(d.Slots()); err != nil {
		return err
	}
	var missing error
	for _, slot := range []string{e.Good, e.Older, e.Factory} {
		if slot != "" && !d.Has(slots.Slot(slot)) {
			missing = errors.Join(missing, fmt.Errorf("slot %s is not there", slot))
		}
	}
	current, err := d.Target(slots.Current)
	if err != nil || !e.Pending || e.Good == "" || string(current) == e.Good {
		return errors.Join(missing, err)
	}
	back, err := d.Target(slots.Back)
	if err == nil && string(back) != e.Good {
		err = fmt.Errorf("the link %s leads to %s, want %s", d.Link(slots.Back), none(string(back)), e.Good)
	}
	return errors.Join(missing, err)
}
