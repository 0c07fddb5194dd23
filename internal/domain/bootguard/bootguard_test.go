package bootguard_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestScenarios plays the files of testdata, one behaviour a file. Commands (every one takes t=1h, the time since the one before):
//
//	sync                          what follows, one entry a line: name current=v2 [good=v1] [older=v0] [factory=f] [pending] [age=1h] [nodir]
//	boot [dumps=(a,b)] [watchdog] [fails=(name,slot,...)] [stuck=(name,...)] [clock=1970] [shows=(name,slot)] [saved=no]
//	stage [the same]              the second stage of the same boot
//	boots n=3                     that many boots, and only the last is printed
//	judged [worse=(dns,...)]      the boot was judged, and in what it is worse
//	bless; planned; overdue; take
//	asked level=1
//
// A boot carries its effects out on the model of the disk, unless they are told to fail; saved=no forgets what became of them, as if the
// guard was killed. Run with -rewrite to accept what is printed, and read the diff.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			h := &host{now: epoch, disk: map[string]string{}}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return h.run(t, d) })
		})
	}
}

// host is the caller of Step: a disk in memory on which current changes only when a GoBack is carried out.
type host struct {
	state   bootguard.State
	now     time.Time
	boots   int
	disk    map[string]string
	fails   []string // slots, or all of a component, that are not there
	stuck   []string // components whose directory cannot be changed
	killed  bool
	effects []bootguard.Effect // of the newest event and what followed from it
}

// failer is a test, of the kind of package testing or of package rapid.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// step applies an event, and looks that the state it is applied to stays as it was.
func (h *host) step(t failer, e bootguard.Event) []bootguard.Effect {
	t.Helper()
	was := encode(t, h.state)
	next, effects := bootguard.Step(h.state, e)
	if is := encode(t, h.state); is != was {
		t.Fatalf("Step changed the state that it was given, on %#v, from\n%s\nto\n%s", e, was, is)
	}
	h.state = next
	return effects
}

// play applies an event and carries out what follows.
func (h *host) play(t failer, e bootguard.Event) {
	t.Helper()
	h.effects = nil
	for queue := h.step(t, e); len(queue) > 0; queue = queue[1:] {
		h.effects = append(h.effects, queue[0])
		g, ok := queue[0].(bootguard.GoBack)
		if !ok {
			continue
		}
		var end bootguard.Event = bootguard.Went{Component: g.Component}
		if slices.Contains(h.fails, g.Component) || slices.Contains(h.fails, g.To) {
			end = bootguard.Failed{Component: g.Component, Why: "no such slot", Gone: true}
		} else if slices.Contains(h.stuck, g.Component) {
			end = bootguard.Failed{Component: g.Component, Why: "input/output error"}
		} else {
			h.disk[g.Component] = g.To
		}
		if !h.killed {
			queue = append(queue, h.step(t, end)...)
		}
	}
}

func (h *host) run(t *testing.T, d *datadriven.TestData) string {
	h.now = h.now.Add(span(t, d))
	h.effects = nil
	switch d.Cmd {
	case "sync":
		h.play(t, bootguard.Synced{Entries: h.entries(t, d)})
	case "boots":
		var n int
		d.ScanArgs(t, "n", &n)
		for range n {
			h.boots++
			h.play(t, h.booted(t, d))
		}
	case "boot":
		h.boots++
		h.play(t, h.booted(t, d))
	case "stage":
		h.play(t, h.booted(t, d))
	case "bless":
		h.play(t, bootguard.Blessed{Boot: h.id(), Dumps: words(d, "dumps")})
	case "judged":
		h.play(t, bootguard.Judged{Boot: h.id(), Dumps: words(d, "dumps"), Worse: words(d, "worse")})
	case "planned":
		h.play(t, bootguard.Planned{})
	case "overdue":
		h.play(t, bootguard.Overdue{Boot: h.id()})
	case "take":
		h.play(t, bootguard.Taken{Undone: h.state.Undone})
	case "asked":
		var level int
		d.ScanArgs(t, "level", &level)
		h.play(t, bootguard.Asked{Level: level, At: h.now, Shows: h.disk, Verdict: bootguard.Crash})
	default:
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	return h.show()
}

func (h *host) id() string { return fmt.Sprintf("b%d", h.boots) }

func (h *host) booted(t *testing.T, d *datadriven.TestData) bootguard.Booted {
	h.fails, h.stuck, h.killed = words(d, "fails"), words(d, "stuck"), d.HasArg("saved")
	e := bootguard.Booted{Boot: h.id(), At: h.now, Watchdog: d.HasArg("watchdog"), Dumps: words(d, "dumps"), Shows: h.disk}
	if d.HasArg("clock") {
		e.At = time.Unix(0, 0)
	}
	if shows := words(d, "shows"); len(shows) == 2 {
		h.disk[shows[0]] = shows[1]
	}
	return e
}

func (h *host) entries(t *testing.T, d *datadriven.TestData) []bootguard.Entry {
	var all []bootguard.Entry
	for line := range strings.Lines(d.Input) {
		fields := strings.Fields(line)
		e := bootguard.Entry{Component: fields[0], Kind: "content", Dir: "/c/" + fields[0], At: h.now}
		for _, field := range fields[1:] {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "current":
				e.Current, h.disk[e.Component] = value, value
			case "good":
				e.Good = value
			case "older":
				e.Older = value
			case "factory":
				e.Factory = value
			case "pending":
				e.Pending = true
			case "nodir":
				e.Dir = ""
			case "age":
				age, err := time.ParseDuration(value)
				if err != nil {
					t.Fatal(err)
				}
				e.At = h.now.Add(-age)
			default:
				t.Fatalf("unknown word %s", field)
			}
		}
		all = append(all, e)
	}
	return all
}

func words(d *datadriven.TestData, key string) []string {
	for _, arg := range d.CmdArgs {
		if arg.Key == key {
			return arg.Vals
		}
	}
	return nil
}

func span(t *testing.T, d *datadriven.TestData) time.Duration {
	text := "1m"
	d.MaybeScanArgs(t, "t", &text)
	v, err := time.ParseDuration(text)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return v
}

func (h *host) show() string {
	var b strings.Builder
	for _, effect := range h.effects {
		switch e := effect.(type) {
		case bootguard.GoBack:
			fmt.Fprintf(&b, "level %d: %s goes back to %q\n", e.Level, e.Component, e.To)
		case bootguard.SafeMode:
			b.WriteString("safe mode\n")
		case bootguard.Reboot:
			b.WriteString("reboot\n")
		}
	}
	s := h.state
	fmt.Fprintf(&b, "boots=%d level=%d pending=%v", s.Boots, s.Level, s.Pending())
	if s.Judged > 0 {
		fmt.Fprintf(&b, " judged=%d", s.Judged)
	}
	if s.Excused > 0 {
		fmt.Fprintf(&b, " excused=%d", s.Excused)
	}
	if s.Planned {
		b.WriteString(" planned")
	}
	if s.Forced > 0 {
		fmt.Fprintf(&b, " forced=%d", s.Forced)
	}
	if len(s.Owed) > 0 {
		fmt.Fprintf(&b, " owed=%d", len(s.Owed))
	}
	for _, u := range s.Undone {
		fmt.Fprintf(&b, "\n  undone %s %q -> %q, level %d, %s: %s", u.Component, u.From, u.To, u.Level, u.Verdict, u.Why)
	}
	for _, trouble := range s.Trouble {
		fmt.Fprintf(&b, "\n  trouble: %s", trouble)
	}
	return b.String()
}

func encode(t failer, s bootguard.State) string {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("encode the state: %v", err)
	}
	return string(data)
}

func decode(t failer, data string) bootguard.State {
	t.Helper()
	var s bootguard.State
	if err := json.Unmarshal([]byte(data), &s); err != nil {
		t.Fatalf("decode the state: %v", err)
	}
	return s
}
