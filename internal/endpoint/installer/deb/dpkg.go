package deb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// dpkg is the [system] of Debian and its relatives.
type dpkg struct {
	Options
	known sync.Map // of parcel by seen: a slot's files do not change, and asking dpkg-deb takes a process
}

// seen is a file as it was when it was read.
type seen struct {
	path     string
	size     int64
	modified int64
}

var _ system = (*dpkg)(nil)

// quick bounds commands that only read.
const quick = time.Minute

// environment keeps dpkg and what it runs from asking anybody, and says that we hold the lock.
func environment() []string {
	return []string{"env", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true", "NEEDRESTART_MODE=l", "DPKG_FRONTEND_LOCKED=1"}
}

func (d *dpkg) ask(ctx context.Context, argv ...string) (string, error) {
	return process.Run(ctx, process.Command{Argv: append([]string{"env", "LC_ALL=C"}, argv...), Timeout: quick})
}

// admin is where dpkg keeps its database.
func (d *dpkg) admin(below ...string) string {
	return filepath.Join(append([]string{"/", d.Root, "var/lib/dpkg"}, below...)...)
}

// command is dpkg with the options that every run has. Configuration files that were changed on the host stay; new ones are taken.
func (d *dpkg) command() []string {
	argv := []string{"dpkg", "--force-confdef", "--force-confold", "--force-downgrade"}
	if d.Root != "" {
		argv = append(argv, "--root="+d.Root, "--force-script-chrootless", "--log=/dev/null")
	}
	return argv
}

// read implements [system].
func (d *dpkg) read(ctx context.Context, path string) (parcel, error) {
	info, err := d.Files.FS.Lstat(path)
	if err != nil {
		return parcel{}, disk.Explain(err, "read package %s", path)
	}
	if !info.Mode().IsRegular() {
		return parcel{}, fault.New(fault.Invalid, "read package %s: is no file", path)
	}
	key := seen{path, info.Size(), info.ModTime().UnixNano()}
	if p, ok := d.known.Load(key); ok {
		return p.(parcel), nil
	}
	p, err := d.fields(ctx, path)
	if err == nil {
		p.size = max(p.size, info.Size())
		d.known.Store(key, p)
	}
	return p, err
}

// fields asks dpkg-deb what a file says of itself.
func (d *dpkg) fields(ctx context.Context, path string) (parcel, error) {
	out, err := d.ask(ctx, "dpkg-deb", "--field", path, "Package", "Version", "Architecture", "Installed-Size")
	switch {
	case ctx.Err() != nil:
		return parcel{}, err
	case fault.KindOf(err) == fault.Unavailable:
		return parcel{}, fault.New(fault.Unavailable, "read package %s: %w", path, err).Hint("kind package needs dpkg on the host")
	case err != nil:
		return parcel{}, fault.New(fault.Invalid, "read package %s: %w", path, err)
	}
	p := parcel{path: path}
	for line := range strings.SplitSeq(out, "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "Package":
			p.name = value
		case "Version":
			p.version = value
		case "Architecture":
			p.arch = value
		case "Installed-Size":
			kib, _ := strconv.ParseInt(value, 10, 32) // one that is no number counts as none
			p.size = kib << 10
		}
	}
	if !packageName(p.name) || p.version == "" || p.arch == "" {
		return parcel{}, fault.New(fault.Invalid, "read package %s: has no name, version or architecture", path)
	}
	return p, nil
}

// packageName tells whether s is the name of a package. It becomes part of paths and commands.
func packageName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == "" && strings.Trim(s[:1], "+-.") != ""
}

// query implements [system].
func (d *dpkg) query(ctx context.Context, name string) (status, error) {
	const format = `${db:Status-Want}|${db:Status-Status}|${Version}|${Architecture}\n`
	found := status{name: name}
	out, err := d.ask(ctx, "dpkg-query", "--admindir="+d.admin(), "--show", "--showformat="+format, name)
	if err != nil && strings.Contains(err.Error(), "no packages found") {
		return found, nil
	}
	if err != nil {
		return found, fault.New(fault.Unavailable, "look for package %s: %w", name, err).Hint("kind package needs dpkg on the host, and its database")
	}
	for line := range strings.Lines(out) {
		field := strings.Split(strings.TrimSpace(line), "|")
		if len(field) != 4 || slices.Contains([]string{"not-installed", "config-files"}, field[1]) {
			continue
		}
		found.present = true
		found.held = field[0] == "hold"
		found.whole = slices.Contains([]string{"installed", "triggers-awaited", "triggers-pending"}, field[1])
		found.version, found.arch = field[2], field[3]
		break
	}
	return found, nil
}

// change implements [system].
func (d *dpkg) change(ctx context.Context, c change) (err error) {
	release, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	ctx = context.WithoutCancel(ctx) // what is half installed is worse than a late end
	if c.room != nil {
		defer func(kept error) {
			if err != nil { // otherwise it did without
				err = errors.Join(err, kept)
			}
		}(c.room())
	}
	if len(c.install) > 0 {
		argv := []string{"--install"}
		names := make([]string, 0, len(c.install))
		for _, p := range c.install {
			argv, names = append(argv, p.path), append(names, p.name)
		}
		if err := d.try(ctx, c.insist, names, argv...); err != nil {
			return err
		}
	}
	if len(c.remove) > 0 {
		if err := d.try(ctx, c.insist, c.remove, append([]string{"--force-remove-reinstreq", "--remove"}, c.remove...)...); err != nil {
			return err
		}
	}
	return d.hold(ctx, c.hold)
}

// try runs dpkg. If it insists it finishes what an interrupted run left, and then takes the scripts away that run before a package goes:
// those of a harmful release must not keep it on the host. It does not finish that first: it would run the scripts of what is to go.
func (d *dpkg) try(ctx context.Context, insist bool, names []string, args ...string) error {
	err := d.run(ctx, args...)
	if err == nil || !insist || errors.Is(err, errLocked) { // a run that outlived the agent which began it is waited for
		return err
	}
	_ = d.run(ctx, "--configure", "--pending") // best effort: what it cannot configure is about to be replaced
	if err = d.run(ctx, args...); err == nil {
		return nil
	}
	for _, name := range names {
		for _, script := range []string{"prerm", "postrm"} {
			found, _ := filepath.Glob(d.admin("info", name+"."+script)) // the pattern is fine: a name has no special characters
			more, _ := filepath.Glob(d.admin("info", name+":*."+script))
			for _, path := range slices.Concat(found, more) {
				err = errors.Join(err, d.Files.FS.Remove(path))
			}
		}
	}
	if again := d.run(ctx, args...); again != nil {
		return errors.Join(err, again)
	}
	return nil
}

// run runs dpkg once and tells a failure of the packages from one of the host.
func (d *dpkg) run(ctx context.Context, args ...string) error {
	argv := slices.Concat(d.Runner, environment(), d.command(), args)
	_, err := process.Run(ctx, process.Command{Argv: argv, Timeout: d.Timeout})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, process.ErrNotRun):
		return fault.New(fault.Unavailable, "run dpkg: %w", err).Hint("kind package needs dpkg on the host")
	case contains(err, "No space left on device", "Disk quota exceeded"):
		return fault.New(fault.Unavailable, "run dpkg: %w", err).Hint("free some space on the host")
	case contains(err, "Read-only file system", "Permission denied", "requires superuser privilege"):
		return fault.New(fault.Unavailable, "run dpkg: %w", err).Hint("let the agent change the host's files, or set a runner that may")
	case contains(err, "locked by another process"):
		return fault.New(fault.Unavailable, "run dpkg: %w", fmt.Errorf("%w: %w", errLocked, err))
	default:
		return fault.New(fault.Invalid, "run dpkg: %w", err)
	}
}

func contains(err error, words ...string) bool {
	return slices.ContainsFunc(words, func(s string) bool { return strings.Contains(err.Error(), s) })
}

// hold keeps others from changing packages. dpkg forgets a hold when it installs, so that nothing needs to be taken off before.
func (d *dpkg) hold(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	const script = `for name in $HOLD; do echo "$name hold"; done | "$@" --set-selections`
	argv := slices.Concat(d.Runner, environment(), []string{"HOLD=" + strings.Join(names, " "), "sh", "-c", script, "sh"}, d.command())
	if _, err := process.Run(ctx, process.Command{Argv: argv, Timeout: quick}); err != nil {
		return fault.New(fault.Unavailable, "hold %s: %w", strings.Join(names, ", "), err)
	}
	return nil
}

// obtain implements [system].
func (d *dpkg) obtain(ctx context.Context, s status, dir string, online bool) (string, error) {
	file := fmt.Sprintf("%s_%s_%s.deb", s.name, escape(s.version), s.arch)
	path := filepath.Join(d.Archives, file)
	if _, err := d.Files.FS.Lstat(path); err == nil {
		return path, nil
	}
	wanted := fmt.Sprintf("%s:%s=%s", s.name, s.arch, s.version)
	if s.arch == "all" {
		wanted = fmt.Sprintf("%s=%s", s.name, s.version)
	}
	switch {
	case len(d.Download) == 0:
		return "", fault.New(fault.NotFound, "%s is not in %s", file, d.Archives)
	case !online:
		return "", fault.New(fault.NotFound, "%s is not in %s, and activating downloads nothing", file, d.Archives)
	}
	argv := slices.Concat([]string{"env", "-C", dir, "LC_ALL=C"}, d.Download, []string{wanted})
	if _, err := process.Run(ctx, process.Command{Argv: argv, Timeout: d.DownloadTimeout}); err != nil {
		return "", fault.New(fault.NotFound, "%s is not in %s, and cannot be downloaded: %w", file, d.Archives, err)
	}
	entries, err := d.Files.FS.ReadDir(dir)
	if err != nil {
		return "", disk.Explain(err, "look at what was downloaded to %s", dir)
	}
	if len(entries) != 1 {
		return "", fault.New(fault.NotFound, "the download of %s left %d files and not 1", wanted, len(entries))
	}
	return filepath.Join(dir, entries[0].Name()), nil
}
