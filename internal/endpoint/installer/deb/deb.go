// Package deb installs components that are Debian packages: kind package.
//
// An artifact is one .deb, or a tar of several that are installed together. It is all that an activation needs: no package source is
// asked then. Slots and links are those of package files; what is on the host, however, dpkg says: the release in use is the one for
// which nothing is left to do ([view.todo]), whatever the links say. So a kill at any moment leaves nothing to guess.
//
// Beside the slots lies <dir>/factory/<package>.deb: the package as it was before Firebreak changed it, of no bytes if it was not
// installed. It is made before the first activation that concerns the package, and is what the slot "" stands for: reverting to "" puts
// those back and removes what was not there.
//
// The order of an activation is: way back, room for it, dpkg, link. dpkg keeps configuration files that were changed on the host, and packages of a
// release are held, so that nothing else upgrades them. A maintainer script that fails is answered by installing the packages that were
// there before.
package deb

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/files"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// Unknown is current where the host has neither the packages of a slot nor those of before: dpkg was interrupted, or somebody mixed
// versions. Reverting or activating mends it.
const Unknown installer.Slot = "?"

// Defaults of what Options leave out.
const (
	DefaultTimeout         = 10 * time.Minute
	DefaultLockWait        = 5 * time.Minute
	DefaultDownloadTimeout = 5 * time.Minute
	DefaultReserve         = 32 << 20 // bytes
)

// Options set up an installer. Fields without a remark are required.
type Options struct {
	Files files.Options // file system, directory, limits and validator
	Clock clock.Clock

	Root            string        // directory that dpkg installs to, without changing its root for scripts; "" is the host
	Runner          []string      // argv put before commands that change the host, to run them outside of the agent's sandbox; may be empty
	Archives        string        // where apt keeps what it downloaded; "" is its usual place
	Download        []string      // argv to which name:arch=version is added, downloads into its working directory; nil is apt-get download
	Timeout         time.Duration // of one run of dpkg, maintainer scripts included; 0 means the default
	LockWait        time.Duration // how long another process may hold dpkg's lock; 0 means the default
	DownloadTimeout time.Duration // of one package of before; 0 means the default
	Reserve         int64         // bytes on top of what packages unpack to, on the way forward and on the way back; 0 means the default
	NoWayBack       bool          // allow releases for which the packages of before cannot be had
}

func (o Options) defaulted() Options {
	o.Timeout = orElse(o.Timeout, DefaultTimeout)
	o.LockWait = orElse(o.LockWait, DefaultLockWait)
	o.DownloadTimeout = orElse(o.DownloadTimeout, DefaultDownloadTimeout)
	o.Reserve = orElse(o.Reserve, DefaultReserve)
	o.Archives = orElse(o.Archives, path.Join("/", o.Root, "var/cache/apt/archives"))
	if o.Download == nil {
		o.Download = []string{"apt-get", "-qq", "download"}
	}
	return o
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Installer implements [installer.Installer]. It is safe for concurrent use within one process; the agent's lock keeps others away.
type Installer struct {
	Options
	mu    sync.Mutex
	links *files.Installer
	dir   slots.Dir
	host  system
}

var _ installer.Installer = (*Installer)(nil)

// New makes the component's directory if need be. It does not ask dpkg.
func New(o Options) (*Installer, error) {
	o = o.defaulted()
	return open(o, &dpkg{Options: o})
}

// open is New for any system of packages.
func open(o Options, host system) (*Installer, error) {
	if o.Clock == nil {
		return nil, fault.New(fault.Internal, "open installer of %q: a clock is required", o.Files.Dir)
	}
	links, err := files.New(o.Files)
	if err != nil {
		return nil, err
	}
	i := &Installer{Options: o, links: links, dir: slots.Dir{FS: o.Files.FS, Path: o.Files.Dir}, host: host}
	const everybodyReads = 0o755
	if err := disk.MkdirAll(i.dir.FS, i.factory(), everybodyReads); err != nil {
		return nil, disk.Explain(err, "open installer of %s", o.Files.Dir)
	}
	return i, nil
}

// Current is the path of the directory that holds the .debs in use.
func (i *Installer) Current() string { return i.links.Current() }

// Stage implements [installer.Installer].
func (i *Installer) Stage(ctx context.Context, s installer.Stage) (installer.Slot, error) {
	return i.links.Stage(ctx, s)
}

// Check implements [installer.Installer]. Beyond the validator it asks whether the packages fit the host and whether there is room, and
// makes sure of the way back; that may download the packages which are installed now.
func (i *Installer) Check(ctx context.Context, s installer.Slot) error {
	if err := i.checkPackages(ctx, s); err != nil {
		return fmt.Errorf("check %s: %w", s, err)
	}
	return i.links.Check(ctx, s)
}

func (i *Installer) checkPackages(ctx context.Context, s installer.Slot) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.dir.Has(s) {
		return missing(s)
	}
	parcels, err := i.contents(ctx, s)
	if err != nil {
		return err
	}
	v, err := i.look(ctx)
	if err == nil {
		err = i.twins(v, s, parcels)
	}
	if err != nil {
		return err
	}
	objections, err := i.host.object(ctx, parcels)
	if err == nil {
		err = refused(objections)
	}
	if err == nil {
		err = i.remember(ctx, v, parcels, true)
	}
	if err == nil {
		v.factory, err = i.entries(ctx)
	}
	if err == nil {
		err = i.room(v, parcels)
	}
	return err
}

func refused(objections []fault.Problem) error {
	if len(objections) == 0 {
		return nil
	}
	return &fault.Error{
		Kind: fault.Conflict, Message: "the packages do not fit this host", Problems: objections,
		Next: "install what is missing first, in a release of its own or in this one",
	}
}

// room checks that the packages can be unpacked beside what they replace, and that room for the way back can be set aside.
func (i *Installer) room(v view, parcels []parcel) error {
	back := v.wayBackSize(v.current(), parcels) + i.Reserve
	if err := fits(back); err != nil {
		return err
	}
	root := orElse(i.Root, "/")
	free, err := i.dir.FS.Free(root)
	if err != nil {
		return disk.Explain(err, "look for room in %s", root)
	}
	need := max(0, back-i.ballasted()) + i.Reserve
	for _, p := range parcels {
		need += p.size
	}
	if free < need {
		return fault.New(fault.Unavailable, "look for room in %s: %d bytes are free, the packages and the way back need %d", root, free, need).
			Hint("free some space on the file system of %s", root)
	}
	return nil
}

// Activate implements [installer.Installer]. fault.Invalid says that the packages did not install and that those of before are back; see
// Inspect. Once dpkg runs it is not interrupted when ctx ends.
func (i *Installer) Activate(ctx context.Context, s, back installer.Slot) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, needed := range []installer.Slot{s, back} {
		if needed == s && s == "" || needed != "" && !i.dir.Has(needed) {
			return fmt.Errorf("activate: %w", missing(needed))
		}
	}
	if err := i.activate(ctx, s, back); err != nil {
		return fmt.Errorf("activate %s: %w", s, err)
	}
	return i.links.Activate(context.WithoutCancel(ctx), s, back)
}

func (i *Installer) activate(ctx context.Context, s, back installer.Slot) error {
	parcels, err := i.contents(ctx, s)
	if err != nil {
		return err
	}
	v, err := i.look(ctx)
	if err != nil {
		return err
	}
	was := v.current()
	if was != s {
		if err = i.remember(ctx, v, parcels, false); err != nil {
			return err
		}
		if v.factory, err = i.entries(ctx); err != nil {
			return err
		}
	}
	if err = i.setAside(ctx, max(v.wayBackSize(back, parcels), v.wayBackSize(was, parcels))+i.Reserve); err != nil && was != s {
		return err
	}
	if err = i.wayBack(back); err != nil {
		return disk.Explain(err, "make the way back in %s", i.dir.Path)
	}
	if err = i.move(ctx, s, false); err == nil || errors.Is(err, errLocked) {
		return err
	}
	if was == Unknown || was == s {
		was = back
	}
	return i.undo(ctx, was, err)
}

// undo goes back from an activation that failed and says what became of it.
func (i *Installer) undo(ctx context.Context, was installer.Slot, why error) error {
	where := "the packages of before are installed"
	if err := i.move(context.WithoutCancel(ctx), was, true); err != nil {
		where = fmt.Sprintf("and going back failed too: %v", err)
	}
	kind := fault.KindOf(why)
	return fault.New(kind, "%w; %s", why, where).Hint("%s", orElse(fault.NextOf(why), "read dpkg's log on the host, and mend the package"))
}

// wayBack makes .back lead to a slot before dpkg runs, so that people and the next start see that a change was under way.
func (i *Installer) wayBack(to installer.Slot) error {
	if to == "" {
		return nil
	}
	if ready, err := i.dir.Target(slots.Back); err != nil || ready == to {
		return err
	}
	return disk.Link(i.dir.FS, path.Join("slots", string(to)), i.dir.Link(slots.Back))
}

// Revert implements [installer.Installer]. It needs no network, and no room but what was set aside. Scripts of the packages that it leaves
// behind cannot stand in its way.
func (i *Installer) Revert(ctx context.Context, to installer.Slot) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if to != "" && !i.dir.Has(to) {
		return fmt.Errorf("revert: %w", missing(to))
	}
	if err := i.move(ctx, to, true); err != nil {
		return fmt.Errorf("revert to %q: %w", to, err)
	}
	return i.links.Revert(ctx, to)
}

// move brings the host's packages to what a slot says, unless they are there. On the way back, which insists, it uses what was set aside.
func (i *Installer) move(ctx context.Context, to installer.Slot, insist bool) error {
	v, err := i.look(ctx)
	if err != nil {
		return err
	}
	c := v.todo(to)
	c.insist = insist
	if c.empty() && len(c.hold) == 0 {
		return nil
	}
	if insist {
		c.room = i.Settle
	}
	if err = i.host.change(ctx, c); err != nil {
		return err
	}
	if v, err = i.look(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if left := v.todo(to); !left.empty() {
		return fault.New(fault.Invalid, "dpkg says that it is done, but %s is left to do", left)
	}
	return nil
}

// Inspect implements [installer.Installer].
func (i *Installer) Inspect(ctx context.Context) (installer.Inspection, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	found, err := i.inspect(ctx)
	if err != nil {
		return found, fmt.Errorf("inspect %s: %w", i.dir.Path, err)
	}
	return found, nil
}

func (i *Installer) inspect(ctx context.Context) (installer.Inspection, error) {
	var found installer.Inspection
	if err := ctx.Err(); err != nil {
		return found, err
	}
	v, err := i.look(ctx)
	if err != nil {
		return found, err
	}
	found.Current = v.current()
	for _, s := range v.slots {
		found.Slots = append(found.Slots, s.name)
	}
	for _, link := range []slots.Link{slots.Back, slots.Previous} {
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

// Collect implements [installer.Installer]. The packages of before Firebreak are kept for ever.
func (i *Installer) Collect(ctx context.Context, keep []installer.Slot) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	found, err := i.inspect(ctx)
	if err != nil {
		return fmt.Errorf("collect slots of %s: %w", i.dir.Path, err)
	}
	keep = append(slices.Clone(keep), found.Current, found.Previous)
	if found.Current == Unknown {
		keep = found.Slots
	}
	if err := i.sweep(); err != nil {
		return disk.Explain(err, "collect slots of %s", i.dir.Path)
	}
	return i.links.Collect(ctx, keep)
}

func missing(s installer.Slot) error { return fault.New(fault.NotFound, "slot %q is not staged", s) }
