// Package exec installs components of kinds that Firebreak does not know, by a program of the host: kind exec.
//
// The component file names the program. It is run once for each call, in a process group of its own, gets one request as JSON on its
// standard input and answers with one reply as JSON on its standard output; docs/installers.md has the protocol. What must not be left
// to a stranger is done here: the artifact is verified before the program sees it, slots are named, and what it answers is checked.
package exec

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// Protocol is the version of requests and replies.
const Protocol = 1

// Defaults and bounds.
const (
	DefaultTimeout = 10 * time.Minute
	MaxReply       = 1 << 20 // bytes
	MaxSlots       = 10_000  // in one reply
)

// Options set up an installer. Fields without a remark are required.
type Options struct {
	FS        disk.FS
	Component string
	Dir       string // of this component; made if need be, and the program's working directory
	Argv      []string
	Timeout   time.Duration // of one call; 0 means the default
}

// Installer implements [installer.Installer]. It is safe for concurrent use within one process; the agent's lock keeps others away.
type Installer struct {
	mu sync.Mutex
	Options
}

var _ installer.Installer = (*Installer)(nil)

// New makes the component's directory if need be. It does not run the program.
func New(o Options) (*Installer, error) {
	if o.FS == nil || o.Component == "" || o.Dir == "" || len(o.Argv) == 0 {
		return nil, fault.New(fault.Internal, "open installer of %q: file system, component, directory and program are required", o.Dir)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	const everybodyReads = 0o755 // consumers run as other users
	if err := disk.MkdirAll(o.FS, o.Dir, everybodyReads); err != nil {
		return nil, disk.Explain(err, "open installer of %s", o.Dir)
	}
	return &Installer{Options: o}, nil
}

// Stage implements [installer.Installer]. The program sees only artifacts that are as signed.
func (i *Installer) Stage(ctx context.Context, s installer.Stage) (installer.Slot, error) {
	if !release.VersionName(s.Version) || !s.Artifact.Digest.Valid() || !release.FileName(s.Artifact.Name) {
		return "", fault.New(fault.Invalid, "stage %q: version, digest or file name is not well formed", s.Version)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	slot := installer.SlotOf(s.Version, s.Artifact.Digest)
	if err := i.verify(ctx, s); err != nil {
		return "", fmt.Errorf("stage %s: %w", slot, err)
	}
	_, err := i.call(ctx, request{Method: "stage", Slot: slot, Version: s.Version, Artifact: &artifact{
		Path: s.Path, Format: s.Artifact.Format, Name: s.Artifact.Name, Digest: s.Artifact.Digest, Size: s.Artifact.Size,
	}})
	if err != nil {
		return "", err
	}
	return slot, nil
}

// verify compares size and digest with what was signed.
func (i *Installer) verify(ctx context.Context, s installer.Stage) (err error) {
	f, err := i.FS.Open(s.Path, os.O_RDONLY, 0)
	if err != nil {
		return disk.Explain(err, "verify")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	n, err := io.Copy(h, reader{ctx, io.LimitReader(f, s.Artifact.Size+1)})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return disk.Explain(err, "verify")
	case n != s.Artifact.Size:
		return fault.New(fault.Denied, "verify: is not %d bytes long as signed", s.Artifact.Size)
	}
	if got := release.DigestFrom([sha256.Size]byte(h.Sum(nil))); got != s.Artifact.Digest {
		return fault.New(fault.Denied, "verify: has digest %s, signed is %s", got, s.Artifact.Digest)
	}
	return nil
}

// reader ends with its context.
type reader struct {
	ctx  context.Context //nolint:containedctx // lives for one call of verify
	from io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

// Check implements [installer.Installer].
func (i *Installer) Check(ctx context.Context, s installer.Slot) error {
	return i.of(ctx, request{Method: "check", Slot: s})
}

// Activate implements [installer.Installer]. Once the program runs it is not interrupted when ctx ends.
func (i *Installer) Activate(ctx context.Context, s, back installer.Slot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if back != "" && !release.FileName(string(back)) {
		return fault.New(fault.NotFound, "activate %s: no slot %q is staged", s, back)
	}
	return i.of(context.WithoutCancel(ctx), request{Method: "activate", Slot: s, Back: back})
}

// Revert implements [installer.Installer]. Once the program runs it is not interrupted when ctx ends.
func (i *Installer) Revert(ctx context.Context, to installer.Slot) error {
	if to == "" {
		i.mu.Lock()
		defer i.mu.Unlock()
		_, err := i.call(context.WithoutCancel(ctx), request{Method: "revert"})
		return err
	}
	return i.of(context.WithoutCancel(ctx), request{Method: "revert", Slot: to})
}

// of calls a method of one slot.
func (i *Installer) of(ctx context.Context, r request) error {
	if !release.FileName(string(r.Slot)) {
		return fault.New(fault.NotFound, "%s: no slot %q is staged", r.Method, r.Slot)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	_, err := i.call(ctx, r)
	return err
}

// Inspect implements [installer.Installer].
func (i *Installer) Inspect(ctx context.Context) (installer.Inspection, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	found, err := i.call(ctx, request{Method: "inspect"})
	if err != nil {
		return installer.Inspection{}, err
	}
	for _, s := range slices.Concat(found.Slots, []installer.Slot{found.Current, found.Previous}) {
		if s != "" && !release.FileName(string(s)) || len(found.Slots) > MaxSlots {
			return installer.Inspection{}, i.nonsense("inspect", "names %d slots, and %q among them", len(found.Slots), s)
		}
	}
	slices.Sort(found.Slots)
	return installer.Inspection{Current: found.Current, Previous: found.Previous, Slots: slices.Compact(found.Slots)}, nil
}

// Collect implements [installer.Installer].
func (i *Installer) Collect(ctx context.Context, keep []installer.Slot) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, err := i.call(ctx, request{Method: "collect", Keep: keep})
	return err
}
