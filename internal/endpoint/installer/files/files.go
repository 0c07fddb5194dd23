// Package files installs components that are files: kinds content and config.
//
//	<dir>/slots/<version>-<digest12>/   one immutable directory per staged release
//	<dir>/current                       link to the slot in use: what consumers read through
//	<dir>/previous                      link to the slot that was in use before, for people and for rescue
//	<dir>/.back                         link to it that is ready to be renamed to current
//
// Activating makes .back durable first and then renames a new link over current. Reverting renames .back over current: one step that
// needs no inode, no block and no network. A consumer that follows current finds the old release or the new one at any moment; one that
// needs several files of the same release resolves current once.
//
// On Windows the links are small text files (see package disk).
package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// Names within the component's directory.
const (
	slotsDir = "slots"
	current  = "current"
	previous = "previous"
	back     = ".back"
	staging  = ".stage-" // prefix of a slot that is being staged
	trash    = ".trash-" // prefix of a slot that is being removed
)

// DefaultValidatorTimeout is how long a validator may run.
const DefaultValidatorTimeout = time.Minute

// Options set up an installer. Fields without a remark are required.
type Options struct {
	FS        disk.FS
	Dir       string // of this component; its parent exists or can be made
	Limits    component.Limits
	Validator []string      // argv; may be empty
	Timeout   time.Duration // of the validator; 0 means the default
}

// Installer implements [installer.Installer]. It is safe for concurrent use within one process; the agent's lock keeps others away.
type Installer struct {
	mu sync.Mutex
	Options
}

var _ installer.Installer = (*Installer)(nil)

// New makes the component's directory if need be.
func New(o Options) (*Installer, error) {
	if o.FS == nil || o.Dir == "" || o.Limits.Size <= 0 || o.Limits.Files <= 0 {
		return nil, fault.New(fault.Internal, "open installer of %q: file system, directory and limits are required", o.Dir)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultValidatorTimeout
	}
	const everybodyReads = 0o755 // consumers run as other users
	if err := disk.MkdirAll(o.FS, filepath.Join(o.Dir, slotsDir), everybodyReads); err != nil {
		return nil, disk.Explain(err, "open installer of %s", o.Dir)
	}
	return &Installer{Options: o}, nil
}

// Current is the path under which consumers find the release in use.
func (i *Installer) Current() string { return i.path(current) }

// Path is the directory of a slot.
func (i *Installer) Path(s installer.Slot) string { return i.path(slotsDir, string(s)) }

func (i *Installer) path(elem ...string) string {
	return filepath.Join(append([]string{i.Dir}, elem...)...)
}

// Stage implements [installer.Installer].
func (i *Installer) Stage(ctx context.Context, s installer.Stage) (installer.Slot, error) {
	if !release.VersionName(s.Version) || !s.Artifact.Digest.Valid() || !release.FileName(s.Artifact.Name) {
		return "", fault.New(fault.Invalid, "stage %q: version, digest or file name is not well formed", s.Version)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	slot := installer.SlotOf(s.Version, s.Artifact.Digest)
	if i.has(slot) {
		return slot, i.explain(i.FS.SyncDir(i.path(slotsDir)), "stage", slot)
	}
	tmp := i.path(slotsDir, staging+string(slot))
	err := disk.RemoveAll(i.FS, tmp)
	if err == nil {
		err = i.unpack(ctx, s, tmp)
	}
	if err == nil {
		err = i.FS.Rename(tmp, i.Path(slot))
	}
	if err != nil {
		_ = disk.RemoveAll(i.FS, tmp) // best effort: the next Stage or Collect removes it
		return "", i.explain(err, "stage", slot)
	}
	return slot, i.explain(i.FS.SyncDir(i.path(slotsDir)), "stage", slot)
}

// Check implements [installer.Installer].
func (i *Installer) Check(ctx context.Context, s installer.Slot) error {
	if !i.has(s) {
		return missing("check", s)
	}
	if len(i.Validator) == 0 {
		return nil
	}
	argv := make([]string, 0, len(i.Validator))
	for _, arg := range i.Validator {
		argv = append(argv, strings.ReplaceAll(arg, component.Staged, i.Path(s)))
	}
	_, err := process.Run(ctx, process.Command{Argv: argv, Timeout: i.Timeout})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return err
	case errors.Is(err, process.ErrNotRun):
		return fault.New(fault.Unavailable, "validate %s: %w", s, err).Hint("mend the validator in the component file; without its verdict nothing is activated")
	default:
		return fault.New(fault.Invalid, "validate %s: %w", s, err)
	}
}

// Activate implements [installer.Installer].
func (i *Installer) Activate(ctx context.Context, s installer.Slot) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !i.has(s) {
		return missing("activate", s)
	}
	was, err := i.target(current)
	if err == nil && was == s {
		return i.explain(i.FS.SyncDir(i.Dir), "activate", s)
	}
	if err == nil {
		err = i.wayBack(was)
	}
	if err == nil {
		err = i.point(current, s)
	}
	if err != nil {
		return i.explain(err, "activate", s)
	}
	if was != "" {
		_ = i.point(previous, was) // for people and rescue: .back is what a revert uses
	}
	return nil
}

// Revert implements [installer.Installer].
func (i *Installer) Revert(_ context.Context, to installer.Slot) error { // not to be interrupted
	i.mu.Lock()
	defer i.mu.Unlock()
	if to != "" && !i.has(to) {
		return missing("revert to", to)
	}
	was, err := i.target(current)
	switch {
	case err != nil:
	case to == "":
		err = i.discard(current)
	case was != to:
		err = i.goBack(to)
	}
	if err == nil {
		err = i.FS.SyncDir(i.Dir)
	}
	if err != nil {
		return i.explain(err, "revert to", to)
	}
	_ = i.wayBack(to) // best effort: the link that was used up is made again for the next time
	return nil
}

// Inspect implements [installer.Installer].
func (i *Installer) Inspect(ctx context.Context) (installer.Inspection, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return installer.Inspection{}, err
	}
	found, err := i.inspect()
	return found, disk.Explain(err, "inspect %s", i.Dir)
}

// Collect implements [installer.Installer].
func (i *Installer) Collect(ctx context.Context, keep []installer.Slot) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	found, err := i.inspect()
	if err != nil {
		return disk.Explain(err, "collect slots of %s", i.Dir)
	}
	keep = append(slices.Clone(keep), found.Current, found.Previous)
	for _, s := range found.Slots {
		if slices.Contains(keep, s) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		// Renamed first, so that a slot is never seen half removed.
		if err := i.FS.Rename(i.Path(s), i.path(slotsDir, trash+string(s))); err != nil {
			return i.explain(err, "remove", s)
		}
	}
	return disk.Explain(i.sweep(), "collect slots of %s", i.Dir)
}

// sweep removes what is half staged or half removed.
func (i *Installer) sweep() error {
	entries, err := i.FS.ReadDir(i.path(slotsDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), staging) || strings.HasPrefix(e.Name(), trash) {
			err = errors.Join(err, disk.RemoveAll(i.FS, i.path(slotsDir, e.Name())))
		}
	}
	return err
}

func (i *Installer) inspect() (installer.Inspection, error) {
	var found installer.Inspection
	entries, err := i.FS.ReadDir(i.path(slotsDir))
	if err != nil {
		return found, err
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			found.Slots = append(found.Slots, installer.Slot(e.Name()))
		}
	}
	if found.Current, err = i.target(current); err != nil {
		return found, err
	}
	for _, name := range []string{back, previous} { // .back is newer if the two differ
		s, err := i.target(name)
		if err != nil {
			return found, err
		}
		if s != found.Current && found.Current != "" && found.Previous == "" {
			found.Previous = s
		}
	}
	return found, nil
}

// has tells whether a slot is staged.
func (i *Installer) has(s installer.Slot) bool {
	if !release.FileName(string(s)) {
		return false
	}
	info, err := i.FS.Lstat(i.Path(s))
	return err == nil && info.IsDir()
}

// target is the slot that a link points to; "" if there is no link or no such slot.
func (i *Installer) target(link string) (installer.Slot, error) {
	to, err := i.FS.Readlink(i.path(link))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fault.New(fault.Conflict, "read link %s: %w", i.path(link), err).Hint("move away what is there; Firebreak keeps a link there")
	}
	dir, name := path.Split(filepath.ToSlash(to))
	if s := installer.Slot(name); path.Clean(dir) == slotsDir && i.has(s) {
		return s, nil
	}
	return "", nil
}

// point makes a link to a slot, durably.
func (i *Installer) point(link string, s installer.Slot) error {
	return disk.Link(i.FS, path.Join(slotsDir, string(s)), i.path(link))
}

// wayBack makes .back lead to a slot, durably; with "" there is nothing to go back to and no link that says so.
func (i *Installer) wayBack(to installer.Slot) error {
	if to == "" {
		if err := errors.Join(i.discard(back), i.discard(previous)); err != nil {
			return err
		}
		return i.FS.SyncDir(i.Dir)
	}
	ready, err := i.target(back)
	if err != nil {
		return err
	}
	if ready != to {
		return i.point(back, to)
	}
	return i.FS.SyncDir(i.Dir) // it may be there and not yet durable
}

// goBack renames a link that is ready over current, and makes one only if none is: when that fails for want of space, what is half
// staged has to make room.
func (i *Installer) goBack(to installer.Slot) error {
	for _, link := range []string{back, previous} {
		if ready, err := i.target(link); err == nil && ready == to {
			return i.FS.Rename(i.path(link), i.path(current))
		}
	}
	err := i.point(current, to)
	if disk.Full(err) && i.sweep() == nil {
		err = i.point(current, to)
	}
	return err
}

func (i *Installer) discard(link string) error {
	if err := i.FS.Remove(i.path(link)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// explain says what was being done, and words an error of the file system.
func (i *Installer) explain(err error, doing string, s installer.Slot) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", doing, s, err)
	}
	return disk.Explain(err, "%s %s in %s", doing, s, i.Dir)
}

func missing(doing string, s installer.Slot) error {
	return fault.New(fault.NotFound, "%s %q: no such slot is staged", doing, s)
}
