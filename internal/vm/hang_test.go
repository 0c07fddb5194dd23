package vm

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// pending puts a component on the disk that is pending with such rules, as the agent's packages leave it.
func (d *debian) pending(rules string) {
	d.t.Helper()
	root := d.t.TempDir()
	seed(d.t, root)
	dir := slots.Dir{FS: disk.OS{}, Path: filepath.Join(root, component)}
	if err := os.WriteFile(filepath.Join(dir.Slot(bad), "rules"), []byte(rules+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.image.graft(filepath.Join(root, "var/lib"), "/var/lib")
}

// graft copies a tree into the image.
func (i image) graft(from, to string) {
	i.t.Helper()
	var script strings.Builder
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == from {
			return err
		}
		where := to + strings.TrimPrefix(path, from)
		switch {
		case e.IsDir():
			script.WriteString("mkdir " + where + "\n")
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			script.WriteString("symlink " + where + " " + target + "\n")
		default:
			script.WriteString("write " + path + " " + where + "\n")
		}
		return nil
	})
	if err != nil {
		i.t.Fatal(err)
	}
	commands := filepath.Join(i.t.TempDir(), "commands")
	if err := os.WriteFile(commands, []byte(script.String()), 0o600); err != nil {
		i.t.Fatal(err)
	}
	run(i.t, "debugfs", "-w", "-f", commands, i.path)
}

// A host that hangs early in its boot has nobody to panic: the deadline leaves the hang.
func TestDeadlineLeavesAHangInUserspace(t *testing.T) {
	needs(t, "full")
	d := newDebian(t, "hang", "cloud", map[string]string{
		"/etc/systemd/system/firebreak-deadline.timer.d/vm.conf": "[Timer]\nOnBootSec=\nOnBootSec=60s\n",
	})
	d.pending("hang rules")
	began := clock.Wall{}.Now()
	d.on()
	d.said("vm: loading [good rules]", someBoots)
	d.said("is blessed", someBoots)
	wall := clock.Wall{}.Now().Sub(began)
	if lives := d.past(); len(lives) != 3 {
		t.Errorf("got %d reboots out of the hang, want 3", len(lives))
	} else {
		for n, l := range lives {
			if f := l.facts; f.Boots != n+1 || f.Current != bad || !f.Pending || !l.said("vm: loading [hang rules]") {
				t.Errorf("life %d: got %+v, want a boot that hangs with the bad release", n+1, f)
			}
		}
	}
	if f := d.halt(); f.Current != good || !f.Blessed || f.Boots != 0 || len(f.Undone) != 1 {
		t.Errorf("at the end: got %+v, want the good release and a blessed boot", f)
	}
	t.Logf("3 hangs, left by the deadline of 60 s, back by the 4th boot: %s", wall.Round(time.Second))
}

// A kernel that stops, on a host that does not reboot after a panic: the watchdog resets it and leaves evidence, which makes the guard
// quicker and its verdict surer. The evidence is lost with the machine's process, so this machine lives through its resets.
func TestWatchdogLeavesAKernelThatStopped(t *testing.T) {
	needs(t, "full")
	d := newDebian(t, "freeze", "generic", nil)
	d.pending("freeze rules")
	d.args = append(d.args, "-device", "i6300esb", "-action", "watchdog=reset", "-action", "reboot=reset")
	began := clock.Wall{}.Now()
	d.on()
	d.said("vm: loading [good rules]", someBoots)
	d.said("is blessed", someBoots)
	wall := clock.Wall{}.Now().Sub(began)
	var resets, counted int
	for _, l := range d.console() {
		if strings.Contains(l, "vm: loading [freeze rules]") {
			resets++
		}
		if strings.Contains(l, "firebreak-guard: stage 1: boot ") {
			counted++
		}
	}
	if resets != 2 || counted != 3 {
		t.Errorf("got %d boots that stopped and %d counted, want 2 and 3; console:\n%s", resets, counted, last(strings.Join(d.console(), "\n"), 60))
	}
	f := d.halt()
	if f.Current != good || !f.Blessed || f.Boots != 0 {
		t.Errorf("at the end: got %+v, want the good release and a blessed boot", f)
	}
	if s := d.state(); len(s.Undone) != 1 || s.Undone[0].Verdict != bootguard.Crash {
		t.Errorf("undone: got %+v, want one with the watchdog's evidence", s.Undone)
	}
	t.Logf("2 stops, reset by the watchdog, back by the 3rd boot: %s", wall.Round(time.Second))
}
