package vm

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

const (
	good  = slots.Slot("1.0.0-aaaaaaaaaaaa")
	bad   = slots.Slot("2.0.0-bbbbbbbbbbbb")
	limit = 40 * time.Second // of processor time, for the whole way from the first panic to the blessing

	guardDir  = "/var/lib/firebreak-guard"
	component = "/var/lib/firebreak-agent/components/sensor-content"
	quiet     = "console=ttyS0 quiet panic=-1 no_timer_check " // on a busy machine the check of an emulated timer may fail
)

// tiny is a machine with a kernel, a disk and the boot guard.
type tiny struct {
	machine

	image image
}

// newTiny makes a machine whose agent has just activated bad content: the guard knows, through its own Book, and the links show it.
func newTiny(t *testing.T, change func(root string)) *tiny {
	t.Helper()
	root := t.TempDir()
	program := build(t, "cmd/firebreak-guard")
	seed(t, root)
	install(t, program, filepath.Join(root, "usr/lib/firebreak/firebreak-guard"))
	if change != nil {
		change(root)
	}
	k := kernelOf(t, "cloud-amd64")
	i := format(t, root, "24M")
	ird := initrd(t, k, build(t, "internal/vm/init"), []string{"virtio_pci", "virtio_blk"}, map[string]string{"firebreak-guard": program})
	return &tiny{machine{t: t, name: t.Name(), kernel: k.image, initrd: ird, disk: i.path, memory: "256", limit: bootLimit}, i}
}

func seed(t *testing.T, root string) {
	t.Helper()
	for _, dir := range []string{"dev", "proc", "sys", "run", "usr/lib/firebreak"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := slots.Dir{FS: disk.OS{}, Path: filepath.Join(root, component)}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	for slot, rules := range map[slots.Slot]string{good: "good rules\n", bad: "bad rules\n"} {
		if err := os.Mkdir(d.Slot(slot), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.Slot(slot), "rules"), []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := book(t, filepath.Join(root, guardDir))
	err := b.Sync([]bootguard.Entry{{
		Component: "sensor-content", Kind: "content", Dir: component, Current: string(bad), Good: string(good), Pending: true,
		At: clock.Wall{}.Now().UTC(), Boot: "the-one-before",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ to, back slots.Slot }{{good, ""}, {bad, good}} {
		if err := d.Switch(step.to, step.back); err != nil {
			t.Fatal(err)
		}
	}
}

func install(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func book(t *testing.T, dir string) *guard.Book {
	t.Helper()
	b, err := guard.Open(disk.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// facts are what a boot is judged by, read from the disk while the machine is off.
type facts struct {
	Boots   int
	Current slots.Slot
	Pending bool
	Blessed bool
	Undone  []string // "component from -> to, level, verdict"
}

// look reads the disk. The journal of the file system may hold the newest of it, so it is replayed first, as the next boot would.
func (m *tiny) look() facts {
	m.t.Helper()
	m.image.check()
	s := m.state()
	f := facts{Boots: s.Boots, Current: m.slot(slots.Current), Pending: len(s.Pending()) > 0, Blessed: s.Blessed != ""}
	for _, u := range s.Undone {
		f.Undone = append(f.Undone, fmt.Sprintf("%s %s -> %s, level %d, %s", u.Component, u.From, u.To, u.Level, u.Verdict))
	}
	return f
}

// slot is where one of the component's links leads.
func (m *tiny) slot(l slots.Link) slots.Slot {
	m.t.Helper()
	return slots.Slot(strings.TrimPrefix(m.image.link(component+"/"+string(l)), "slots/"))
}

// state is what the guard remembers.
func (m *tiny) state() bootguard.State {
	m.t.Helper()
	s, err := book(m.t, m.image.take(guardDir)).State()
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// meet boots the machine and compares what is on its disk afterwards.
func (m *tiny) meet(n int, line string, want facts) boot {
	m.t.Helper()
	b := m.boot(quiet + line)
	if diff := cmp.Diff(want, m.look()); diff != "" {
		m.t.Fatalf("boot %d: disk (-want +got):\n%s\nconsole:\n%s", n, diff, last(b.console, 40))
	}
	return b
}

var healed = facts{Current: good, Blessed: true, Undone: []string{"sensor-content " + string(bad) + " -> " + string(good) + ", level 1, inconclusive"}}

// It is timed, so it runs alone.
//
// The headline: content that panics the kernel at every boot, a host with no network, and nobody there.
func TestInvariantI5ComesBackFromPanicsAtBoot(t *testing.T) {
	needs(t, "tiny")
	m := newTiny(t, nil)
	began := clock.Wall{}.Now()
	var used time.Duration
	for n := 1; n <= 3; n++ {
		b := m.meet(n, "", facts{Boots: n, Current: bad, Pending: true})
		if !b.panicked() || !b.said("loading", "bad rules") {
			t.Fatalf("boot %d: want a panic by the bad content; console:\n%s", n, b.console)
		}
		used += b.used
	}
	b := m.meet(4, "", healed)
	used += b.used
	if b.panicked() || !b.said("loading", "good rules") || !b.said("vm: up") {
		t.Fatalf("boot 4: want the good content and the host up; console:\n%s", b.console)
	}
	t.Logf("3 panics, back by the 4th boot: %s on the clock, %s of processor time", clock.Wall{}.Now().Sub(began).Round(time.Millisecond), used)
	if used > limit {
		t.Errorf("processor time of four boots: got %s, want at most %s", used, limit)
	}
}

// In an initramfs the root is mounted read-only, and the guard itself makes it writable for as long as it needs.
func TestStageOneWritesToARootThatIsReadOnly(t *testing.T) {
	t.Parallel()
	needs(t, "tiny")
	m := newTiny(t, nil)
	b := m.meet(1, "vm.root=ro", facts{Boots: 1, Current: bad, Pending: true})
	if !b.said("vm: root is read-only again") {
		t.Errorf("want the root left as it was found; console:\n%s", last(b.console, 40))
	}
}

// A full disk keeps nobody from going back: the state is overwritten in place and the way back is a rename.
func TestInvariantI5ComesBackWithAFullDisk(t *testing.T) {
	t.Parallel()
	needs(t, "tiny")
	m := newTiny(t, nil)
	for n := 1; n <= 3; n++ {
		b := m.meet(n, "vm.disk=full", facts{Boots: n, Current: bad, Pending: true})
		if !b.said("the disk is full", "no space left on device") {
			t.Fatalf("boot %d: want a full disk; console:\n%s", n, b.console)
		}
	}
	m.meet(4, "vm.disk=full", healed)
}

// A damaged state is said aloud and counts as none. It is no reason not to boot, and counting begins anew.
func TestInvariantI6CorruptStateDoesNotStopABoot(t *testing.T) {
	t.Parallel()
	needs(t, "tiny")
	m := newTiny(t, func(root string) {
		if err := os.WriteFile(filepath.Join(root, guardDir, "state"), []byte(strings.Repeat("nonsense", 16<<10)), 0o600); err != nil {
			t.Fatal(err)
		}
		d := slots.Dir{FS: disk.OS{}, Path: filepath.Join(root, component)}
		if err := d.GoBack(good); err != nil {
			t.Fatal(err)
		}
	})
	b := m.meet(1, "", facts{Current: good, Blessed: true})
	if !b.said("ALARM") || !b.said("vm: up") {
		t.Errorf("want an alarm and a host that is up; console:\n%s", b.console)
	}
}

// The guard does nothing where it was told so, and works again when it is no longer.
func TestDisabledOnTheCommandLine(t *testing.T) {
	t.Parallel()
	needs(t, "tiny")
	m := newTiny(t, nil)
	if b := m.meet(1, "firebreak.disable", facts{Current: bad, Pending: true}); !b.panicked() {
		t.Fatalf("want a panic; console:\n%s", b.console)
	}
	m.meet(2, "", facts{Boots: 1, Current: bad, Pending: true})
}

var (
	cuts       = flag.Int("vm-cuts", 3, "how often the power is cut in the test of that")
	seedOfCuts = flag.Uint64("vm-seed", 1, "when it is cut")
)

// The power goes while the agent's own packages switch to and fro. Whatever moment it was, the next boot finds a state that says where to
// go back to, and links that lead there.
func TestInvariantI5PowerCutAnywhere(t *testing.T) {
	t.Parallel()
	needs(t, "tiny")
	m := newTiny(t, nil)
	random, rounds := rand.New(rand.NewPCG(*seedOfCuts, 0)), 0
	for n := 1; n <= *cuts; n++ {
		// So many switches, and then in the midst of the next: however slow the machine is.
		left, after := random.IntN(6), time.Duration(random.Int64N(int64(100*time.Millisecond)))
		b, err := m.watch(t.Context(), quiet+"vm.mode=churn", func(line string, cut context.CancelFunc) {
			if strings.HasPrefix(line, "vm: churn") || strings.HasPrefix(line, "vm: round") {
				if left--; left == -1 {
					context.AfterFunc(expiry(t, after), cut)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if !b.cut || !b.said("vm: churn") {
			t.Fatalf("cut %d: want a machine that runs until its power is cut; console:\n%s", n, last(b.console, 30))
		}
		rounds += strings.Count(b.console, "vm: round")
		m.consistent(n, after)
	}
	t.Logf("%d power cuts in %d switches", *cuts, rounds)
	if rounds == 0 {
		t.Error("no switch was ever finished: nothing was tested")
	}
}

// expiry is done after a while.
func expiry(t *testing.T, after time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), after)
	t.Cleanup(cancel)
	return ctx
}

// consistent holds a disk to what the way back needs: the guard knows of whatever is current and not good, and the way back from it is there.
func (m *tiny) consistent(n int, after time.Duration) {
	m.t.Helper()
	m.image.check()
	current, back, s := m.slot(slots.Current), m.slot(slots.Back), m.state()
	if len(s.Entries) != 1 {
		m.t.Fatalf("cut %d after %s: got entries %+v, want one", n, after, s.Entries)
	}
	e := s.Entries[0]
	switch isGood := e.Good == string(current); {
	case current != good && current != bad:
		m.t.Errorf("cut %d after %s: current leads to %q, want one of the slots", n, after, current)
	case !isGood && (!e.Pending || e.Current != string(current)):
		m.t.Errorf("cut %d after %s: current %s is not good and the guard does not know: %+v", n, after, current, e)
	case !isGood && string(back) != e.Good:
		m.t.Errorf("cut %d after %s: the way back leads to %q, want %s", n, after, back, e.Good)
	}
}
