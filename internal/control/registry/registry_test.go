package registry_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

const component = "sensor-content"

func start() time.Time { return time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC) }

func has(names ...string) map[string]api.Component {
	all := map[string]api.Component{}
	for _, name := range names {
		all[name] = api.Component{Kind: "content", Phase: "idle"}
	}
	return all
}

// host makes an endpoint of a tenant and a site that has the component.
func host(id fleet.EndpointID, tenant fleet.TenantID, site string) registry.Endpoint {
	return registry.Endpoint{
		ID: id, Subject: fleet.Subject{Tenant: tenant, Attributes: fleet.Attributes{Site: site}}, Enrolled: start(), LastSeen: start(),
		Components: has(component),
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	r := registry.New()
	r.Put(host("ep-1", "acme", "graz"))
	r.Put(host("ep-2", "acme", "linz"))
	r.Put(host("ep-3", "acme", "graz"))
	other := host("ep-4", "acme", "graz")
	other.Components = has("nginx-config")
	r.Put(other)
	exposed := func(ids ...fleet.EndpointID) func(fleet.EndpointID) bool {
		return func(id fleet.EndpointID) bool { return slices.Contains(ids, id) }
	}
	for _, c := range []struct {
		name    string
		since   time.Time
		exposed func(fleet.EndpointID) bool
		ring    fleet.Selector
		want    registry.Census
	}{
		{"all", start(), exposed(), nil, registry.Census{Eligible: 3, Remaining: 3, Available: 3}},
		{"one site", start(), exposed(), fleet.Selector{"site": {"graz"}}, registry.Census{Eligible: 3, Remaining: 3, Available: 2}},
		{"one exposed", start(), exposed("ep-1"), fleet.Selector{"site": {"graz"}}, registry.Census{Eligible: 3, Remaining: 2, Available: 1}},
		{"not heard", start().Add(time.Second), exposed(), nil, registry.Census{}},
		{"exposed and not heard", start().Add(time.Second), exposed("ep-1", "ep-4"), nil, registry.Census{Eligible: 1}},
	} {
		got := r.Count(registry.Question{Component: component, Since: c.since, Exposed: c.exposed, Ring: c.ring})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	r := registry.New()
	r.Put(host("ep-1", "acme", "graz"))
	r.Put(host("ep-2", "acme", "linz"))
	r.Put(host("ep-3", "globex", "graz"))
	if got := r.Sizes(component); got.Fleet != 3 || got.Tenants["acme"] != 2 || got.Sites["graz"] != 2 {
		t.Errorf("got %+v, want 3 in all, 2 in acme, 2 in graz", got)
	}
	if got := r.Sizes("other"); got.Fleet != 0 || got.Tenants["acme"] != 0 || got.Sites["graz"] != 0 {
		t.Errorf("got %+v of another component, want none", got)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	at := &fleet.Attributes{Site: "graz"}
	for _, c := range []struct {
		name       string
		attributes *fleet.Attributes
		components map[string]api.Component
		boot       string
		synced     bool
		changed    bool
	}{
		{"nothing", nil, nil, "", false, false},
		{"the same attributes", at, nil, "", false, false},
		{"other attributes", &fleet.Attributes{Site: "linz"}, nil, "", false, true},
		{"the same components", nil, has(component), "", true, false},
		{"other components", nil, has("other"), "", true, true},
		{"no components", nil, has(), "", true, true},
		{"the same boot", nil, nil, "boot-1", true, false},
		{"another boot", nil, nil, "boot-2", true, true},
	} {
		r := registry.New()
		e := host("ep-1", "acme", "graz")
		e.Boot = "boot-1"
		r.Put(e)
		r.Update("ep-1", c.attributes, c.components, c.boot)
		r.Update("ep-unknown", c.attributes, c.components, c.boot)
		got, _ := r.Get("ep-1")
		_, changed := r.Flush()
		if got.Synced != c.synced || (len(changed) == 1) != c.changed {
			t.Errorf("%s: got synced %v, %d changed, want %v, %v", c.name, got.Synced, len(changed), c.synced, c.changed)
		}
	}
}

// What an endpoint sent is copied: the sender may change its own map.
func TestUpdateCopies(t *testing.T) {
	t.Parallel()
	r := registry.New()
	r.Put(host("ep-1", "acme", "graz"))
	sent := has("other")
	r.Update("ep-1", nil, sent, "")
	delete(sent, "other")
	if got, _ := r.Get("ep-1"); len(got.Components) != 1 {
		t.Errorf("got components %v, want what was sent", got.Components)
	}
}

func TestEnrolAgainKeepsWhatIsKnown(t *testing.T) {
	t.Parallel()
	r := registry.New()
	r.Enrol("ep-1", fleet.Subject{Tenant: "acme"}, start())
	r.Update("ep-1", nil, has(component), "boot-1")
	r.Report("ep-1", 7)
	r.Report("ep-1", 5)
	r.Enrol("ep-1", fleet.Subject{Tenant: "globex"}, start().Add(time.Hour))
	got, ok := r.Get("ep-1")
	want := registry.Endpoint{
		ID: "ep-1", Subject: fleet.Subject{Tenant: "globex"}, Enrolled: start(), LastSeen: start().Add(time.Hour), Boot: "boot-1",
		Components: has(component), Reported: 7,
	}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("after joining again (-want +got):\n%s", diff)
	}
}

func TestFlush(t *testing.T) {
	t.Parallel()
	r := registry.New()
	r.Put(host("ep-1", "acme", "graz"))
	r.Put(host("ep-2", "acme", "graz"))
	r.Put(host("ep-3", "acme", "graz"))
	r.Assign("ep-1", 7)
	r.Assign("ep-unknown", 8)
	if seen, changed := r.Flush(); len(seen)+len(changed) != 0 {
		t.Errorf("got %v seen and %v changed of loaded hosts, want none", seen, changed)
	}
	later := start().Add(time.Minute)
	if got, ok := r.Seen("ep-1", later); !ok || !got.LastSeen.Equal(later) {
		t.Errorf("got %+v, %v, want it seen", got, ok)
	}
	if _, ok := r.Seen("ep-unknown", later); ok {
		t.Error("got an unknown host seen")
	}
	r.Update("ep-2", nil, nil, "boot-1")
	r.Seen("ep-3", later)
	for range 2 {
		seen, changed := r.Flush()
		if diff := cmp.Diff([]registry.Sighting{{Number: 7, At: later}}, seen); diff != "" {
			t.Errorf("seen (-want +got):\n%s", diff)
		}
		if len(changed) != 1 || changed[0].ID != "ep-2" || changed[0].Boot != "boot-1" {
			t.Errorf("got changed %+v, want ep-2", changed)
		}
		if rest, more := r.Flush(); len(rest)+len(more) != 0 {
			t.Errorf("flushed again: got %v and %v, want nothing", rest, more)
		}
		r.Unflushed(seen, changed...)
	}
	r.Flush()
	r.Assign("ep-3", 2000)
	if seen, _ := r.Flush(); len(seen) != 1 || seen[0].Number != 2000 {
		t.Errorf("got %+v, want the host that was seen before its number was known", seen)
	}
}

// For the race detector: what is handed out may be read while the registry changes.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	r := registry.New()
	var all sync.WaitGroup
	for n := range 8 {
		id := fleet.EndpointID(fmt.Sprint("ep-", n%4))
		all.Go(func() {
			for i := range 50 {
				r.Enrol(id, fleet.Subject{Tenant: "acme"}, start())
				r.Update(id, &fleet.Attributes{Site: fmt.Sprint(i)}, has(component, fmt.Sprint("c-", i)), "")
				e, _ := r.Seen(id, start())
				if len(e.Components) != 2 {
					t.Errorf("got %d components, want 2", len(e.Components))
				}
				r.Count(registry.Question{Component: component, Since: start(), Exposed: func(fleet.EndpointID) bool { return false }})
				r.Sizes(component)
				r.Draw(registry.Draw{Component: component, Each: 2, Fits: func(fleet.EndpointID, fleet.Subject) bool { return true }})
				r.Signs([]fleet.EndpointID{id}, start())
				seen, changed := r.Flush()
				r.Unflushed(seen, changed...)
			}
		})
	}
	all.Wait()
}

// Hosts that lack what is asked for are not waited for, unless they are exposed; those that were to be left out anyway are not counted twice.
func TestCountPosture(t *testing.T) {
	t.Parallel()
	r := registry.New()
	for id, words := range map[fleet.EndpointID][]string{
		"ep-1": {"guard", "watchdog", "good"}, "ep-2": {"guard"}, "ep-3": {"guard"}, "ep-4": {}, "ep-5": {"watchdog"}, "ep-6": {},
	} {
		r.Put(host(id, "acme", "graz"))
		r.Stand(id, fleet.PostureOf(words))
	}
	r.Put(host("ep-7", "acme", "linz")) // has not said
	bits := func(words ...string) fleet.Posture { return fleet.PostureOf(words) &^ fleet.PostureOf(nil) }
	q := registry.Question{
		Component: component, Since: start(), Posture: fleet.PostureOf([]string{"guard", "watchdog"}), Strata: []string{"site"},
		Exposed: func(id fleet.EndpointID) bool { return id == "ep-5" },
		Held:    func(s fleet.Subject) bool { return s.Attributes.Site == "linz" },
	}
	want := registry.Census{
		Eligible: 2, Remaining: 1, Available: 1, Strata: map[string]int64{"site graz": 2},
		Unfit: map[fleet.Posture]int64{bits("watchdog"): 2, bits("guard", "watchdog"): 2},
	}
	if diff := cmp.Diff(want, r.Count(q)); diff != "" {
		t.Errorf("census (-want +got):\n%s", diff)
	}
	q.Posture, q.Strata = fleet.PostureOf(nil), nil
	if diff := cmp.Diff(registry.Census{Eligible: 6, Remaining: 5, Available: 5}, r.Count(q)); diff != "" {
		t.Errorf("census where nothing is asked for (-want +got):\n%s", diff)
	}
}

func TestStand(t *testing.T) {
	t.Parallel()
	r := registry.New()
	r.Put(host("ep-1", "acme", "graz"))
	guard := fleet.PostureOf([]string{"guard"})
	for _, c := range []struct {
		name    string
		says    fleet.Posture
		changed int
	}{{"the first time", guard, 1}, {"again", guard, 0}, {"another", fleet.PostureOf(nil), 1}} {
		r.Stand("ep-1", c.says)
		r.Stand("ep-unknown", c.says)
		got, _ := r.Get("ep-1")
		if _, changed := r.Flush(); got.Posture != c.says || len(changed) != c.changed {
			t.Errorf("%s: got %v, %d changed, want %v, %d", c.name, got.Posture.Have(), len(changed), c.says.Have(), c.changed)
		}
	}
	if r.Len() != 1 {
		t.Errorf("got %d endpoints, want no new ones", r.Len())
	}
	r.Stand("ep-1", guard)
	r.Enrol("ep-1", fleet.Subject{}, start())
	if got, _ := r.Get("ep-1"); got.Posture != guard {
		t.Errorf("got %v after it joined again, want what it said", got.Posture.Have())
	}
}

// A fleet is deaf when enough hosts were heard before and none is now, whatever those do that are left out.
func TestDeaf(t *testing.T) {
	t.Parallel()
	begin := time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC)
	r := registry.New()
	for n := range 5 {
		r.Put(registry.Endpoint{
			ID: fleet.EndpointID(fmt.Sprintf("ep-%d", n)), LastSeen: begin.Add(time.Duration(n) * time.Minute),
			Components: map[string]api.Component{"sensor": {}},
		})
	}
	left := func(out ...string) func(fleet.EndpointID) bool {
		return func(id fleet.EndpointID) bool { return slices.Contains(out, string(id)) }
	}
	for _, c := range []struct {
		name          string
		component     string
		since, before time.Duration // after begin
		least         int
		out           []string
		want          bool
	}{
		{"one is heard", "sensor", 4 * time.Minute, 0, 3, nil, false},
		{"nobody is heard", "sensor", 5 * time.Minute, 0, 3, nil, true},
		{"the one that is heard is left out", "sensor", 4 * time.Minute, 0, 3, []string{"ep-4"}, true},
		{"too few are known", "sensor", 5 * time.Minute, 3 * time.Minute, 3, nil, false},
		{"too few are left", "sensor", 5 * time.Minute, 0, 3, []string{"ep-0", "ep-1", "ep-2"}, false},
		{"nobody has the component", "nginx", 5 * time.Minute, 0, 1, nil, false},
	} {
		if got := r.Deaf(c.component, begin.Add(c.since), begin.Add(c.before), c.least, left(c.out...)); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
	}
}
