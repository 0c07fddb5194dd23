package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func searchBegin() time.Time { return time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC) }

// searched is a fleet of n hosts whose numbers run against the order in which they came. Every third has no number.
func searched(n int) *registry.Registry {
	r := registry.New()
	for i := n; i > 0; i-- {
		e := registry.Endpoint{
			ID: fleet.EndpointID(fmt.Sprintf("ep-%020x", i)), Number: int64(2 * i), LastSeen: searchBegin().Add(time.Duration(i) * time.Second),
			Subject:    fleet.Subject{Tenant: "acme", Attributes: fleet.Attributes{Site: fmt.Sprintf("site-%d", i%4)}},
			Components: map[string]api.Component{"sensor": {Version: fmt.Sprint(i % 2)}},
		}
		if i%3 == 0 {
			e.Number = 0
		}
		r.Put(e)
	}
	return r
}

func TestSearchPagesInTheOrderOfNumbers(t *testing.T) {
	t.Parallel()
	r := searched(3000)
	q := registry.Search{Limit: 7, Wants: func(s fleet.Subject, _ api.Component) bool { return s.Attributes.Site == "site-1" }}
	var got, want []fleet.EndpointID
	for i := 1; i <= 3000; i++ {
		if i%4 == 1 && i%3 != 0 {
			want = append(want, fleet.EndpointID(fmt.Sprintf("ep-%020x", i)))
		}
	}
	for page := 0; ; page++ {
		found := r.Search(q)
		got = append(got, found.IDs...)
		if page == 3 { // whoever joins meanwhile moves nothing
			r.Put(registry.Endpoint{ID: "ep-late", Number: 9000})
		}
		if found.Next == 0 {
			break
		}
		q.After = found.Next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all pages (-want +got):\n%s", diff)
	}
}

func TestSearchAsksForEverythingAtOnce(t *testing.T) {
	t.Parallel()
	r := searched(20)
	for name, c := range map[string]struct {
		q    registry.Search
		want int
	}{
		"all":            {registry.Search{}, 14},
		"component":      {registry.Search{Component: "sensor"}, 14},
		"no component":   {registry.Search{Component: "nginx"}, 0},
		"version":        {registry.Search{Component: "sensor", Wants: func(_ fleet.Subject, c api.Component) bool { return c.Version == "0" }}, 7},
		"prefix":         {registry.Search{Prefix: "ep-0000000000000000001"}, 4}, // 0x10 to 0x14, without 0x12
		"silent":         {registry.Search{Silent: searchBegin().Add(5 * time.Second)}, 3},
		"after the last": {registry.Search{After: 1 << 40}, 0},
	} {
		c.q.Limit = 100
		if found := r.Search(c.q); len(found.IDs) != c.want || found.Matched != int64(c.want) || !found.Ended || found.Next != 0 {
			t.Errorf("%s: got %d, %+v, want all %d", name, len(found.IDs), found, c.want)
		}
	}
}

func TestSearchCountsAndStops(t *testing.T) {
	t.Parallel()
	r := searched(3000) // numbers to 6000: six stretches
	if found := r.Search(registry.Search{Limit: 5, Count: true}); found.Matched != 2000 || len(found.IDs) != 5 || found.Next != 14 || !found.Ended {
		t.Errorf("with a count: got %+v, want 2000 of which 5 are shown, to number 14", found)
	}
	if found := r.Search(registry.Search{Limit: 5}); found.Matched != 6 || found.Next != 14 || found.Ended {
		t.Errorf("without a count: got %+v, want no more than one looked at behind the page", found)
	}
	stopped := r.Search(registry.Search{Limit: 5000, Stop: func() bool { return true }})
	if stopped.Ended || stopped.Next != 1023 || len(stopped.IDs) == 0 || len(stopped.IDs) > 512 {
		t.Errorf("stopped: got %d to %d, ended %t; want what the first stretch has", len(stopped.IDs), stopped.Next, stopped.Ended)
	}
	if rest := r.Search(registry.Search{Limit: 5000, After: stopped.Next}); len(rest.IDs)+len(stopped.IDs) != 2000 || !rest.Ended {
		t.Errorf("the rest: got %d, want the other %d", len(rest.IDs), 2000-len(stopped.IDs))
	}
}

func BenchmarkSearchAMillion(b *testing.B) {
	r := searched(1_000_000)
	for b.Loop() {
		r.Search(registry.Search{Limit: 100, Count: true, Wants: func(s fleet.Subject, _ api.Component) bool { return s.Attributes.Site == "site-1" }})
	}
}
