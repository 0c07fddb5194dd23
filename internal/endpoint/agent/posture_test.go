package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
)

// The posture is told first after a start, when it changed, and when the control plane wants to know everything; a host is not looked at
// with every check-in.
func TestPostureIsToldWhenItChanged(t *testing.T) {
	t.Parallel()
	now := clock.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	looks, seen := 0, api.Posture{Have: []string{"good"}, Missing: []string{"guard"}}
	a := newAgent(t, &paper{})
	a.Clock, a.Posture = now, func() api.Posture { looks++; return seen }
	check := func(when string, resync, want bool, wantLooks int) {
		t.Helper()
		a.lookRound()
		body, _ := a.compose()
		if (body.Posture != nil) != want || looks != wantLooks {
			t.Errorf("%s: got posture %+v after %d looks, want it told: %v, after %d", when, body.Posture, looks, want, wantLooks)
		}
		if want && cmp.Diff(&seen, body.Posture) != "" {
			t.Errorf("%s: got %+v, want %+v", when, body.Posture, seen)
		}
		if again, _ := a.compose(); cmp.Diff(body.Posture, again.Posture) != "" {
			t.Errorf("%s: got %+v after a check-in that nobody acknowledged, want it told again", when, again.Posture)
		}
		a.acknowledged(t.Context(), body, api.CheckInReply{Resync: resync})
	}
	check("at the start", false, true, 1)
	check("at once again", true, false, 1) // the control plane lost what it knew
	check("it asks for everything", false, true, 1)
	seen = api.Posture{Have: []string{"good", "guard"}}
	now.Move(lookAgain - time.Second)
	check("before the next look", false, false, 1)
	now.Move(time.Second)
	check("it changed", false, true, 2)
	now.Move(time.Hour)
	check("it did not change", false, false, 3)
	now.Move(-2 * time.Hour)
	check("the clock was put back", false, false, 4)
	none := newAgent(t, &paper{})
	none.lookRound()
	if body, _ := none.compose(); body.Posture != nil {
		t.Errorf("got posture %+v of an agent that does not look, want none", body.Posture)
	}
}
