package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Who was revoked or removed is nowhere any more, and its silence is none.
func TestWhoEndedIsNowhere(t *testing.T) {
	t.Parallel()
	r := crowd(10, 2)
	for i := range 10 {
		r.Assign(fleet.EndpointID(fmt.Sprint("ep-", i)), int64(i+1))
	}
	r.Seen("ep-3", start())
	r.Update("ep-3", &fleet.Attributes{Site: "new"}, nil, "odd boot")
	r.End("ep-3", true, "stolen")
	r.End("ep-4", false, "scrapped")
	if why, revoked := r.Revoked("ep-3"); !revoked || why != "stolen" || r.Known("ep-3") || r.Known("ep-4") {
		t.Errorf("got revoked %v (%q), known %v and %v, want ep-3 revoked and neither known", revoked, why, r.Known("ep-3"), r.Known("ep-4"))
	}
	if _, revoked := r.Revoked("ep-4"); revoked {
		t.Error("got a removed endpoint revoked")
	}
	if got := r.Signs([]fleet.EndpointID{"ep-3", "ep-4", "ep-9"}, start().Add(time.Hour)); got[0] != registry.Left || got[1] != registry.Left || got[2] == registry.Left {
		t.Errorf("got signs %v, want those that ended to have left", got)
	}
	seen, changed := r.Flush()
	for _, e := range changed {
		if e.ID == "ep-3" {
			t.Error("got an endpoint that ended to be stored")
		}
	}
	for _, s := range seen {
		if s.Number == 4 {
			t.Error("got a time of an endpoint that ended to be stored")
		}
	}
	drawn := r.Draw(registry.Draw{Component: component, Each: 100, Fits: func(id fleet.EndpointID, _ fleet.Subject) bool {
		if id == "ep-3" || id == "ep-4" {
			t.Errorf("got %s drawn", id)
		}
		return true
	}})
	total := 0
	for _, ids := range drawn {
		total += len(ids)
	}
	census := r.Count(registry.Question{Component: component, Exposed: func(fleet.EndpointID) bool { return false }})
	if found := r.Search(registry.Search{Limit: 100}); len(found.IDs) != 8 || total != 8 || census.Eligible != 8 || r.Len() != 8 {
		t.Errorf("got %d found, %d drawn, %d counted, %d in all, want 8 of 10", len(found.IDs), total, census.Eligible, r.Len())
	}
	r.Enrol("ep-3", fleet.Subject{}, start())
	if _, revoked := r.Revoked("ep-3"); revoked || !r.Known("ep-3") || r.Len() != 9 {
		t.Errorf("got revoked %v and %d hosts after it joined again, want a new one", revoked, r.Len())
	}
}
