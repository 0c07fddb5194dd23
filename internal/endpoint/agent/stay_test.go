package agent

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust/trusttest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/consumer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// laden is an installer that set something aside for the way back.
type laden struct {
	installer.Installer
	laden bool
}

func (l *laden) Settle() error {
	l.laden = false
	return nil
}

// What was set aside for the way back stays until the release is good and not watched any more, or was left, whenever the agent is killed.
func TestWhatWasSetAsideIsGivenUpInTheEnd(t *testing.T) {
	t.Parallel()
	watched := start.Add(time.Hour)
	for name, c := range map[string]struct {
		state install.State
		event install.Event
		want  bool
	}{
		"activated":            {ready(), leased(), true},
		"being proved":         {install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2}, install.Restarted{At: start, Current: "2"}, true},
		"proved, not booted":   {install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2}, install.Proved{At: start, Boots: true}, true},
		"booted":               {install.State{Phase: install.Idle, Current: v2, Good: v1, Unbooted: true}, install.Blessed{At: start}, false},
		"booted, and watched":  {install.State{Phase: install.Idle, Current: v2, Good: v1, Unbooted: true, Watched: watched}, install.Blessed{At: start}, true},
		"proved, and watched":  {install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2}, install.Proved{At: start, Watch: time.Hour}, true},
		"proved":               {install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2}, install.Proved{At: start}, false},
		"killed after it":      {install.State{Phase: install.Idle, Current: v2, Good: v2, Previous: v1}, install.Restarted{At: start, Current: "2"}, false},
		"not even activated":   {install.State{Phase: install.Activating, Current: v2, Good: v2, Next: v3}, install.SwapFailed{At: start}, false},
		"on the way back":      {install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2}, install.Broke{At: start, Why: "x"}, true},
		"back, and well again": {install.State{Phase: install.Recovering, Current: v1, Good: v1, Next: v2}, install.Proved{At: start}, false},
	} {
		a, u, _, _ := guarded(t, "content", c.state)
		l := &laden{u.installer, true}
		u.installer = l
		a.event(t.Context(), u, c.event)
		if l.laden != c.want {
			t.Errorf("%s: set aside %t, want %t; it is %+v", name, l.laden, c.want, a.memory.Components[sensor])
		}
	}
}

// slow is an installer that is at work until it is let go.
type slow struct {
	installer.Installer
	begun, goOn chan struct{}
}

func (s slow) Revert(context.Context, installer.Slot) error {
	close(s.begun)
	<-s.goOn
	return nil
}

// An agent that is asked to end does not leave an installer alone, and says what it waits for. For other jobs it asks for no patience.
func TestInstallerIsNotCutShort(t *testing.T) {
	t.Parallel()
	a, u, _, _ := guarded(t, "content", install.State{Phase: install.Reverting, Current: v2, Good: v1, Next: v2})
	s := slow{u.installer, make(chan struct{}), make(chan struct{})}
	u.installer = s
	ctx, stop := context.WithCancel(t.Context())
	a.start = func(j *slot, job func(context.Context)) { j.begin(ctx, &a.jobs, job) }
	var once sync.Once
	busy := 0
	a.Notify = func(word string) {
		if busy++; word != WordBusy {
			t.Errorf("got %q, want %q", word, WordBusy)
		}
		once.Do(func() { close(s.goOn) })
	}
	a.mu.Lock()
	a.start(&u.job, func(ctx context.Context) { a.restore(ctx, u, "1") })
	a.mu.Unlock()
	<-s.begun
	stop()
	a.finish(ctx)
	if busy == 0 {
		t.Error("the launcher heard nothing of the installer")
	}
	idle := newAgent(t, &paper{})
	idle.Notify = func(word string) { t.Errorf("got %q from an agent that installs nothing", word) }
	idle.finish(t.Context())
}

// A consumer that died while no agent ran is a crash of what was being proved, unless it died before, in another boot, or of another unit.
func TestExitWhileNoAgentRanCounts(t *testing.T) {
	t.Parallel()
	began := start.Add(-time.Minute)
	for name, c := range map[string]struct {
		at, proving time.Time
		boot, tell  string
		want        bool
	}{
		"while it was proved":              {at: began.Add(time.Second), proving: began, boot: "boot-2", want: true},
		"the agent restarts its unit":      {at: began.Add(time.Second), proving: began, boot: "boot-2", tell: "sensor", want: true},
		"before":                           {at: began.Add(-time.Second), proving: began, boot: "boot-2"},
		"in another boot":                  {at: began.Add(time.Second), proving: began, boot: "boot-1"},
		"killed before the proof began":    {at: began.Add(time.Second), boot: "boot-2", want: true},
		"killed while its unit was ending": {at: began.Add(time.Second), boot: "boot-2", tell: "sensor"},
	} {
		a, u, _, _ := guarded(t, "content", install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2})
		u.file.Consumer.Unit, u.file.Consumer.Tell.Unit = "sensor.service", c.tell
		a.memory.Switched[sensor] = switched{At: began, Boot: c.boot, Proving: c.proving}
		exit := consumer.Describe(-1, "SEGV", "core-dump: signal SEGV", "panic: boom")
		exit.At = c.at
		if err := u.exits.Note(consumer.Noted{Unit: "sensor.service", Exit: exit}); err != nil {
			t.Fatal(err)
		}
		if got := a.diedUnseen(u) != nil; got != c.want {
			t.Errorf("%s: got a death %t, want %t", name, got, c.want)
		}
		if !c.want {
			continue
		}
		a.prove(t.Context(), u, "2")
		s := a.memory.Components[sensor]
		if s.Phase != install.Reverting || len(a.memory.Reports) != 1 || a.memory.Reports[0].Outcome != install.Crashed || a.memory.Reports[0].Crash == nil {
			t.Errorf("%s: got phase %s and reports %+v, want it left for a crash", name, s.Phase, a.memory.Reports)
		}
	}
}

// The journal knows from when on ends of the consumer count, before anything is probed.
func TestBeginOfAProofIsKept(t *testing.T) {
	t.Parallel()
	a, u, _, _ := guarded(t, "content", install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2})
	a.memory.Switched[sensor] = switched{At: start.Add(-time.Minute), Boot: a.Boot}
	ctx, cancel := context.WithCancel(t.Context())
	a.Clock = &counting{Clock: a.Clock, at: 1, then: cancel} // killed in its first pause
	a.prove(ctx, u, "2")
	found, err := loadMemory(a.Journal)
	if got := found.Switched[sensor].Proving; err != nil || !got.Equal(start) {
		t.Errorf("got %s (%v), want %s", got, err, start)
	}
}

// What the launcher has quarantined is not even downloaded again, under whatever version, also by an agent that has lost its journal. Other
// kinds and other executables are not concerned.
func TestQuarantinedAgentIsNeverAskedForAgain(t *testing.T) {
	t.Parallel()
	bad := release.DigestOf([]byte("bad"))
	slot := string(installer.SlotOf("v2", bad))
	for name, c := range map[string]struct {
		kind     release.Kind
		artifact release.Digest
		held     []string
		want     string
	}{
		"quarantined":         {release.Agent, bad, []string{"v0-000000000000", slot}, slot},
		"another executable":  {release.Agent, release.DigestOf([]byte("mended")), []string{slot}, ""},
		"another kind":        {release.Binary, bad, []string{slot}, ""},
		"forgiven":            {release.Agent, bad, nil, ""},
		"under another name":  {release.Agent, bad, []string{string(installer.SlotOf("v3-rc1", bad))}, string(installer.SlotOf("v3-rc1", bad))},
		"nothing but a digit": {release.Agent, bad, []string{"-"}, ""},
	} {
		a := newAgent(t, &paper{})
		a.Quarantined = c.held
		if got := a.quarantined(release.Manifest{Kind: c.kind, Version: "v2"}, release.Artifact{Digest: c.artifact}); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// What the launcher left for good is refused for good, until it is forgiven.
func TestQuarantineIsRefusedForGood(t *testing.T) {
	t.Parallel()
	for verdict, want := range map[bootguard.Verdict]bool{bootguard.Crash: true, bootguard.Inconclusive: false} {
		a, u, b, _ := guarded(t, "agent", install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2})
		b.undone = []bootguard.Undone{{Component: component.Agent, From: "2", To: "1", Why: "the agent ended again and again", Verdict: verdict}}
		a.resume(t.Context())
		late := start.AddDate(3, 0, 0)
		a.event(t.Context(), u, install.Restored{At: start})
		a.event(t.Context(), u, install.Proved{At: start})
		for _, again := range []bool{want, false} { // as it is, and forgiven
			a.event(t.Context(), u, install.Directed{At: late, Candidate: &install.Target{Version: "v2", Manifest: v2.Manifest, Rollout: "r9"}})
			if s := a.memory.Components[component.Agent]; (s.Phase == install.Idle) != again {
				t.Errorf("%s: three years later: got phase %s (%s), want it refused: %t", verdict, s.Phase, s.Why, again)
			}
			n, err := Forgive(a.Journal, component.Agent)
			if err != nil || n != 1 && again {
				t.Fatalf("got %d, %v", n, err)
			}
			if a.memory, err = loadMemory(a.Journal); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A journal of another version is left alone, and the error says what to do.
func TestJournalOfAnUnknownVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	const later = `{"format":7,"components":{"sensor-content":{"phase":"levitating"}}}`
	j := &paper{data: []byte(later)}
	o := newAgent(t, &paper{}).Options
	o.Journal = j
	_, err := New(o)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "has format 7") || fault.NextOf(err) == "" || string(j.data) != later {
		t.Errorf("got %v (%s) and journal %s, want it said and left alone", err, fault.NextOf(err), j.data)
	}
	if _, err := Forgive(j, sensor); err == nil || string(j.data) != later {
		t.Errorf("forgive: got %v and journal %s, want it left alone", err, j.data)
	}
}

// shelf is a control plane that has a repository and its manifests.
type shelf struct {
	Uplink
	repository *trusttest.Repository
	blob       []byte
}

func (s shelf) Metadata(_ context.Context, name string) ([]byte, error) {
	return s.repository.Fetch(name)
}

func (s shelf) Blob(context.Context, string, int64) ([]byte, error) { return s.blob, nil }

// A preflight on a host whose launcher has quarantined the executable ends it before anything is downloaded: no lease is asked for.
func TestPreflightRefusesWhatIsQuarantined(t *testing.T) {
	t.Parallel()
	a, u, _, _ := guarded(t, "agent", install.State{Phase: install.Idle, Current: v1, Good: v1})
	repository := trusttest.New(t, start, component.Agent)
	m := trusttest.Manifest(component.Agent, "v2", 2, start)
	m.Kind, m.Artifacts[0].Name = release.Agent, component.Agent
	up := shelf{repository: repository, blob: repository.Add(m)}
	repository.Publish()
	a.Uplink, a.anchors.uplink = up, up
	a.Quarantined = []string{string(installer.SlotOf("v2", m.Artifacts[0].Digest))}
	target := install.Target{Version: "v2", Serial: 2, Manifest: release.DigestOf(up.blob), Rollout: "r"}
	a.event(t.Context(), u, install.Directed{At: start, Candidate: &target})
	a.prepare(t.Context(), u, install.Fetch{Target: target})
	s := a.memory.Components[component.Agent]
	if _, _, wishes := s.Wish(start.Add(time.Minute)); wishes || s.Phase != install.Idle || !strings.Contains(s.Why, "quarantined") {
		t.Errorf("got phase %s (%s), want it refused", s.Phase, s.Why)
	}
}
