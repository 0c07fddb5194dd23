package agent

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
)

// listener is a control plane that takes in check-ins, and acknowledges their reports.
type listener struct {
	Uplink
	heard []api.CheckIn
	err   error
}

func (l *listener) CheckIn(_ context.Context, body api.CheckIn) (api.CheckInReply, error) {
	l.heard = append(l.heard, body)
	reply := api.CheckInReply{}
	for _, r := range body.Reports {
		reply.Ack = r.Seq
	}
	return reply, l.err
}

// An agent that stops says so once, whether it has anything to report or not, and asks for nothing.
func TestLeaving(t *testing.T) {
	t.Parallel()
	for _, reports := range []int{0, 1, sendAtOnce + 1} {
		up := &listener{}
		a := newAgent(t, &paper{})
		a.Uplink, a.told = up, telling{started: true, numbered: true}
		a.memory.Components[sensor] = install.State{Component: sensor, Phase: install.Ready}
		for range reports {
			a.memory.add(api.Report{Component: sensor, Outcome: "goodbye"})
		}
		a.leave(t.Context())
		for _, body := range up.heard {
			if !body.Leaving || len(body.Wishes) > 0 || body.Components != nil {
				t.Errorf("%d reports: got check-in %+v, want that it leaves and nothing else but reports", reports, body)
			}
		}
		if want := reports/sendAtOnce + 1; len(up.heard) != want || len(a.memory.Reports) != 0 {
			t.Errorf("%d reports: got %d check-ins and %d reports left, want %d and none", reports, len(up.heard), len(a.memory.Reports), want)
		}
	}
}

// A control plane that does not answer is told once and not waited for; what it was not told is kept.
func TestLeavingUnheard(t *testing.T) {
	t.Parallel()
	up := &listener{err: errors.New("no route")}
	a := newAgent(t, &paper{})
	a.Uplink, a.told = up, telling{started: true, numbered: true}
	a.memory.add(api.Report{Component: sensor, Outcome: "goodbye"})
	a.leave(t.Context())
	if diff := cmp.Diff(1, len(up.heard)); diff != "" || len(a.memory.Reports) != 1 {
		t.Errorf("got %d check-ins and %d reports left, want 1 and 1", len(up.heard), len(a.memory.Reports))
	}
}
