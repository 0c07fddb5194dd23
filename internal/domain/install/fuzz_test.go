package install_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// maxState is the room that the agent's journal leaves for the state of one component.
const maxState = 64 << 10

// FuzzStep lives the life that the bytes choose, with texts and recalls of any length in it. Whatever happens, the machine goes on, its
// state stays small and reads back as it was, and a known phase is shown.
func FuzzStep(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("a life that the bytes of this sentence choose, and a second one"))
	f.Add(bytes.Repeat([]byte{0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233}, 40))
	f.Add(bytes.Repeat([]byte{255, 6, 0, 9, 0}, 60))
	f.Fuzz(func(t *testing.T, data []byte) {
		tape := data[:min(len(data), 1024)]
		s := begin(func(n int) int {
			if len(tape) == 0 {
				return 0
			}
			b := tape[0]
			tape = tape[1:]
			return int(b) % n
		})
		for len(tape) > 0 {
			s.next(t)
			if s.pick(8) == 7 {
				s.step(t, s.oddity(data))
			}
			small(t, s.state)
		}
	})
}

// oddity is an event with a long text or many recalls.
func (s *story) oddity(data []byte) install.Event {
	words := strings.Repeat(string(data), 1+s.pick(20))
	switch s.pick(6) {
	case 0:
		return install.Failed{At: s.now, Manifest: s.state.Next.Manifest, Why: words, Final: true}
	case 1:
		return install.Broke{At: s.now, Why: words}
	case 2:
		return install.SwapFailed{At: s.now, Why: words}
	case 3:
		return install.Unfit{At: s.now, Why: words}
	case 4:
		return flood(s.now, 1+s.pick(256))
	}
	return nil // there is no such event
}

// flood recalls many releases that were never here, of many platforms each.
func flood(now time.Time, n int) install.Directed {
	e := install.Directed{At: now}
	for i := range n {
		r := install.Recall{Manifest: release.DigestOf([]byte{1, byte(i)})}
		for platform := range byte(8) {
			r.Artifacts = append(r.Artifacts, release.DigestOf([]byte{2, byte(i), platform}))
		}
		e.Recalls = append(e.Recalls, r)
	}
	return e
}

func small(t testing.TB, s install.State) {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("encode the state: %v", err)
	}
	if len(data) >= maxState {
		t.Fatalf("the state has %d bytes, want less than %d", len(data), maxState)
	}
	var again install.State
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatalf("decode the state: %v", err)
	}
	if diff := cmp.Diff(encode(t, s), encode(t, again)); diff != "" {
		t.Fatalf("the state changed on its way to the journal and back (-was +is):\n%s", diff)
	}
	switch s.Phase {
	case install.Idle, install.Fetching, install.Ready, install.Activating, install.Proving, install.Reverting, install.Recovering:
	default:
		t.Fatalf("there is no phase %q", s.Phase)
	}
}
