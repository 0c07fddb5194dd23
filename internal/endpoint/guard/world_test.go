package guard_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

const (
	guardDir   = "/var/lib/firebreak-guard"
	components = "/var/lib/firebreak-agent/components"
	content    = "content"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a host whose disk is mounted somewhere.
type world struct {
	guard.Host
	t     testing.TB
	boots int
	log   *lines
	clock *clock.Fixed
}

// quick is the disk without waiting for it: these tests cut no power.
type quick struct{ disk.OS }

func (q quick) Open(path string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := q.OS.Open(path, flag, perm)
	return quickFile{f}, err
}
func (quick) SyncDir(string) error { return nil }

type quickFile struct{ disk.File }

func (quickFile) Sync() error     { return nil }
func (quickFile) Datasync() error { return nil }

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	top := t.TempDir()
	w := &world{t: t, log: &lines{}, clock: clock.At(epoch)}
	w.Host = guard.Host{
		FS: quick{}, Root: filepath.Join(top, "root"), Dir: guardDir, Run: filepath.Join(top, "run/firebreak"),
		Proc: filepath.Join(top, "proc"), Sys: filepath.Join(top, "sys"), Clock: w.clock, Log: w.log,
	}
	w.write(filepath.Join(w.Proc, "cmdline"), "root=/dev/vda quiet\n")
	w.mkdir(filepath.Join(w.Root, guardDir))
	w.mkdir(filepath.Join(top, "run"))
	w.reboot()
	return w
}

// reboot forgets what a boot forgets, and has a new one begin.
func (w *world) reboot() {
	w.t.Helper()
	w.boots++
	w.write(filepath.Join(w.Proc, "sys/kernel/random/boot_id"), fmt.Sprintf("b%d\n", w.boots))
	if err := os.RemoveAll(w.Run); err != nil {
		w.t.Fatal(err)
	}
	w.clock.Move(time.Hour)
}

// boot is one boot with both stages.
func (w *world) boot() {
	w.t.Helper()
	w.reboot()
	guard.Boot(w.t.Context(), w.Host, guard.Initramfs)
	guard.Boot(w.t.Context(), w.Host, guard.Unit)
}

// install makes a component whose slots were switched to, one after the other, and returns its entry.
func (w *world) install(name string, releases ...string) bootguard.Entry {
	w.t.Helper()
	d := w.component(name)
	if err := d.Make(); err != nil {
		w.t.Fatal(err)
	}
	e := bootguard.Entry{Component: name, Kind: "content", Dir: components + "/" + name, At: w.clock.Now(), Boot: fmt.Sprint("b", w.boots)}
	for _, slot := range releases {
		w.mkdir(d.Slot(slots.Slot(slot)))
		if err := d.Switch(slots.Slot(slot), slots.Slot(e.Current)); err != nil {
			w.t.Fatal(err)
		}
		e.Older, e.Good, e.Current = e.Good, e.Current, slot
	}
	e.Pending = true
	return e
}

func (w *world) component(name string) slots.Dir {
	return slots.Dir{FS: quick{}, Path: filepath.Join(w.Root, components, name)}
}

func (w *world) current(name string) string {
	w.t.Helper()
	slot, err := w.component(name).Target(slots.Current)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(slot)
}

func (w *world) dir() string { return filepath.Join(w.Root, guardDir) }

func (w *world) book() *guard.Book {
	w.t.Helper()
	b, err := guard.Open(quick{}, w.dir())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = b.Close() })
	return b
}

func (w *world) sync(entries ...bootguard.Entry) {
	w.t.Helper()
	if err := w.book().Sync(entries); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) state() bootguard.State {
	w.t.Helper()
	s, err := w.book().State()
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) write(path, text string) {
	w.t.Helper()
	w.mkdir(filepath.Dir(path))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) mkdir(path string) {
	w.t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		w.t.Fatal(err)
	}
}

// enumerate is disktest.Enumerate without waiting for the disk.
func enumerate(t *testing.T, f disktest.Fault, try func(t *testing.T, fsys *disktest.Faulty)) {
	t.Helper()
	for f.At = 1; ; f.At++ {
		fsys := disktest.New(quick{}, f)
		if !t.Run(f.String(), func(t *testing.T) { try(t, fsys) }) || !fsys.Struck() {
			if f.At < 3 {
				t.Errorf("%s: nothing was changed that a fault could strike", f)
			}
			return
		}
	}
}

// tree lists what is below a directory: names, where links lead, what files hold.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s", strings.TrimPrefix(path, dir), info.Mode())
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			to, err := os.Readlink(path)
			fmt.Fprintf(&b, " -> %s %v", to, err)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			fmt.Fprintf(&b, " %x %v", data, err)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
