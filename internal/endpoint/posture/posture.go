// Package posture looks at what this host could survive alone: whether a kernel that panics or hangs boots again, whether the boot guard
// sees each boot, whether there is something to go back to and room to start it. It only reads files, and what cannot be read is missing.
package posture

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// Options are where to look.
type Options struct {
	FS    disk.FS
	Root  string // of the host; empty: /
	State string // directory of the agent's state, below the root
	Guard string // directory of the guard, below the root
	Room  int64  // bytes that must be free where the state is; 0: 32 MiB
}

// defaultRoom is for journals, the reports of what happened, and whatever a consumer writes before it is up.
const defaultRoom = 32 << 20

// small bounds what is read of a file.
const small = 64 << 10

// Look looks at the host. It takes a few dozen small reads, and no longer than the disk takes for them.
func Look(o Options) api.Posture {
	h := host{Options: o, kernel: strings.Fields(o.text("/proc/cmdline"))}
	var p fleet.Posture
	for _, finding := range []struct {
		has  bool
		word fleet.Posture
	}{
		{h.panics(o.text("/proc/sys/kernel/panic")), fleet.PanicReboot},
		{h.panics(h.parameter("panic")), fleet.PanicEarly},
		{h.enabled(), fleet.GuardEnabled},
		{h.enabled() && h.guarded(late), fleet.Guard},
		{h.enabled() && h.guarded(early), fleet.GuardEarly},
		{h.timed(), fleet.Deadline},
		{h.good(), fleet.Good},
		{h.room(), fleet.Space},
		{h.launched(), fleet.Launcher},
	} {
		if finding.has {
			p |= finding.word
		}
	}
	p |= h.watchdog()
	return api.Posture{Have: p.Have(), Missing: p.Missing()}
}

// text is a small file without the space around it; empty if it cannot be read.
func (o Options) text(path string) string {
	data, err := disk.ReadFile(o.FS, o.path(path), small)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func (o Options) path(path string) string { return filepath.Join(o.Root, path) }

func (o Options) exists(path string) bool {
	_, err := o.FS.Lstat(o.path(path))
	return err == nil
}

// names lists a directory; nothing if it cannot be read.
func (o Options) names(path string) []string {
	entries, err := o.FS.ReadDir(o.path(path))
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// host is one look.
type host struct {
	Options
	kernel []string // words of its command line
}

// parameter is the value of a parameter of the kernel; the last one counts.
func (h host) parameter(name string) string {
	var value string
	for _, word := range h.kernel {
		if v, ok := strings.CutPrefix(word, name+"="); ok {
			value = v
		}
	}
	return value
}

// panics tells whether a timeout of a panic ends it: after so many seconds, or at once if it is negative. 0 waits for ever.
func (host) panics(timeout string) bool {
	n, err := strconv.Atoi(timeout)
	return err == nil && n != 0
}

// enabled tells whether there is a guard that nobody has switched off.
func (h host) enabled() bool {
	for _, word := range h.kernel {
		name, value, _ := strings.Cut(word, "=")
		if name == "firebreak.disable" && value != "0" && value != "no" && value != "false" {
			return false
		}
	}
	return h.exists(h.Guard) && !h.exists(filepath.Join(h.Guard, "disabled"))
}

// Marks that the stages of the guard leave; each holds the id of the boot that it saw.
const (
	early = "/run/firebreak/guard-early"
	late  = "/run/firebreak/guard"
)

// guarded tells whether a stage of the guard saw this boot.
func (h host) guarded(mark string) bool {
	boot := h.text("/proc/sys/kernel/random/boot_id")
	return boot != "" && h.text(mark) == boot
}

// timed tells whether systemd starts the timer of the boot deadline.
func (h host) timed() bool {
	const timer = "firebreak-deadline.timer"
	if to, err := h.FS.Readlink(h.path("/etc/systemd/system/" + timer)); err == nil && to == "/dev/null" {
		return false
	}
	for _, dir := range []string{"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		for _, name := range h.names(dir) {
			if strings.HasSuffix(name, ".wants") && h.exists(filepath.Join(dir, name, timer)) {
				return true
			}
		}
	}
	return false
}

// good tells whether what each component goes back to is there: the release that runs, if the next one fails, and the one before, while one
// proves. A component that never had any has nothing to lose.
func (h host) good() bool {
	dir := filepath.Join(h.State, "components")
	if !h.exists(h.State) {
		return false
	}
	for _, name := range h.names(dir) {
		component := slots.Dir{FS: h.FS, Path: h.path(filepath.Join(dir, name))}
		if !leads(component, slots.Current) || !leads(component, slots.Back) {
			return false
		}
	}
	return true
}

// leads tells whether a link leads to a slot that is there, or is not there itself.
func leads(d slots.Dir, l slots.Link) bool {
	if _, err := d.FS.Lstat(d.Link(l)); err != nil {
		return true
	}
	slot, err := d.Target(l)
	return err == nil && slot != ""
}

func (h host) room() bool {
	want := h.Room
	if want == 0 {
		want = defaultRoom
	}
	free, err := h.FS.Free(h.path(h.State))
	return err == nil && free >= want
}

// launched tells whether this process is a child of the launcher.
func (h host) launched() bool {
	for line := range strings.Lines(h.text("/proc/self/status")) {
		if parent, ok := strings.CutPrefix(line, "PPid:"); ok {
			return h.text("/proc/"+strings.TrimSpace(parent)+"/comm") == "firebreak-guard" // as long as a name may be there
		}
	}
	return false
}
