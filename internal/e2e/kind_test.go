package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/agent"
	"github.com/firebreak-dev/firebreak/internal/endpoint/command"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

// owns makes a component of a kind, with its keys.
func (p *plane) owns(name string, kind release.Kind) {
	p.t.Helper()
	if _, err := p.client.PutComponent(p.t.Context(), api.ComponentSpec{Name: name, Kind: string(kind), Validation: "none"}); err != nil {
		p.t.Fatal(err)
	}
	p.init(publisher.InitOptions{Components: map[string]publisher.RoleKeys{name: {}}})
}

// ship publishes a program and starts its rollout.
func (p *plane) ship(name string, kind release.Kind, version, file, text string) (id string) {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.publisher.Publish(p.t.Context(), publisher.PublishOptions{
		Component: name, Version: version, Kind: kind, Sources: []publisher.Source{{Path: path}}, Plan: atOnce(),
	}); err != nil {
		p.t.Fatal(err)
	}
	r, err := p.client.StartRollout(p.t.Context(), api.StartRollout{Component: name, Version: version})
	if err != nil {
		p.t.Fatal(err)
	}
	return r.ID
}

// writes puts a component file into the host's directory.
func (h *host) writes(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "components.d", name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { // slots are read-only
		if err := disk.RemoveAll(disk.OS{}, filepath.Join(h.dir, "components")); err != nil {
			h.t.Error(err)
		}
	})
}

// process is one run of firebreak-agent.
type process struct {
	words *words // to the launcher
	log   *words
	stop  func() // in good order
	code  chan int
}

// launches runs the agent's command as a launcher would, with the executable that current leads to, or else the one the host came with.
func (h *host) launches(args ...string) process {
	h.t.Helper()
	self, err := filepath.EvalSymlinks(filepath.Join(h.dir, "components", component.Agent, "current", component.Agent))
	if err != nil {
		self = filepath.Join(h.dir, "factory", component.Agent)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	a := process{words: &words{}, log: &words{}, code: make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		env := command.Env{Args: append(args, "--state", h.dir), Out: a.log, Err: a.log, Notify: a.words, Self: self, Version: "test"}
		a.code <- command.Run(ctx, env)
	}()
	a.stop = sync.OnceFunc(func() { cancel(); <-ended })
	h.t.Cleanup(func() {
		a.stop()
		if h.t.Failed() {
			h.t.Logf("%v says:\n%s", args, tail(a.log.String()))
		}
	})
	return a
}

// of is what the journal says of a component.
func (h *host) of(name string) install.State {
	h.t.Helper()
	memory, err := journal.Open(disk.OS{}, filepath.Join(h.dir, "journal"), agent.SlotSize)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = memory.Close() }()
	states, err := agent.Remembered(memory)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range states {
		if s.Component == name {
			return s
		}
	}
	return install.State{}
}

func (h *host) is(name, version string, phase install.Phase) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("%s to be at %s, %s", name, version, phase), func() error {
		if s := h.of(name); s.Current.Version != version || s.Phase != phase {
			return fmt.Errorf("it is at %q, %s: %s", s.Current.Version, s.Phase, s.Why)
		}
		return nil
	})
}

// The agent updates itself by the same road as everything else: it ends for the one that was activated, which proves itself by checking in.
// A check before the start takes the next one, and leaves one that was recalled.
func TestAgentUpdatesItself(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.owns(component.Agent, release.Agent)
	h := p.newHost()
	h.writes("agent.yaml", "component: firebreak-agent\nkind: agent\nsoak: 200ms\ninterval: 50ms\n")
	factory := h.launches("run")
	first := p.ship(component.Agent, release.Agent, "v1", component.Agent, "#!/bin/sh\n# the first\n")
	if code := <-factory.code; code != 75 {
		t.Fatalf("the agent that the host came with: got exit code %d, want 75", code)
	}
	h.is(component.Agent, "v1", install.Proving)
	if text := factory.words.String(); !strings.HasPrefix(text, "ready\nalive\n") || !strings.Contains(text, "checked\n") {
		t.Errorf("the launcher heard %q, want ready, alive and checked", text)
	}
	one := h.launches("run")
	h.is(component.Agent, "v1", install.Idle)
	if r := p.await(first, "v1 to be confirmed", complete); r.Confirmed != 1 || r.Harmed != 0 {
		t.Errorf("got %d confirmed and %d harmed, want the agent confirmed", r.Confirmed, r.Harmed)
	}
	one.stop()
	if code := <-h.launches("check").code; code != 0 {
		t.Errorf("a check with nothing to do: got exit code %d, want 0", code)
	}
	second := p.ship(component.Agent, release.Agent, "v2", component.Agent, "#!/bin/sh\n# the second\n")
	eventually(t, "a check to switch", func() error {
		if code := <-h.launches("check", "--timeout", "20s").code; code != 10 {
			return fmt.Errorf("got exit code %d, want 10", code)
		}
		return nil
	})
	h.is(component.Agent, "v2", install.Proving)
	two := h.launches("run")
	h.is(component.Agent, "v2", install.Idle)
	p.await(second, "v2 to be confirmed", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
	two.stop()

	if _, err := p.client.RollBack(t.Context(), second, "it forgets how to update"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a check to follow the recall", func() error {
		if code := <-h.launches("check", "--timeout", "20s").code; code != 10 {
			return fmt.Errorf("got exit code %d, want 10", code)
		}
		return nil
	})
	three := h.launches("run")
	h.is(component.Agent, "v1", install.Idle)
	three.stop()
	p.stop()
	if code := <-h.launches("check", "--timeout", "200ms").code; code != 20 {
		t.Errorf("a check without a control plane: got exit code %d, want 20", code)
	}
}

// A program that starts on no host is left at once, whatever the reason: the crash is told with its signature.
func TestInvariantI5ProgramThatDoesNotRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ program, headline string }{
		"no interpreter": {"#!/no/such/interpreter\n", "no such file"},
		"crashes":        {"#!/bin/sh\necho 'sensor: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_9.99'\"' not found\" >&2\nexit 1\n", "GLIBC_9.99"},
		"is killed":      {"#!/bin/sh\nkill -SEGV $$\n", "it said nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlane(t)
			p.owns("sensor", release.Binary)
			h := p.newHost()
			h.writes("sensor.yaml", "component: sensor\nkind: binary\nconsumer: {run: [\"{current}/sensor\"]}\nsoak: 300ms\ninterval: 50ms\n")
			run := h.launches("run")
			mark := filepath.Join(t.TempDir(), "mark")
			good := p.ship("sensor", release.Binary, "v1", "sensor", "#!/bin/sh\necho $$ > "+mark+"\nexec sleep 1000\n")
			p.await(good, "v1 to be confirmed", complete)
			was, err := os.ReadFile(mark)
			if err != nil {
				t.Fatal(err)
			}
			bad := p.ship("sensor", release.Binary, "v2", "sensor", c.program)
			p.await(bad, "v2 to be left", func(r api.Rollout) bool { return r.Harmed == 1 && r.Recovered == 1 })
			if l := p.lease(bad, h.id); l.Outcome != "crashed" || !strings.Contains(l.Detail, c.headline) || !strings.Contains(l.Detail, "signature") {
				t.Errorf("lease: got %s (%s), want crashed, with %q and a signature", l.Outcome, l.Detail, c.headline)
			}
			h.is("sensor", "v1", install.Idle)
			if now, err := os.ReadFile(mark); err != nil || string(now) == string(was) {
				t.Errorf("consumer: got %q (%v), want it started again", now, err)
			}
			run.stop()
		})
	}
}

// Somebody removes the component's directory under the running agent: it says so, and the host gets what is stable again.
func TestComponentRemovedUnderTheAgent(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	if err := disk.RemoveAll(disk.OS{}, filepath.Join(h.dir, "components", sensor)); err != nil {
		t.Fatal(err)
	}
	id := p.roll("v2", "bad rules 2", atOnce())
	h.says("somebody changed the component's directory")
	p.await(id, "v2 to be left", func(r api.Rollout) bool { return r.Harmed == 1 && r.Recovered == 1 })
	h.runs("v1")
	if got := h.current(); got != "good rules 1" {
		t.Errorf("in use: got %q, want the stable release again", got)
	}
}

// Somebody removes the last-known-good slot while another release is proved: what harms is left nevertheless, for nothing if need be.
func TestInvariantI5SlotsEditedByHand(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	h.stop()
	h.file.Soak, h.file.Grace = component.Duration(4e9), component.Duration(2e9)
	h.run()
	good := h.state().Good.Slot
	id := p.roll("v2", "bad rules 2", atOnce())
	h.phase(install.Proving)
	if err := disk.RemoveAll(disk.OS{}, filepath.Join(h.dir, "components", sensor, "slots", string(good))); err != nil {
		t.Fatal(err)
	}
	p.await(id, "v2 to be left", func(r api.Rollout) bool { return r.Harmed == 1 && r.Recovered == 1 })
	h.runs("v1") // it is stable, and comes again
}

// A host that booted with its clock at 1970 keeps what it has: nothing is undone, and nothing new is begun before the clock is right.
func TestClockAt1970(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	h.stop()
	right := h.clock.Now()
	h.clock.move(-right.Sub(right.AddDate(1970-right.Year(), 0, 0)))
	h.run()
	id := p.roll("v2", "good rules 2", atOnce())
	h.says("refuse a lease", "clock says 1970")
	if got := h.current(); got != "good rules 1" {
		t.Errorf("in use: got %q, want what was there", got)
	}
	h.stop()
	h.clock.move(right.Sub(right.AddDate(1970-right.Year(), 0, 0)))
	h.run()
	p.await(id, "v2 to be confirmed", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
	h.runs("v2")
}

// readOnly is a file system that turns read-only under those who use it, as after an error of the disk.
type readOnly struct {
	disk.FS
	on *atomic.Bool
}

func (r readOnly) err() error {
	if r.on.Load() {
		return syscall.EROFS
	}
	return nil
}

func (r readOnly) Open(path string, flag int, perm fs.FileMode) (disk.File, error) {
	if err := r.err(); err != nil && flag != os.O_RDONLY {
		return nil, err
	}
	f, err := r.FS.Open(path, flag, perm)
	return readOnlyFile{f, r}, err
}

func (r readOnly) Mkdir(path string, perm fs.FileMode) error {
	if err := r.err(); err != nil {
		return err
	}
	return r.FS.Mkdir(path, perm)
}

func (r readOnly) Symlink(target, path string) error {
	if err := r.err(); err != nil {
		return err
	}
	return r.FS.Symlink(target, path)
}

func (r readOnly) Rename(from, to string) error {
	if err := r.err(); err != nil {
		return err
	}
	return r.FS.Rename(from, to)
}

func (r readOnly) Remove(path string) error {
	if err := r.err(); err != nil {
		return err
	}
	return r.FS.Remove(path)
}

func (r readOnly) Chmod(path string, perm fs.FileMode) error {
	if err := r.err(); err != nil {
		return err
	}
	return r.FS.Chmod(path, perm)
}

type readOnlyFile struct {
	disk.File
	on readOnly
}

func (f readOnlyFile) Write(data []byte) (int, error) {
	if err := f.on.err(); err != nil {
		return 0, err
	}
	return f.File.Write(data)
}

func (f readOnlyFile) WriteAt(data []byte, at int64) (int, error) {
	if err := f.on.err(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(data, at)
}

// The root file system turns read-only: the host keeps what it has and its consumer is left alone, nothing is activated, and everything
// goes on when it may be written again.
func TestReadOnlyRoot(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	h.stop()
	h.clock.hasty = true
	root := readOnly{disk.OS{}, &atomic.Bool{}}
	h.fs = root
	h.run()
	h.says("phase", "to=idle")
	root.on.Store(true)
	id := p.roll("v2", "good rules 2", atOnce())
	h.says("level=", "read-only")
	if got := h.current(); got != "good rules 1" {
		t.Errorf("in use: got %q, want what was there", got)
	}
	if r, err := p.client.Rollout(t.Context(), id); err != nil || r.Harmed != 0 || r.Confirmed != 0 {
		t.Errorf("rollout: got %+v (%v), want nothing harmed or confirmed", r, err)
	}
	root.on.Store(false)
	p.await(id, "v2 to be confirmed", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
	h.runs("v2")
}
