package install_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// TestScenarios plays the files of testdata, one behaviour a file. Commands (every one takes t=+10s, the time since the one before):
//
//	directed [stable=v1] [candidate=v2] [rollout=r9] [paused] [recall=(v1,v2)] [hold=(v1,v2) why=(x)]  rollout, paused: of the candidate
//	fetched v2 [artifact=v1]
//	failed v2 why=(no route) [final]
//	leased v2 [rollout=r9] [expires=5m]
//	unfit why=(metadata expired)
//	swapped; swap-failed why=(disk full)
//	proved [watch=72h] [boots]
//	blessed [factory]
//	broke why=(exit 2) [crashed] [unwell]
//	restored
//	restarted [current=v1 | current=none] [gone=(v1,v2)] [undone=(v2,v1) doubted=(v2) why=(two panics) [doubt]]   by default with what the disk shows
//	left [returns]
//	live v2                                        installs v2 from the directive to its confirmation, and prints only the end
//	wish, refused, recalled, keep                  show what there is
//
// Every event prints its effects and the state. Releases are named v1, v2 ... and so are their manifests, artifacts and slots; the
// rollout of v2 is r2. Run with -rewrite to accept what is printed, and read the diff.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for name, path := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &host{now: epoch}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return h.run(t, d) })
		})
	}
}

func scenarios(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	named := map[string]string{}
	for _, path := range files {
		named[strings.TrimSuffix(filepath.Base(path), ".txt")] = path
	}
	return named
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// host is the caller of Step: a disk in memory on which current changes only when a Swap or a Restore is carried out.
type host struct {
	state   install.State
	now     time.Time
	at      time.Time // of the newest event
	disk    install.Slot
	events  []install.Event
	reports []install.Report
}

// failer is a test, of the kind of package testing or of package rapid.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// step applies an event, and looks that the state it is applied to stays as it was.
func (h *host) step(t failer, e install.Event) []install.Effect {
	t.Helper()
	h.carryOut(e)
	h.events, h.at = append(h.events, e), when(e)
	was := h.state
	was.Refused, was.Recalled = slices.Clone(was.Refused), slices.Clone(was.Recalled)
	next, effects := install.Step(h.state, e)
	if !reflect.DeepEqual(was, h.state) {
		t.Fatalf("Step changed the state that it was given, on %#v, from\n%+v\nto\n%+v", e, was, h.state)
	}
	h.state = next
	for _, effect := range effects {
		if r, ok := effect.(install.Report); ok {
			h.reports = append(h.reports, r)
		}
	}
	return effects
}

// carryOut changes the disk as an event tells that it was changed: Swapped and Restored come when their effects were carried out.
func (h *host) carryOut(e install.Event) {
	if _, ok := e.(install.Swapped); ok && h.state.Phase == install.Activating {
		h.disk = h.state.Next.Slot
	}
	if _, ok := e.(install.Restored); ok && h.state.Phase == install.Reverting {
		h.disk = h.state.Good.Slot
	}
	if restarted, ok := e.(install.Restarted); ok {
		h.disk = restarted.Current
	}
}

// when tells the time of an event, which every event has.
func when(e install.Event) time.Time {
	switch e := e.(type) {
	case install.Directed:
		return e.At
	case install.Fetched:
		return e.At
	case install.Failed:
		return e.At
	case install.Leased:
		return e.At
	case install.Unfit:
		return e.At
	case install.Swapped:
		return e.At
	case install.SwapFailed:
		return e.At
	case install.Proved:
		return e.At
	case install.Blessed:
		return e.At
	case install.Broke:
		return e.At
	case install.Restored:
		return e.At
	case install.Restarted:
		return e.At
	case install.Left:
		return e.At
	}
	return time.Time{}
}

func encode(t failer, s install.State) string {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("encode the state: %v", err)
	}
	return string(data)
}

func (h *host) run(t *testing.T, d *datadriven.TestData) string {
	if d.HasArg("t") {
		h.now = h.now.Add(span(t, d, "t", ""))
	}
	switch d.Cmd {
	case "wish":
		return h.wish()
	case "refused":
		return h.refused()
	case "recalled":
		return join(h.state.Recalled)
	case "keep":
		return join(h.state.Keep())
	case "live":
		return h.live(t, d.CmdArgs[0].Key)
	}
	effects := h.step(t, h.event(t, d))
	return h.show(effects)
}

func (h *host) event(t *testing.T, d *datadriven.TestData) install.Event {
	var why string
	d.MaybeScanArgs(t, "why", &why)
	switch d.Cmd {
	case "directed":
		return h.directed(t, d)
	case "fetched":
		return h.fetched(d.CmdArgs[0].Key, text(t, d, "artifact", d.CmdArgs[0].Key))
	case "failed":
		return install.Failed{At: h.now, Manifest: manifest(d.CmdArgs[0].Key), Why: why, Final: d.HasArg("final")}
	case "leased":
		name := d.CmdArgs[0].Key
		return h.lease(name, text(t, d, "rollout", rolloutOf(name)), span(t, d, "expires", "5m"))
	case "unfit":
		return install.Unfit{At: h.now, Why: why}
	case "swapped":
		return install.Swapped{At: h.now}
	case "swap-failed":
		return install.SwapFailed{At: h.now, Why: why}
	case "proved":
		return install.Proved{At: h.now, Watch: span(t, d, "watch", "72h"), Boots: d.HasArg("boots")}
	case "blessed":
		return install.Blessed{At: h.now, Factory: d.HasArg("factory")}
	case "broke":
		return install.Broke{At: h.now, Crashed: d.HasArg("crashed"), Unwell: d.HasArg("unwell"), Why: why}
	case "restored":
		return install.Restored{At: h.now}
	case "restarted":
		return h.restarted(t, d, why)
	case "left":
		return install.Left{At: h.now, Returns: d.HasArg("returns")}
	}
	d.Fatalf(t, "unknown command %s", d.Cmd)
	return nil
}

func (h *host) restarted(t *testing.T, d *datadriven.TestData, why string) install.Restarted {
	e := install.Restarted{At: h.now, Current: h.disk}
	if name := text(t, d, "current", ""); name != "" {
		e.Current = install.Slot(strings.TrimPrefix(name, "none"))
	}
	for _, arg := range d.CmdArgs {
		if arg.Key == "gone" {
			for _, name := range arg.Vals {
				e.Gone = append(e.Gone, install.Slot(name))
			}
		}
	}
	for _, arg := range d.CmdArgs {
		for _, name := range arg.Vals {
			if arg.Key == "undone" || arg.Key == "doubted" {
				sure := arg.Key == "undone" && !d.HasArg("doubt")
				e.Undone = append(e.Undone, install.Undone{From: install.Slot(name), Why: why, Conclusive: sure})
			}
		}
	}
	return e
}

func (h *host) directed(t *testing.T, d *datadriven.TestData) install.Directed {
	e := install.Directed{At: h.now, Stable: target(text(t, d, "stable", "")), Candidate: target(text(t, d, "candidate", ""))}
	if e.Candidate != nil {
		e.Candidate.Rollout = text(t, d, "rollout", e.Candidate.Rollout)
		e.Candidate.Paused = d.HasArg("paused")
	}
	for _, arg := range d.CmdArgs {
		for _, name := range arg.Vals {
			switch arg.Key {
			case "recall":
				e.Recalls = append(e.Recalls, install.Recall{Manifest: manifest(name), Artifacts: []release.Digest{artifact(name)}})
			case "hold":
				e.Holds = append(e.Holds, install.Hold{Manifest: manifest(name), Why: text(t, d, "why", "")})
			}
		}
	}
	return e
}

func (h *host) fetched(name, bytes string) install.Fetched {
	return install.Fetched{At: h.now, Manifest: manifest(name), Artifact: artifact(bytes), Serial: serial(name), Slot: install.Slot(name)}
}

func (h *host) lease(name, rollout string, valid time.Duration) install.Leased {
	lease := install.Lease{ID: "l" + name, Rollout: rollout, Manifest: manifest(name), Expires: h.now.Add(valid)}
	return install.Leased{At: h.now, Lease: lease}
}

// live installs a release with a soak of a minute.
func (h *host) live(t *testing.T, name string) string {
	for _, event := range []func() install.Event{
		func() install.Event { return install.Directed{At: h.now, Candidate: target(name)} },
		func() install.Event { return h.fetched(name, name) },
		func() install.Event { return h.lease(name, rolloutOf(name), 5*time.Minute) },
		func() install.Event { return install.Swapped{At: h.now} },
		func() install.Event { return install.Proved{At: h.now, Watch: 72 * time.Hour} },
	} {
		h.step(t, event())
		h.now = h.now.Add(15 * time.Second)
	}
	return h.describe()
}

func target(name string) *install.Target {
	if name == "" {
		return nil
	}
	return &install.Target{Version: name, Serial: serial(name), Manifest: manifest(name), Rollout: rolloutOf(name)}
}

func manifest(name string) release.Digest { return release.Digest("manifest-" + name) }
func artifact(name string) release.Digest { return release.Digest("artifact-" + name) }
func rolloutOf(name string) string        { return "r" + strings.TrimPrefix(name, "v") }

func serial(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimPrefix(name, "v"), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func text(t *testing.T, d *datadriven.TestData, key, otherwise string) string {
	d.MaybeScanArgs(t, key, &otherwise)
	return otherwise
}

func span(t *testing.T, d *datadriven.TestData, key, otherwise string) time.Duration {
	v, err := time.ParseDuration(text(t, d, key, otherwise))
	if err != nil {
		d.Fatalf(t, "%s: %v", key, err)
	}
	return v
}

func (h *host) show(effects []install.Effect) string {
	var lines []string
	for _, e := range effects {
		lines = append(lines, h.line(e))
	}
	return strings.Join(append(lines, h.describe()), "\n")
}

func (h *host) line(e install.Effect) string {
	switch e := e.(type) {
	case install.Fetch:
		line := fmt.Sprintf("fetch %s for %s", e.Target.Version, e.Target.Rollout)
		if e.NotBefore.After(h.now) {
			line += fmt.Sprintf(" in %s", e.NotBefore.Sub(h.now))
		}
		return line
	case install.Swap:
		return "swap to " + string(e.Slot)
	case install.Prove:
		return "prove"
	case install.Restore:
		return "restore " + orNone(string(e.Slot))
	case install.Report:
		line := fmt.Sprintf("report %s of %s for %s", e.Outcome, orNone(e.Release.Version), e.Release.Rollout)
		if e.Detail != "" {
			line += ": " + e.Detail
		}
		return line
	}
	return fmt.Sprintf("unknown effect %T", e)
}

// describe is the state in one line, and why it is not further in another.
func (h *host) describe() string {
	s := h.state
	var b strings.Builder
	fmt.Fprintf(&b, "%s: current=%s good=%s previous=%s next=%s", s.Phase, show(s.Current), show(s.Good), show(s.Previous), show(s.Next))
	if s.Lease != nil {
		fmt.Fprintf(&b, " lease=%s", s.Lease.ID)
	}
	if s.Paused {
		b.WriteString(" paused")
	}
	if s.Unbooted {
		b.WriteString(" unbooted")
	}
	if s.Tries > 0 {
		fmt.Fprintf(&b, " tries=%d", s.Tries)
	}
	if s.RetryAt.After(h.now) {
		fmt.Fprintf(&b, " retry=%s", s.RetryAt.Sub(h.now))
	}
	if s.Watched.After(h.now) {
		fmt.Fprintf(&b, " watched=%s", s.Watched.Sub(h.now))
	}
	if s.Why != "" {
		fmt.Fprintf(&b, "\n  why: %s", s.Why)
	}
	return b.String()
}

// show names a release; the slot of one that the machine does not know is in brackets.
func show(i install.Installed) string {
	if i.Manifest == "" && i.Slot != "" {
		return "[" + string(i.Slot) + "]"
	}
	return orNone(i.Version)
}

func (h *host) wish() string {
	rollout, digest, ok := h.state.Wish(h.now)
	if !ok {
		return "none"
	}
	return fmt.Sprintf("%s for %s", digest, rollout)
}

func (h *host) refused() string {
	var lines []string
	for _, r := range h.state.Refused {
		until := "for good"
		if !r.Until.IsZero() {
			until = "for " + r.Until.Sub(h.now).String()
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", r.Manifest, until, r.Why))
	}
	return orNone(strings.Join(lines, "\n"))
}

func join[S ~string](all []S) string {
	words := make([]string, len(all))
	for i, s := range all {
		words[i] = string(s)
	}
	return orNone(strings.Join(words, " "))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
