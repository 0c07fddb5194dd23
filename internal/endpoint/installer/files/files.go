// Package files installs components that are files: kinds content, config and toggle, and the programs of kinds binary and agent.
// Where they lie, and how the switch and the way back work, is the business of package slots. A consumer that follows current finds the
// old release or the new one at any moment; one that needs several files of the same release resolves current once.
package files

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
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
	Program   bool          // an artifact that is one file is a program: it may be executed, and Check looks whether this host can
}

// Installer implements [installer.Installer]. It is safe for concurrent use within one process; the agent's lock keeps others away.
type Installer struct {
	mu sync.Mutex
	Options
	dir slots.Dir
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
	dir := slots.Dir{FS: o.FS, Path: o.Dir}
	if err := dir.Make(); err != nil {
		return nil, disk.Explain(err, "open installer of %s", o.Dir)
	}
	return &Installer{Options: o, dir: dir}, nil
}

// Current is the path under which consumers find the release in use.
func (i *Installer) Current() string { return i.dir.Link(slots.Current) }

// Path is the directory of a slot.
func (i *Installer) Path(s installer.Slot) string { return i.dir.Slot(s) }

// Stage implements [installer.Installer].
func (i *Installer) Stage(ctx context.Context, s installer.Stage) (installer.Slot, error) {
	if !release.VersionName(s.Version) || !s.Artifact.Digest.Valid() || !release.FileName(s.Artifact.Name) {
		return "", fault.New(fault.Invalid, "stage %q: version, digest or file name is not well formed", s.Version)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	slot := installer.SlotOf(s.Version, s.Artifact.Digest)
	if i.dir.Has(slot) {
		return slot, i.explain(i.FS.SyncDir(i.dir.Slots()), "stage", slot)
	}
	tmp := i.dir.Staging(slot)
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
	return slot, i.explain(i.FS.SyncDir(i.dir.Slots()), "stage", slot)
}

// Check implements [installer.Installer].
func (i *Installer) Check(ctx context.Context, s installer.Slot) error {
	if !i.dir.Has(s) {
		return missing("check", s)
	}
	if i.Program {
		if err := i.checkProgram(s); err != nil {
			return err
		}
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
func (i *Installer) Activate(ctx context.Context, s, back installer.Slot) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !i.dir.Has(s) {
		return missing("activate", s)
	}
	if back != "" && !i.dir.Has(back) {
		return missing("make the way back to", back)
	}
	was, err := i.dir.Target(slots.Current)
	if err == nil && was == s {
		err = i.FS.SyncDir(i.Dir)
	} else if err == nil {
		err = i.dir.Switch(s, back)
	}
	return i.explain(err, "activate", s)
}

// Revert implements [installer.Installer].
func (i *Installer) Revert(_ context.Context, to installer.Slot) error { // not to be interrupted
	i.mu.Lock()
	defer i.mu.Unlock()
	if to != "" && !i.dir.Has(to) {
		return missing("revert to", to)
	}
	return i.explain(i.dir.GoBack(to), "revert to", to)
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
		if err := i.dir.Remove(s); err != nil {
			return i.explain(err, "remove", s)
		}
	}
	return disk.Explain(i.dir.Sweep(), "collect slots of %s", i.Dir)
}

func (i *Installer) inspect() (installer.Inspection, error) {
	var found installer.Inspection
	var err error
	if found.Slots, err = i.dir.List(); err != nil {
		return found, err
	}
	if found.Current, err = i.dir.Target(slots.Current); err != nil {
		return found, err
	}
	for _, link := range []slots.Link{slots.Back, slots.Previous} { // .back is newer if the two differ
		s, err := i.dir.Target(link)
		if err != nil {
			return found, err
		}
		if s != found.Current && found.Current != "" && found.Previous == "" {
			found.Previous = s
		}
	}
	return found, nil
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
