//go:build unix

package launcher_test

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/launcher"
)

// A released agent that is no good heals by itself: the good one runs in the end, and the host says what it left and why.
func TestABadReleaseHeals(t *testing.T) {
	t.Parallel()
	const loop = `while :; do say alive; sleep 0.1; done`
	eat := `rm -rf "$S"/* "$S"/.[!.]*; `
	for name, row := range map[string]struct {
		agent  string
		times  func(*launcher.Options)
		why    string
		eaten  bool
		starts int // of the bad one
	}{
		"crashes at once": {agent: `exit 1`, why: "the agent ended again and again: exit status 1", starts: 3},
		"crashes by a signal": {
			agent: `say ready; kill -SEGV $$`, why: "the agent ended again and again: signal: segmentation fault", starts: 3,
		},
		"hangs at start": {
			agent: `exec sleep 1000`, why: "the agent hung again and again: not ready in 500ms", starts: 3,
			times: func(o *launcher.Options) { o.Times.ReadyWithin = 500 * time.Millisecond },
		},
		"hangs later": {
			agent: `say ready; exec sleep 1000`, why: "the agent hung again and again: no sign of life in 400ms", starts: 3,
			times: func(o *launcher.Options) { o.Times.AliveWithin = 400 * time.Millisecond },
		},
		"forgets how to update": {
			agent: `say ready; ` + loop, why: "the agent never asked the control plane: no check-in was tried in 500ms", starts: 1,
			times: func(o *launcher.Options) { o.Times.MuteAfter = 500 * time.Millisecond },
		},
		"eats its state and crashes": {agent: eat + `exit 1`, why: "the agent removed its own state: exit status 1", eaten: true, starts: 1},
		"eats its state and lives on": {
			agent: `say ready; say checked; ` + eat + loop, why: "the agent removed its own state: its identity is gone", eaten: true, starts: 1,
		},
		"eats its state and says that there is a new agent": {
			agent: eat + `exit 75`, why: "the agent removed its own state: exit status 75", eaten: true, starts: 1,
		},
		"reaches nobody": {
			agent: `echo $$ >"$S/lock"; say ready; say away; ` + loop, starts: 1,
			why:   "the agent does not reach the control plane, which the good one does: its check-ins have failed for 300ms",
			times: func(o *launcher.Options) { o.Times.AwayFor = 300 * time.Millisecond },
		},
		"ends without being asked": {agent: `say ready; exit 0`, why: "the agent ended again and again: exit status 0", starts: 3},
		"says that there is a new agent": {
			agent: `say ready; exit 75`, why: "the agent ended again and again: exit status 75", starts: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, script("new", nothin, row.agent))
			h.install("good", script("good", `kill -0 "$(cat "$S/lock")" 2>/dev/null && exit 20; exit 0`, steady)) // not while another runs
			h.keepGood()
			h.activate("new", "good")
			if row.times != nil {
				row.times(&h.options)
			}
			stop := h.launch()
			h.said.await("good runs")
			stop()
			want := bootguard.Undone{Component: launcher.Component, From: "new", To: "good", Verdict: bootguard.Crash, Why: row.why}
			link := "good"
			if row.eaten {
				want.To, link = "", ""
			}
			if diff := cmp.Diff([]bootguard.Undone{want}, h.undone()); diff != "" || h.link() != link {
				t.Errorf("got the link to %q, want %q; told:\n%s", h.link(), link, diff)
			}
			if n, _ := h.said.count("new runs"); n != row.starts {
				t.Errorf("the bad one was run %d times, want %d", n, row.starts)
			}
			if got := h.get("agent/identity/identity.json") + "; " + h.get("agent/components.d/sensor.yaml"); got != "who I am; component: sensor" {
				t.Errorf("got %q, want the identity and the component files", got)
			}
			h.said.forget()
			if !row.eaten {
				h.activate("new", "good") // whoever does so, it stays quarantined
				h.launch()
				h.said.await("good runs")
				if n, _ := h.said.count("new runs"); n != 0 {
					t.Errorf("what is quarantined was run again")
				}
			}
		})
	}
}

func TestAControlPlaneThatIsAwayIsNoReasonToGoBack(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `say ready; say away; exec sleep 1000`))
	h.install("good", script("good", `exit 20`, steady))
	h.activate("new", "good")
	h.options.Times.AwayFor = 10 * time.Millisecond
	pauses := &recorded{}
	h.options.Clock = pauses
	stop := h.launch()
	h.said.await("does not reach the control plane either", 4)
	h.said.await("new runs", 5)
	stop()
	if h.link() != "new" || h.undone() != nil {
		t.Errorf("got the link to %q, told %+v, want no going back", h.link(), h.undone())
	}
	slept := pauses.all()
	for _, want := range []time.Duration{10e6, 20e6, 40e6, 80e6} { // asked less and less often
		i := slices.Index(slept, want)
		if i < 0 {
			t.Fatalf("waited for %s, want a wait of %s after the shorter ones", slept, want)
		}
		slept = slept[i+1:]
	}
}

func TestAHostWithoutAnyGoodAgentRunsTheFactoryOne(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `exit 1`))
	h.install("good", script("good", nothin, `exit 2`))
	h.write(h.options.Factory, script("factory", nothin, `exit 3`))
	h.activate("new", "good")
	h.launch()
	h.said.await("factory runs", 7) // and again and again
	want := []bootguard.Undone{
		{Component: launcher.Component, From: "new", To: "good", Verdict: bootguard.Crash, Why: "the agent ended again and again: exit status 1"},
		{Component: launcher.Component, From: "good", Verdict: bootguard.Inconclusive, Why: "the agent ended again and again: exit status 2"},
	}
	if diff := cmp.Diff(want, h.undone()); diff != "" || h.link() != "" {
		t.Errorf("got the link to %q, want none; told:\n%s", h.link(), diff)
	}
}

func TestEvenAMissingFactoryAgentIsNotGivenUp(t *testing.T) {
	t.Parallel()
	h := newHost(t, "")
	if err := os.RemoveAll(h.dir.Path); err != nil {
		t.Fatal(err)
	}
	missing := h.options.Factory + "-missing"
	if err := os.Rename(h.options.Factory, missing); err != nil {
		t.Fatal(err)
	}
	pauses := &recorded{}
	h.options.Clock = pauses
	h.launch()
	h.said.await("agent ended (exited): fork/exec", 6)
	if got, want := pauses.all()[:5], []time.Duration{1e6, 2e6, 4e6, 5e6, 5e6}; !slices.Equal(got, want) {
		t.Errorf("got pauses of %s, want %s", got, want)
	}
	if err := os.Rename(missing, h.options.Factory); err != nil {
		t.Fatal(err)
	}
	h.said.await("factory runs")
}

func TestBrokenLinks(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		damage string
		want   string
	}{
		"the link is gone":               {`rm components/firebreak-agent/current`, "good runs"},
		"something else in its place":    {`rm components/firebreak-agent/current; mkdir components/firebreak-agent/current`, "good runs"},
		"the slot is empty":              {`rm components/firebreak-agent/slots/good/*`, "good runs"}, // the copy
		"all slots are gone":             {`rm -r components/firebreak-agent/slots`, "good runs"},
		"the state directory is gone":    {`cd ..; rm -r agent`, "good runs"},
		"and the copy was tampered with": {`cd ..; rm -r agent; for f in guard/keep/agent-*; do tr o 0 <$f >$f.new; chmod 755 $f.new; mv $f.new $f; done`, "factory runs"},
		"and the copy is gone":           {`cd ..; rm -r agent; rm guard/keep/agent-*`, "factory runs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "")
			h.keepGood()
			h.write(filepath.Join(h.root, "damage"), "#!/bin/sh\nset -e\ncd \"$1\"\n"+row.damage+"\n")
			h.run(filepath.Join(h.root, "damage"), h.options.AgentState)
			h.launch()
			h.said.await(row.want)
			if got := h.get("agent/identity/identity.json"); got != "who I am" {
				t.Errorf("got %q, want the identity", got)
			}
			if got := h.undone(); got != nil {
				t.Errorf("told %+v, want nothing: no release did it", got)
			}
		})
	}
}

func TestSwap(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, steady))
	swap := `say ready; ln -sfn slots/new "$C/current"; exit 75`
	h.install("good", script("good", `echo check >>"$S/asked"; exit 0`, swap))
	stop := h.launch()
	h.said.await("new runs")
	stop()
	if got := h.get("agent/asked"); got != "check\n" || h.link() != "new" || h.undone() != nil {
		t.Errorf("got checks %q, the link to %q, told %+v, want one check and the new agent", got, h.link(), h.undone())
	}
}

// A newer agent, or the way back from a recalled one, comes before the one in use is even started.
func TestUpdateThenRun(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `exit 1`))
	h.install("better", script("better", nothin, steady))
	h.install("good", script("good", `[ "$*" = "check --state $S --guard $(dirname $S)/guard --timeout 5s" ] && ln -sfn slots/better "$C/current" && exit 10; exit 1`, steady))
	h.activate("new", "good")
	h.launch()
	h.said.await("better runs")
	if n, _ := h.said.count("new runs"); n != 0 {
		t.Errorf("the recalled agent was run %d times, want never", n)
	}
}

func TestACheckThatHangsIsKilled(t *testing.T) {
	t.Parallel()
	h := newHost(t, "")
	h.install("good", script("good", `exec sleep 1000`, steady))
	h.options.Times.CheckWithin = 50 * time.Millisecond
	h.launch()
	h.said.await("good runs")
}

func TestSignals(t *testing.T) {
	t.Parallel()
	h := newHost(t, "")
	h.install("good", script("good", nothin, `trap 'echo reloads' HUP; trap 'echo stops; kill $!; exit 0' TERM
say ready; echo listens; sleep 1000 & while :; do wait $!; done`))
	signals := make(chan os.Signal)
	h.options.Signals = signals
	done := make(chan error, 1)
	go func() { done <- launcher.Run(t.Context(), h.options) }()
	h.said.await("listens")
	signals <- syscall.SIGHUP
	h.said.await("reloads")
	signals <- syscall.SIGTERM
	if err := <-done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if n, _ := h.said.count("stops"); n != 1 {
		t.Errorf("got %d stops, want the agent to have been asked", n)
	}
}

func TestAStubbornAgentIsKilled(t *testing.T) {
	t.Parallel()
	h := newHost(t, "")
	h.install("good", script("good", nothin, `trap '' TERM; say ready; echo listens; while :; do sleep 1000; done`))
	h.options.Times.StopWithin = 100 * time.Millisecond
	stop := h.launch()
	h.said.await("listens")
	stop()
	h.said.await("did not stop within 100ms and was killed")
}

func TestOneLauncher(t *testing.T) {
	t.Parallel()
	h := newHost(t, "")
	h.launch()
	h.said.await("good runs")
	if err := launcher.Run(t.Context(), h.options); fault.KindOf(err) != fault.Conflict || fault.NextOf(err) == "" {
		t.Errorf("got %v, want a conflict with a next step", err)
	}
}

func TestClocksAreNotTrusted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]clock.Clock{
		"leaping": &leaping{random: rand.New(rand.NewPCG(1, 2))},
		"1970":    stopped{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, script("new", nothin, `exit 1`))
			h.activate("new", "good")
			h.options.Clock = c
			h.launch()
			h.said.await("good runs")
			if n, _ := h.said.count("new runs"); n < 3 || n > 9 {
				t.Errorf("the bad one was run %d times, want 3 to 9", n)
			}
		})
	}
}

// stopped is a clock that shows 1970 for ever, and waits as any other.
type stopped struct{ clock.Wall }

func (stopped) Now() time.Time { return time.Unix(0, 0) }

func TestAMemoryThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"of another version": newer(t),
		"of another program": strings.Repeat("something else ", 10),
		"damaged":            strings.Repeat("x", 128<<10),
		"of other data":      framed(t, `"what?"`),
		"empty":              "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, script("new", nothin, `exit 1`))
			h.activate("new", "good")
			h.put("guard/launch", data)
			stop := h.launch()
			h.said.await("good runs")
			stop()
			if got := h.get("guard/launch"); (got == data) != (name != "damaged" && name != "of other data") {
				t.Errorf("the file was changed: %v", got != data)
			}
			if len(h.undone()) != 1 || h.link() != "good" {
				t.Errorf("told %+v, want the host healed without a memory", h.undone())
			}
		})
	}
}

func TestADirectoryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `exit 1`))
	h.activate("new", "good")
	h.put("guard", "a file where the directory should be")
	stop := h.launch()
	h.said.await("good runs")
	stop()
	if h.link() != "good" || len(h.undone()) != 1 {
		t.Errorf("got the link to %q, told %+v, want the host healed without a memory", h.link(), h.undone())
	}
}

func TestCopiesFollowTheIdentity(t *testing.T) {
	t.Parallel()
	h := newHost(t, "")
	h.keepGood()
	h.put("agent/identity/identity.json", "renewed")
	h.install("good", script("good", nothin, `say ready; say checked; say checked; say checked; say away; echo said; exec sleep 1000`))
	stop := h.launch()
	h.said.await("said")
	h.said.await("good runs")
	h.eventually(func() bool { return h.get("guard/keep/identity/identity.json") == "renewed" })
	stop()
	if info, err := (disk.OS{}).Lstat(filepath.Join(h.root, "guard/keep/identity/identity.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a secret", info, err)
	}
}

// Once its soak is over an agent is not on trial any more, in the middle of its life: it is kept, and given its tries.
func TestATrialEndsWhileTheAgentRuns(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `say ready; [ -e "$S/later" ] && exec sleep 1000
until [ -e "$S/later" ]; do say checked; sleep 0.02; done; rm -r "$S/identity"; exit 1`))
	h.activate("new", "good")
	h.launch()
	h.said.await("new runs")
	h.activate("new", "")
	h.said.await("kept the agent of slot new")
	h.put("agent/later", "")
	h.said.await("new runs", 2)
	h.eventually(func() bool { return h.get("agent/identity/identity.json") == "who I am" })
	if h.undone() != nil {
		t.Errorf("told %+v, want nothing after one bad exit of a good agent", h.undone())
	}
}

func TestWithoutABookTheLinksTell(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `exit 1`))
	h.activate("new", "good")
	h.options.Book = nil
	stop := h.launch()
	h.said.await("good runs")
	stop()
	h.options.Book = book(filepath.Join(h.root, "book"))
	h.said.forget()
	h.launch()
	h.said.await("good runs")
	if len(h.undone()) != 1 || h.link() != "good" {
		t.Errorf("got the link to %q, told %+v, want it told as soon as there is a book", h.link(), h.undone())
	}
}

func TestForgive(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `exit 1`))
	h.activate("new", "good")
	stop := h.launch()
	h.said.await("good runs")
	if _, err := launcher.Forgive(disk.OS{}, h.options.GuardDir); fault.KindOf(err) != fault.Conflict || fault.NextOf(err) == "" {
		t.Errorf("while it runs: got %v, want a conflict with a next step", err)
	}
	stop()
	if n, err := launcher.Forgive(disk.OS{}, h.options.GuardDir); n != 1 || err != nil {
		t.Errorf("got %d, %v, want one", n, err)
	}
	h.said.forget()
	h.activate("new", "good")
	h.launch()
	h.said.await("new runs")
}

// readOnly is a file system that cannot be written until there is a file.
type readOnly struct {
	disk.OS
	until string
}

func (r readOnly) Open(path string, flag int, perm fs.FileMode) (disk.File, error) {
	if _, err := os.Lstat(r.until); err != nil && flag != os.O_RDONLY {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EROFS}
	}
	return r.OS.Open(path, flag, perm)
}

// On a root that is read-only from the beginning no agent can keep its state, and ends. None is blamed, and the one on trial runs once the
// disk can be written.
func TestAReadOnlyRootIsNoFaultOfTheAgent(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `[ -e "$S/writable" ] || exit 1; echo works; `+steady))
	h.activate("new", "good")
	h.put("agent/lock", "")
	writable := filepath.Join(h.root, "agent", "writable")
	h.options.FS = readOnly{until: writable}
	stop := h.launch()
	h.said.await("(hindered)", 7)
	h.said.await("is on a file system that is mounted read-only")
	h.put("agent/writable", "")
	h.said.await("works")
	stop()
	if n, _ := h.said.count("good runs"); n != 0 || h.link() != "new" || h.undone() != nil {
		t.Errorf("got the link to %q after %d runs of the good one, told %+v, want nobody blamed", h.link(), n, h.undone())
	}
}

// An installer that is at work when its agent is asked to stop is waited for, within a bound.
func TestAnInstallerAtWorkIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		work   string
		within time.Duration
		want   string
	}{
		"that ends":  {`for i in 1 2 3 4 5 6; do say busy; sleep 0.2; done; echo installed; exit 0`, time.Minute, "installed"},
		"that hangs": {`while :; do say busy; sleep 0.1; done`, 600 * time.Millisecond, "did not stop within 500ms and was killed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "")
			h.install("good", script("good", nothin, `trap '`+row.work+`' TERM; say ready; echo listens; while :; do sleep 0.05; done`))
			h.options.Times.StopWithin, h.options.Times.BusyWithin = 500*time.Millisecond, row.within
			stop := h.launch()
			h.said.await("listens")
			stop()
			if n, _ := h.said.count(row.want); n != 1 {
				t.Errorf("it was not said that %q", row.want)
			}
		})
	}
}

// Agents and checks are told which slots are quarantined for good, until these are forgiven.
func TestAgentsHearWhatIsQuarantined(t *testing.T) {
	t.Parallel()
	const tell = `echo "$1 must not ask for [$FIREBREAK_QUARANTINED]"`
	h := newHost(t, script("new", nothin, `exit 1`))
	h.install("good", script("good", tell+` > "$S/checks"; exit 0`, tell+"; "+steady))
	h.activate("new", "good")
	h.options.Env = append(h.options.Env, "FIREBREAK_QUARANTINED=of-another")
	stop := h.launch()
	h.said.await("run must not ask for [new]")
	stop()
	if got := h.get("agent/checks"); got != "check must not ask for [new]\n" {
		t.Errorf("got %q, want the check to know", got)
	}
	if _, err := launcher.Forgive(disk.OS{}, h.options.GuardDir); err != nil {
		t.Fatal(err)
	}
	h.launch()
	h.said.await("run must not ask for []")
}
