package storetest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// manyEvents is how many events a rollout through a large fleet leaves behind.
const manyEvents = 1_000_000

// asked is the event of a lease, about as large as it is.
var asked = json.RawMessage(`{"at":"2026-07-19T04:09:00.123456Z","host":{"endpoint":"ep-01k0h7q2v4x8y5z6w7r8","subject":{"tenant":"acme","attributes":` +
	`{"os":"linux","version":"12","kernel":"6.1.0-18-amd64","arch":"amd64","class":"server","region":"eu","site":"graz"}},"stratum":"class server, os linux"}}`)

// BenchmarkLooks measures what people look at of a rollout with a million events, of which one in a thousand matters, and a harmed host in a
// thousand.
func BenchmarkLooks(b *testing.B, open Open) {
	s := open(b)
	grant := json.RawMessage(`[{"effect":"grant_lease","data":{"endpoint":"ep-01k0h7q2v4x8y5z6w7r8","ring":4,"issued":"2026-07-19T04:09:00.123456Z"}}]`)
	for revision := int64(0); revision < manyEvents; {
		c := commit("r1", revision+1)
		c.Events = nil
		for range 250 {
			revision++
			e := store.Event{Rollout: "r1", Revision: revision, At: now, Name: "lease_asked", Data: asked, Effects: grant}
			l := lease("r1", fleet.EndpointID(fmt.Sprintf("ep-%020x", revision)))
			if revision%1000 == 0 {
				e.Notable, l.Outcome = store.Matters, rollout.Crashed
			}
			c.Events, c.Leases = append(c.Events, e), append(c.Leases, *l)
		}
		ok(b, s.Commit(b.Context(), c))
	}
	for name, look := range map[string]func() (int, error){
		"timeline": func() (int, error) {
			all, err := s.NotableEvents(b.Context(), "r1", store.Matters, manyEvents/2, 100)
			return len(all), err
		},
		"series": func() (int, error) {
			var revisions []int64
			for i := range int64(400) {
				revisions = append(revisions, 1+i*manyEvents/400)
			}
			all, err := s.EventsAt(b.Context(), "r1", revisions)
			return len(all), err
		},
		"harmed": func() (int, error) {
			all, err := s.LeasesPage(b.Context(), "r1", "", 1000, rollout.Harmful()...)
			return len(all), err
		},
		"nothing": func() (int, error) {
			all, err := s.NotableEvents(b.Context(), "r1", store.Another, 0, 100)
			return len(all) + 1, err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if n, err := look(); n == 0 || err != nil {
					b.Fatalf("got %d, %v", n, err)
				}
			}
		})
	}
}
