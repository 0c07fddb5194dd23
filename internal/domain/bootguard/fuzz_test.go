package bootguard_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
)

// FuzzStep begins with any state and lives the life that the bytes choose, with texts of any length in it. Whatever happens, the state
// stays small and reads back as it was.
func FuzzStep(f *testing.F) {
	f.Add([]byte(`{"boots":3,"entries":[{"component":"a","dir":"/a","current":"2","good":"1","pending":true}]}`), "\x00\x00<&>")
	f.Add([]byte(`{"boots":-3,"level":99,"owed":[{"component":"b"}],"undone":[{"level":-1}]}`), strings.Repeat("\\\"", 90))
	f.Add([]byte(`{}`), strings.Repeat("é\u2028", 400))
	f.Fuzz(func(t *testing.T, start []byte, text string) {
		var s bootguard.State
		_ = json.Unmarshal(start, &s)
		tape := start[:min(len(start), 60)]
		for i, b := range tape {
			s, _ = bootguard.Step(s, odd(s, b, i, text))
		}
		small(t, s)
	})
}

// odd is an event with long texts, or with many of them.
func odd(s bootguard.State, b byte, i int, text string) bootguard.Event {
	text = text[min(len(text), i%7):min(len(text), 2000)]
	var entries []bootguard.Entry
	var undone []bootguard.Undone
	for n := range int(b) % 90 {
		name := string(rune('a'+n%26)) + text[:min(len(text), n)]
		entries = append(entries, bootguard.Entry{
			Component: name, Dir: text, Current: text, Good: name, Older: text, Pending: n%2 == 0, At: time.Unix(int64(b)<<40, 5),
		})
		undone = append(undone, bootguard.Undone{Component: name, From: text, To: text, Why: text})
	}
	many := strings.SplitAfter(text, "\\")
	switch b % 11 {
	case 0:
		return bootguard.Synced{Entries: entries}
	case 1:
		return bootguard.Booted{Boot: text + string(rune(b)), Dumps: many, Shows: map[string]string{"a": text}}
	case 2:
		return bootguard.Blessed{Boot: text, Dumps: many, Baseline: bootguard.Health{Failed: many, Listed: true, Route: bootguard.Answer(text)}}
	case 3:
		return bootguard.Noted{Undone: bootguard.Undone{Component: text, Why: text, At: time.Unix(1<<50, 0)}}
	case 4:
		return bootguard.Failed{Component: string(rune(b)), Why: text, Gone: i%2 == 0}
	case 5:
		return bootguard.Taken{Undone: undone}
	case 6:
		return bootguard.Went{Component: text}
	case 7:
		return bootguard.Asked{Level: int(b) - 100}
	case 9:
		return bootguard.Judged{Boot: text, Dumps: many, Baseline: bootguard.Health{Failed: many, Listed: true}}
	case 8:
		return bootguard.Overdue{Boot: text}
	}
	return nil // there is no such event
}

func small(t testing.TB, s bootguard.State) {
	t.Helper()
	data := encode(t, s)
	if len(data) >= bootguard.MaxState {
		t.Fatalf("the state has %d bytes, want less than %d", len(data), bootguard.MaxState)
	}
	if diff := cmp.Diff(data, encode(t, decode(t, data))); diff != "" {
		t.Fatalf("the state changed on its way to the file and back (-was +is):\n%s", diff)
	}
}

// As many components as fit, with texts as long as they may be, are all gone back from: none is forgotten for want of room, and neither
// is what it was.
func TestNoWayBackIsForgottenForWantOfRoom(t *testing.T) {
	t.Parallel()
	for _, length := range []int{0, 20, 60, 100} {
		var entries []bootguard.Entry
		shows := map[string]string{}
		for i := range bootguard.MaxEntries {
			name := strings.Repeat(`"`, i%8) + string(rune('A'+i/8)) + strings.Repeat("x", i%8)
			e := bootguard.Entry{
				Component: name, Kind: "content", Dir: "/" + strings.Repeat("d", length), Current: "new" + strings.Repeat(`"`, length),
				Good: "old" + strings.Repeat(`\`, length), Pending: true, At: epoch,
			}
			if bootguard.Fits(append(entries, e)) == nil {
				entries, shows[name] = append(entries, e), strings.Repeat(`"`, 128)
			}
		}
		s := decode(t, `{"boots":3,"undone":[{"component":"before","why":"`+strings.Repeat("y", 100)+`"}]}`)
		s, _ = bootguard.Step(s, bootguard.Synced{Entries: entries})
		s, effects := bootguard.Step(s, bootguard.Booted{Boot: "b", Shows: shows})
		if len(effects) != len(entries) || len(s.Owed) != len(entries) {
			t.Errorf("got %d ways back and %d owed, want %d", len(effects), len(s.Owed), len(entries))
		}
		small(t, s)
		for _, e := range entries {
			s, _ = bootguard.Step(s, bootguard.Went{Component: e.Component})
			small(t, s)
		}
		if len(s.Owed) != 0 || len(s.Undone) < len(entries) {
			t.Errorf("got %d owed and %d undone, want 0 and %d", len(s.Owed), len(s.Undone), len(entries))
		}
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	ordinary := make([]bootguard.Entry, 0, bootguard.MaxEntries+1)
	for i := range bootguard.MaxEntries {
		name := fmt.Sprint("sensor-content-", i)
		slot := "2026.3.1-0123456789ab"
		ordinary = append(ordinary, bootguard.Entry{
			Component: name, Kind: "content", Dir: "/var/lib/firebreak-agent/components/" + name, Current: slot, Good: slot, Older: slot,
			Pending: true, At: epoch, Boot: "01234567-89ab-cdef-0123-456789abcdef",
		})
	}
	long := strings.Repeat("x", 200)
	for name, test := range map[string]struct {
		entries []bootguard.Entry
		fits    bool
	}{
		"none":                      {nil, true},
		"as many as there may be":   {ordinary, true},
		"too many":                  {append(ordinary, bootguard.Entry{Component: "z"}), false},
		"without a name":            {[]bootguard.Entry{{Dir: "/x"}}, false},
		"twice":                     {[]bootguard.Entry{{Component: "a"}, {Component: "a"}}, false},
		"a slot that is too long":   {[]bootguard.Entry{{Component: "a", Good: long}}, false},
		"a slot that is not text":   {[]bootguard.Entry{{Component: "a", Good: "\xff"}}, false},
		"a path with a line's end":  {[]bootguard.Entry{{Component: "a", Dir: "/a\n"}}, false},
		"a path that is not a text": {[]bootguard.Entry{{Component: "a", Dir: "\x00"}}, false},
	} {
		if err := bootguard.Fits(test.entries); (err == nil) != test.fits {
			t.Errorf("%s: got %v, want that it fits: %t", name, err, test.fits)
		}
		if s, _ := bootguard.Step(bootguard.State{}, bootguard.Synced{Entries: test.entries}); test.fits && len(s.Entries) != len(test.entries) {
			t.Errorf("%s: got %d entries, want %d", name, len(s.Entries), len(test.entries))
		}
	}
}
