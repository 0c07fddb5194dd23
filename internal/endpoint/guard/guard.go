// Package guard is the boot guard: the disk, the kernel and the units of a host round the decisions of [bootguard].
//
// [Book] is its memory, shared with the agent, which says before every switch what there is to go back to. [Boot] counts a boot and goes
// back if it is time: it reads links and one small file, starts no process, uses no network, parses no content, gives up after 8 seconds
// and never fails. [Bless] ends a boot well, [Deadline] leaves a hang, [Rehearse] proves on a live host that the way back works, and
// [Rescue] takes it on the disk of a dead one. All of them go back by the same code on the same links (package slots).
package guard

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// Files in the guard's directory.
const (
	stateFile    = "state"
	damagedFile  = "state.damaged" // what lay in the place of the state and is none
	lockFile     = "lock"
	disabledFile = "disabled"
	rehearsalDir = "rehearsal"
	reportFile   = "rescue.txt"
)

// Files in the directory that a boot empties.
const (
	blessedFile  = "blessed"
	unwellFile   = "unwell" // the boot got as far as being judged, and is not good
	safeModeFile = "safe-mode"
	earlyFile    = "guard-early" // id of the boot that the first stage saw; package posture reads both
	lateFile     = "guard"       // and of the one that the second saw
)

// Disable is the word on the kernel's command line that keeps the guard from doing anything.
const Disable = "firebreak.disable"

// Host is where the guard finds things. Root is where the host's root file system is mounted, "" on a running host; Dir is a path below
// it, and so are those of components. Run, Proc and Sys are those of the running kernel.
type Host struct {
	FS    disk.FS
	Root  string
	Dir   string // the guard's directory
	Run   string // for what is forgotten with the boot
	Proc  string
	Sys   string
	Clock clock.Clock
	Log   io.Writer // one line a write, with the kernel's mark of urgency before it
	// Mounts lets the first stage write to a root that is mounted read-only; nil leaves mounts alone.
	Mounts Mounts
	// Command runs one of the host's commands and returns the end of its output. A boot stage runs none.
	Command func(ctx context.Context, argv ...string) (string, error)
	Limit   time.Duration // after which a boot stage gives up; 0 means 8 seconds
}

func (h Host) say(format string, args ...any)   { h.line(6, format, args...) }
func (h Host) alarm(format string, args ...any) { h.line(3, "ALARM: "+format, args...) }

// line writes one line to the log. What cannot be said is not worth stopping for.
func (h Host) line(urgency int, format string, args ...any) {
	if h.Log == nil {
		return
	}
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	_, _ = io.WriteString(h.Log, "<"+strconv.Itoa(urgency)+">firebreak-guard: "+text+"\n")
}

// at is where a path of the host lies now. Links on the way lead to where they do on the host, so none leads out of its root.
func (h Host) at(path string) (string, error) {
	if h.Root == "" || h.Root == "/" {
		return filepath.Clean(path), nil
	}
	return within(h.FS, filepath.Clean(h.Root), path)
}

func within(fsys disk.Reader, root, path string) (string, error) {
	const most = 40 // links on the way, as in the kernel
	split := func(path string) []string { return strings.Split(filepath.ToSlash(path), "/") }
	at, rest := root, split(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if at != root {
				at = filepath.Dir(at)
			}
			continue
		}
		target, err := fsys.Readlink(filepath.Join(at, name))
		if err != nil { // no link, or nothing at all
			at = filepath.Join(at, name)
			continue
		}
		if links++; links > most {
			return "", fmt.Errorf("find %s below %s: too many links", path, root)
		}
		if strings.HasPrefix(target, "/") {
			at = root
		}
		rest = append(split(target), rest...)
	}
	return at, nil
}

// component is the directory of a component.
func (h Host) component(dir string) (slots.Dir, error) {
	at, err := h.at(dir)
	return slots.Dir{FS: h.FS, Path: at}, err
}

// shows tells which slot each component's current leads to, as far as it can be told.
func (h Host) shows(entries []bootguard.Entry) map[string]string {
	shows := map[string]string{}
	for _, e := range entries {
		if e.Dir == "" {
			continue
		}
		if d, err := h.component(e.Dir); err == nil {
			if slot, err := d.Target(slots.Current); err == nil {
				shows[e.Component] = string(slot)
			}
		}
	}
	return shows
}

// goBack is the way back of one component. An error is fs.ErrNotExist if there is nothing to go back to.
func (h Host) goBack(dir, to string) error {
	d, err := h.component(dir)
	if err != nil {
		return err
	}
	if _, err := h.FS.Lstat(d.Slots()); err != nil {
		return err
	}
	if to != "" && !d.Has(slots.Slot(to)) {
		return fmt.Errorf("find slot %s in %s: %w", to, d.Slots(), fs.ErrNotExist)
	}
	return d.GoBack(slots.Slot(to))
}

// disabled tells what keeps the guard from doing anything; "" if nothing does.
func (h Host) disabled() string {
	line, _ := h.small(filepath.Join(h.Proc, "cmdline"))
	for word := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(word, "=")
		if key == Disable && value != "0" && value != "no" && value != "false" {
			return "by " + Disable + " on the kernel's command line"
		}
	}
	dir, err := h.at(h.Dir)
	if err != nil {
		return ""
	}
	if _, err := h.FS.Lstat(filepath.Join(dir, disabledFile)); err == nil {
		return "by the file " + filepath.Join(h.Dir, disabledFile)
	}
	return ""
}

// BootID is the id of the running boot, or "".
func (h Host) BootID() string {
	id, _ := h.small(filepath.Join(h.Proc, "sys/kernel/random/boot_id"))
	return id
}

// small reads a file of the kernel.
func (h Host) small(path string) (string, error) {
	const most = 64 << 10
	data, err := disk.ReadFile(h.FS, path, most)
	return strings.TrimSpace(string(data)), err
}

// mark leaves a file for as long as the boot lasts.
func (h Host) mark(name, text string) error {
	const everybodyReads = 0o755
	if err := disk.MkdirAll(h.FS, h.Run, everybodyReads); err != nil {
		return err
	}
	return disk.WriteFile(h.FS, filepath.Join(h.Run, name), []byte(text), 0o644)
}

func (h Host) marked(name string) bool {
	_, err := h.FS.Lstat(filepath.Join(h.Run, name))
	return err == nil
}
