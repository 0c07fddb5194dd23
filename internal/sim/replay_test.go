package sim_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// entry is a step as it is stored, and the state after it.
type entry struct {
	name                 string
	event, state, effect []byte
}

func store(t *testing.T, h happening) entry {
	t.Helper()
	name, event, err := rollout.EncodeEvent(h.event)
	if err != nil {
		t.Fatal(err)
	}
	return entry{name: name, event: event, state: stored(t, h.after), effect: effectsOf(t, h.effects)}
}

func stored(t *testing.T, s rollout.State) []byte {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func effectsOf(t *testing.T, effects []rollout.Effect) []byte {
	t.Helper()
	data, err := rollout.EncodeEffects(effects)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// I10: the stored events of a simulated rollout, replayed from the zero state, give the same states and the same effects. Refusals are left
// out of the replay, because they are never stored: they change nothing.
func TestReplay(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	tripped, held, completed, amber := 0, 0, 0, 0
	for seed := range uint64(max(100, *seeds/10)) {
		var log []entry
		r := draw(t, seed).play(t, func(h happening) {
			if len(h.effects) == 1 {
				if _, refused := h.effects[0].(rollout.RefuseLease); refused {
					return
				}
			}
			for _, e := range h.effects {
				if record, ok := e.(rollout.Record); ok && record.Verdict == rollout.DidAmber {
					amber++
				}
			}
			log = append(log, store(t, h))
		})
		replay(t, seed, log)
		switch {
		case r.Halted:
			tripped++
		case r.Held > 0:
			held++
		case r.Phase == string(rollout.Complete):
			completed++
		}
	}
	if min(tripped, held, completed, amber) == 0 {
		t.Errorf("the stories prove nothing: %d tripped, %d held, %d completed, %d at amber", tripped, held, completed, amber)
	}
}

func replay(t *testing.T, seed uint64, log []entry) {
	t.Helper()
	var state rollout.State
	for k, want := range log {
		e, err := rollout.DecodeEvent(want.name, want.event)
		if err != nil {
			t.Fatalf("seed %d, event %d: %v", seed, k, err)
		}
		var effects []rollout.Effect
		state, effects = rollout.Step(state, e)
		if got := effectsOf(t, effects); !bytes.Equal(got, want.effect) {
			t.Fatalf("seed %d, event %d, %s: got effects\n%s\nwant\n%s", seed, k, want.event, got, want.effect)
		}
		if got := stored(t, state); !bytes.Equal(got, want.state) {
			t.Fatalf("seed %d, event %d, %s: got state\n%s\nwant\n%s", seed, k, want.event, got, want.state)
		}
	}
}
