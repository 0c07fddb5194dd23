package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

var update = flag.Bool("update", false, "rewrite testdata/top/*.golden")

func night() time.Time { return time.Date(2024, time.July, 19, 4, 12, 0, 0, time.UTC) }

// moving is a rollout that waits in its second ring.
func moving(id, component string, change func(*api.Rollout)) api.Rollout {
	r := api.Rollout{
		ID: id, Component: component, Version: "2024.7.19", Plan: "careful", Phase: "running", Revision: 40, Started: night().Add(-3 * time.Minute), Ring: 1,
		Rings: []api.Ring{
			{Name: "canary", Size: 2, State: "done", Leased: 2, Confirmed: 2},
			{Name: "early", Size: 40, State: "open", Leased: 12, Confirmed: 9},
			{Name: "rest", Size: 1158, State: "closed"},
		},
		Window: 8, Unconfirmed: 3, Eligible: 1200, Exposed: 14, Confirmed: 11, Evidence: 1.4, Amber: 20, Trip: 10000, Alarm: "quiet",
		Waiting: api.Waiting{Code: "evidence", Text: "ring early still has to show: bake 20s of 10m0s"},
		Missing: []api.Lack{{Name: "bake", Have: "20s", Need: "10m0s"}, {Name: "boots", Have: "4", Need: "12"}},
	}
	if change != nil {
		change(&r)
	}
	return r
}

func ended(id, component, phase string, ago time.Duration) api.Rollout {
	return moving(id, component, func(r *api.Rollout) {
		at := night().Add(-ago)
		r.Phase, r.Ended = phase, &at
		if phase == "tripped" {
			r.Harmed, r.Alarm, r.Evidence = 4, "trip", 12000
		}
	})
}

func overviewOf(rollouts ...api.Rollout) api.Overview {
	o := api.Overview{
		At: night(), Rollouts: map[string]api.Rollout{}, Incidents: map[string]api.Incident{}, Attention: map[string]api.Attention{},
		Fleet: api.FleetState{
			Endpoints: 1204, Heard: 1190, Silent: 14, AtRisk: 3, Refusing: 2,
			Versions: []api.VersionCount{{Component: "sensor-content", Version: "2024.7.18", Hosts: 1190}, {Component: "sensor-content", Version: "2024.7.19", Hosts: 14}},
		},
	}
	for _, r := range rollouts {
		o.Rollouts[r.ID] = r
		if r.Ended == nil {
			o.Running++
		}
	}
	return o
}

// busy is an overview of a bad night.
func busy() api.Overview {
	o := overviewOf(
		moving("ro-aaaaaaaaaa", "sensor-content", nil), moving("ro-bbbbbbbbbb", "nginx-config", func(r *api.Rollout) {
			r.Alarm, r.Evidence, r.Harmed, r.Rings[1].Crashed = "amber", 140, 1, 1
			r.Waiting.Text = "for the breaker: the evidence is at amber, so nobody more gets it"
		}),
		moving("ro-cccccccccc", "rules", func(r *api.Rollout) { r.Phase, r.Waiting.Text = "paused", "until somebody resumes it" }),
		ended("ro-dddddddddd", "sensor-content", "tripped", time.Hour), ended("ro-eeeeeeeeee", "rules", "complete", 2*time.Hour),
	)
	since := night().Add(-time.Hour)
	o.Attention["incident:inc-dddddddddd"] = api.Attention{
		Kind: "incident", Text: "sensor-content 2024.7.19 halted: 4 of 14 exposed hosts harmed. Look at the incident, and close it when people are done with it.",
		About: "incident", ID: "inc-dddddddddd", Since: &since,
	}
	o.Attention["amber:ro-bbbbbbbbbb"] = api.Attention{Rank: 2, Kind: "amber", Text: "nginx-config 2024.7.19 is at amber. Look whether its hosts are well.", About: "rollout"}
	o.Incidents["inc-dddddddddd"] = api.Incident{ID: "inc-dddddddddd", Title: "sensor-content 2024.7.19 halted: 4 of 14 exposed hosts harmed", Opened: since}
	return o
}

// hostile is an overview in which everybody calls things what they should not.
func hostile() api.Overview {
	const evil = "\x1b[31m\x1b[2J\x07\u202eevil\u2066\u200b z\u0300\u0301\u0302\u0303\u0304 東京 👩‍🚒\ttab\nline"
	o := overviewOf(moving("ro-\x1baaaa", evil, func(r *api.Rollout) {
		r.Version, r.Waiting.Text, r.Rings[1].Name, r.Phase, r.Alarm = evil, evil, evil, "running", evil
	}))
	o.Attention[evil] = api.Attention{Kind: evil, Text: evil}
	o.Incidents[evil] = api.Incident{ID: evil, Title: evil, Opened: night()}
	o.Freezes, o.Fleet.Versions = []string{evil}, []api.VersionCount{{Component: evil, Version: evil, Hosts: 3}}
	return o
}

func dark(width, height int) board {
	b := board{server: "fb.example.net:7080", now: night(), width: width, height: height}
	b, _ = b.begin()
	return b
}

// sees lets a board see the value of a topic.
func (b board) sees(t *testing.T, topic string, value any) board {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	b, _ = b.on(told{feed: b.feed, event: api.StreamEvent{Topic: topic, Value: data}})
	return b
}

// keys presses keys, and gives what the last one wants done.
func (b board) keys(keys ...string) (board, deed) {
	var want deed
	for _, key := range keys {
		text := ""
		if len(key) == 1 {
			text = key
		}
		b, want = b.on(pressed{key, text})
	}
	return b, want
}

func (b board) typed(keys ...string) board {
	b, _ = b.keys(keys...)
	return b
}

func timelineOf() map[string]api.Decision {
	all := map[string]api.Decision{}
	for i, reason := range []string{"alice started it", "ring canary has shown its evidence; ring early of 40 hosts is open", "\x1b]0;title\x07 ep-1 crashed"} {
		all[fmt.Sprint(i)] = api.Decision{Revision: int64(i), At: night().Add(time.Duration(i-3) * time.Minute), Records: []api.Record{{Verdict: "ring_opened", Reason: reason}}}
	}
	return all
}

// Every view fills the screen exactly, and is as it was looked at and found good.
func TestTopViews(t *testing.T) {
	t.Parallel()
	full := func(width, height int) board { return dark(width, height).sees(t, api.TopicOverview, busy()) }
	opened := func(width, height int) board {
		b := full(width, height).typed("down", "enter")
		b = b.sees(t, api.TopicRollout+b.opened, busy().Rollouts[b.opened])
		return b.sees(t, api.TopicTimeline+b.opened, timelineOf())
	}
	halted := func(state string, err error) board {
		b := full(80, 24).typed("H", "enter")
		b, _ = b.on(answered{turn: b.halt.turn, err: err, took: 12 * time.Millisecond, halted: api.Halted{InFlight: 3, Rollouts: []api.HaltedRollout{{
			ID: "ro-bbbbbbbbbb", Component: "nginx-config", Version: "2024.7.19", State: state, InFlight: 3, Text: "halted: 14 hosts have it and keep it",
		}}}})
		return b
	}
	away, _ := full(80, 24).on(told{feed: 1, err: errors.New("ask fb.example.net:7080: connection refused")})
	away, _ = away.on(ticked{night().Add(12 * time.Second)})
	stale, _ := full(80, 24).on(told{feed: 1, event: api.StreamEvent{Topic: api.TopicOverview, Stale: "look at overview: it takes longer than 2s"}})
	for name, b := range map[string]board{
		"overview_80x24": full(80, 24), "overview_120x40": full(120, 40), "overview_40x15": full(40, 15), "rollout_80x24": opened(80, 24),
		"rollout_40x15": opened(40, 15), "hostile_80x24": dark(80, 24).sees(t, api.TopicOverview, hostile()), "connecting_80x24": dark(80, 24),
		"hostile_40x15": dark(40, 15).sees(t, api.TopicOverview, hostile()), "calm_80x24": dark(80, 24).sees(t, api.TopicOverview, overviewOf()), "away_80x24": away, "stale_80x24": stale,
		"prompt_80x24": full(80, 24).typed("H"), "prompt_40x15": full(40, 15).typed("H"), "halted_80x24": halted(api.HaltDone, nil),
		"holding_80x24": halted(api.HaltHolding, nil), "unanswered_80x24": halted("", errors.New("no route to host")), "help_80x24": full(80, 24).typed("?"),
		"filter_80x24": full(80, 24).typed("/", "n", "g", "i"), "small_10x3": full(10, 3),
	} {
		lines := b.picture()
		if len(lines) != b.height && b.width >= leastWidth {
			t.Errorf("%s: got %d lines, want %d", name, len(lines), b.height)
		}
		for _, line := range lines {
			if wide(line) > b.width || strings.ContainsFunc(line, func(c rune) bool { return !unicode.IsPrint(c) && c != ' ' }) {
				t.Errorf("%s: a line is too wide or has what cannot be seen: %q", name, line)
			}
		}
		golden(t, name, strings.Join(lines, "\n")+"\n")
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "top", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// Whatever is shown, no size of the terminal breaks the screen.
func TestTopFitsEverySize(t *testing.T) {
	t.Parallel()
	for width := 1; width < 130; width += 3 {
		for height := 1; height < 45; height++ {
			b := dark(width, height).sees(t, api.TopicOverview, busy())
			for _, keys := range [][]string{{}, {"H"}, {"H", "A"}, {"?"}, {"/", "x"}, {"G"}, {"enter"}, {"enter", "G", "H"}} {
				lines := b.typed(keys...).picture()
				if len(lines) > height || slices.ContainsFunc(lines, func(line string) bool { return wide(line) > width }) {
					t.Fatalf("%d x %d after %q: the screen does not hold\n%s", width, height, keys, strings.Join(lines, "\n"))
				}
			}
		}
	}
}

// The selected rollout is always in sight.
func TestTopShowsWhatIsSelected(t *testing.T) {
	t.Parallel()
	var all []api.Rollout
	for i := range 50 {
		all = append(all, moving(fmt.Sprintf("ro-%02d", i), fmt.Sprintf("component-%02d", i), nil))
	}
	b := dark(80, 24).sees(t, api.TopicOverview, overviewOf(all...))
	for i := range 50 {
		want := fmt.Sprintf("> component-%02d", i)
		if !slices.ContainsFunc(b.picture(), func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Fatalf("rollout %d is selected and not in sight:\n%s", i, strings.Join(b.picture(), "\n"))
		}
		b = b.typed("j")
	}
	if got := b.typed("g").cursor + b.typed("g", "G").cursor; got != "ro-00ro-49" {
		t.Errorf("got %s, want the first and the last", got)
	}
}

func TestTopOpensAndLeavesARollout(t *testing.T) {
	t.Parallel()
	b := dark(80, 16).sees(t, api.TopicOverview, busy())
	b, want := b.keys("j", "enter")
	if diff := cmp.Diff(deed(follow{2, []string{"overview", "rollout:ro-aaaaaaaaaa", "timeline:ro-aaaaaaaaaa"}}), want, cmp.AllowUnexported(follow{})); diff != "" {
		t.Errorf("open (-want +got):\n%s", diff)
	}
	old, _ := b.on(told{feed: 1, err: errors.New("cut")})
	if old.err != nil {
		t.Error("a stream that was left still counts")
	}
	gone, _ := b.on(told{feed: 2, event: api.StreamEvent{Topic: "rollout:ro-aaaaaaaaaa", Gone: "there is no rollout ro-aaaaaaaaaa"}})
	if text := strings.Join(gone.picture(), "\n"); !strings.Contains(text, "there is no rollout ro-aaaaaaaaaa") {
		t.Errorf("got %s, want that it is gone", text)
	}
	b = b.sees(t, api.TopicTimeline+b.opened, timelineOf())
	for range 100 {
		b = b.typed("j")
	}
	if b.scroll != b.scrollable() || b.scroll == 0 {
		t.Errorf("scrolled by %d lines, want to the end, which is %d", b.scroll, b.scrollable())
	}
	b, want = b.keys("esc")
	if next, ok := want.(follow); !ok || !slices.Equal(next.topics, []string{"overview"}) || b.cursor != "ro-aaaaaaaaaa" || b.scroll != 0 {
		t.Errorf("got %v with the cursor on %s, want the overview with the cursor where it was", want, b.cursor)
	}
}

func TestTopFilters(t *testing.T) {
	t.Parallel()
	b := dark(80, 24).sees(t, api.TopicOverview, busy())
	for filter, want := range map[string]int{"": 5, "rules": 2, "rules paused": 1, "AMBER": 1, "ro-a": 1, "nothing": 0} {
		found := b.typed("/")
		found, _ = found.on(pressed{text: filter})
		if got := len(found.typed("enter").rollouts()); got != want {
			t.Errorf("%q: got %d rollouts, want %d", filter, got, want)
		}
	}
	if got := b.typed("/", "x", "q", "backspace", "backspace", "backspace", "H", "enter").filter; got != "H" {
		t.Errorf("got filter %q, want H: letters are letters while somebody types", got)
	}
	if got := b.typed("/", "x", "enter", "esc").filter; got != "" {
		t.Errorf("got filter %q, want none", got)
	}
}

func TestTopHaltsTheSelectedOneOrAll(t *testing.T) {
	t.Parallel()
	b := dark(80, 24).sees(t, api.TopicOverview, busy())
	for _, c := range []struct {
		keys []string
		want []string
	}{{[]string{"j", "H", "enter"}, []string{"ro-aaaaaaaaaa"}}, {[]string{"enter", "H", "enter"}, []string{"ro-bbbbbbbbbb"}}, {[]string{"H", "A"}, nil}} {
		_, want := b.keys(c.keys...)
		send, ok := want.(sendHalt)
		if !ok || !slices.Equal(send.want.Rollouts, c.want) || send.after != 0 {
			t.Errorf("%v: got %+v, want that %v is halted at once", c.keys, want, c.want)
		}
	}
	if send, ok := last(dark(80, 24).keys("H", "enter")).(sendHalt); !ok || send.want.Rollouts != nil {
		t.Error("everything cannot be halted while the live view is not there")
	}
	for _, keys := range [][]string{{"H", "esc", "enter"}, {"H", "a"}, {"H", "x", "esc"}, {"h", "A"}, {"enter"}} {
		if want := last(b.keys(keys...)); isHalt(want) {
			t.Errorf("%v: got %+v, want no halt", keys, want)
		}
	}
	asked := b.typed("H").sees(t, api.TopicOverview, overviewOf(moving("ro-zzzzzzzzzz", "another", func(r *api.Rollout) { r.Alarm = "amber" })))
	if send, _ := last(asked.keys("enter")).(sendHalt); !slices.Equal(send.want.Rollouts, []string{"ro-bbbbbbbbbb"}) {
		t.Errorf("got %v, want what the question was about, whatever came in between", send)
	}
}

func last(_ board, want deed) deed { return want }

func isHalt(want deed) bool {
	_, yes := want.(sendHalt)
	return yes
}

func TestTopAsksForAHaltUntilItIsStored(t *testing.T) {
	t.Parallel()
	b, _ := dark(80, 24).sees(t, api.TopicOverview, busy()).keys("H", "A")
	say := func(err error, rollouts ...api.HaltedRollout) deed {
		var want deed
		all := api.Halted{Rollouts: rollouts}
		for _, r := range rollouts {
			all.InFlight += r.InFlight
		}
		b, want = b.on(answered{turn: b.halt.turn, err: err, halted: all})
		return want
	}
	if send, ok := say(fault.New(fault.Unavailable, "away")).(sendHalt); !ok || send.want.Rollouts != nil || send.after != haltBetween {
		t.Errorf("got %+v, want everything asked for again", send)
	}
	want := say(nil, api.HaltedRollout{ID: "a", State: api.HaltDone}, api.HaltedRollout{ID: "b", State: api.HaltHolding, Was: "running", InFlight: 2})
	if send, ok := want.(sendHalt); !ok || !slices.Equal(send.want.Rollouts, []string{"b"}) {
		t.Errorf("got %+v, want what is not stored asked for again, and nothing that began later", want)
	}
	if got := b.halt.headline(); got != "1 rollout halted and 1 held, nobody gets a lease any more; 2 hosts are still in flight (answered in 0 ms)" {
		t.Error(got)
	}
	if want := say(nil, api.HaltedRollout{ID: "b", State: api.HaltEnded, InFlight: 2}); want != nil || !b.halt.done {
		t.Errorf("got %+v, want it done", want)
	}
	if got := b.halt.headline(); !strings.HasPrefix(got, "2 rollouts halted; 2 hosts are still in flight") {
		t.Errorf("got %s, want both halted: what was held and has ended was ended by us", got)
	}
	b = b.typed("H", "A")
	if want := say(fault.New(fault.Denied, "the token is not valid")); want != nil || b.halt.headline() != "The halt of everything was refused" {
		t.Errorf("got %v and %s, want that it is refused and not tried again", want, b.halt.headline())
	}
	if after, again := b.on(answered{turn: 1}); again != nil || after.halt != b.halt {
		t.Error("the answer to an older halt counts")
	}
}

func TestTopLeavesButNotAnUnansweredHalt(t *testing.T) {
	t.Parallel()
	b := dark(80, 24).sees(t, api.TopicOverview, busy())
	for _, key := range []string{"q", "ctrl+c"} {
		if _, ok := last(b.keys(key)).(leave); !ok {
			t.Errorf("%s does not leave", key)
		}
	}
	b = b.typed("H", "enter")
	b, want := b.keys("q")
	if want != nil || !strings.Contains(strings.Join(b.picture(), "\n"), "q again leaves") {
		t.Errorf("got %v, want to be asked", want)
	}
	if _, ok := last(b.keys("q")).(leave); !ok {
		t.Error("the second q does not leave")
	}
	if last(b.keys("j", "q")) != nil {
		t.Error("q after something else leaves at once")
	}
}

func TestTopTellsHowTheStreamIs(t *testing.T) {
	t.Parallel()
	b := dark(80, 24)
	head := func() string { return b.picture()[0] }
	if !strings.Contains(head(), "connecting") {
		t.Errorf("got %s, want connecting", head())
	}
	b = b.sees(t, api.TopicOverview, busy())
	if !strings.Contains(head(), "live 04:12:00 UTC") {
		t.Errorf("got %s, want live", head())
	}
	b, _ = b.on(told{feed: b.feed, event: api.StreamEvent{Topic: api.TopicOverview, Stale: "slow"}})
	if !strings.Contains(head(), "may be old") {
		t.Errorf("got %s, want that it may be old", head())
	}
	b, _ = b.on(told{feed: b.feed, event: api.StreamEvent{Topic: api.TopicOverview}})
	if !strings.Contains(head(), "live 04:12:00") {
		t.Errorf("got %s, want live again", head())
	}
	b, _ = b.on(told{feed: b.feed, err: errors.New("cut")})
	b, _ = b.on(ticked{night().Add(3 * time.Second)})
	b, _ = b.on(told{feed: b.feed, err: errors.New("refused")})
	b, _ = b.on(ticked{night().Add(65 * time.Second)})
	if !strings.Contains(head(), "reconnecting for 1m05s") || b.overview == nil {
		t.Errorf("got %s, want for how long it has been away, and what was known", head())
	}
	_, want := b.on(told{feed: b.feed, over: true})
	if end, ok := want.(leave); !ok || end.err == nil {
		t.Errorf("got %v, want to leave with what the control plane said", want)
	}
}

func TestCleanShowsWhatHides(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain":                       "plain",
		"Zürich 東京":                   "Zürich 東京",
		"\x1b[2Jx\r\ny\tz":            "\ufffd[2Jx  y z",
		"\u202eabc\u2066\u200b\u200f": "\ufffdabc\ufffd\ufffd\ufffd",
		"z\u0300\u0301\u0302\u0303":   "z\u0300\u0301",
		"\xff\u009b31m":               "\ufffd\ufffd31m",
		"a\u00a0b\u2028c\ufe0f":       "a b c",
	} {
		if got := clean(text); got != want {
			t.Errorf("clean(%q): got %q, want %q", text, got, want)
		}
	}
}

func TestShortenedNamesKeepTheirEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"sensor-content-eu", 20, "sensor-content-eu"}, {"sensor-content-eu", 10, "senso…t-eu"}, {"東京東京東京", 7, "東…京"}, {"abc", 1, "…"}, {"abc", 0, "…"},
	} {
		if got := middle(c.text, c.width); got != c.want {
			t.Errorf("middle(%q, %d): got %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
