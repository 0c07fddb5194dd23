package plan_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// sound is a plan with nothing wrong.
func sound() plan.Plan {
	bake := evidence.Requirement{Bake: plan.Duration(15 * time.Minute)}
	return plan.Plan{Name: "content", Rings: []plan.Ring{
		{Name: "first", Hosts: 10, Evidence: bake},
		{Name: "early", Hosts: 100, Evidence: bake},
		{Name: "half", Share: 0.5, Evidence: bake},
		{Name: "rest", Share: 1},
	}}.Defaulted()
}

func paths(problems []fault.Problem) []string {
	var all []string
	for _, p := range problems {
		all = append(all, p.Path)
	}
	return all
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*plan.Plan)
		want   []string
	}{
		"sound":             {func(*plan.Plan) {}, nil},
		"no rings":          {func(p *plan.Plan) { p.Rings = nil }, []string{"rings"}},
		"posture":           {func(p *plan.Plan) { p.Posture = []string{"guard", "watchdog"} }, nil},
		"bad posture":       {func(p *plan.Plan) { p.Posture = []string{"guard", "gard", "guard"} }, []string{"posture[1]", "posture[2]"}},
		"a single ring":     {func(p *plan.Plan) { p.Rings = p.Rings[:1] }, []string{"rings"}},
		"everybody at once": {func(p *plan.Plan) { p.Rings = p.Rings[3:] }, []string{"rings", "rings[0].share"}},
		"a share first":     {func(p *plan.Plan) { p.Rings = p.Rings[2:] }, []string{"rings[0].share"}},
		"no last ring":      {func(p *plan.Plan) { p.Rings = p.Rings[:3] }, []string{"rings[2].share"}},
		"hosts last":        {func(p *plan.Plan) { p.Rings = p.Rings[:2] }, []string{"rings[1].share"}},
		"not growing":       {func(p *plan.Plan) { p.Rings[1].Hosts = 10 }, []string{"rings[1].hosts"}},
		"shrinking share":   {func(p *plan.Plan) { p.Rings[2].Share, p.Rings[3].Share = 1, 0.5 }, []string{"rings[3].share", "rings[3].share"}},
		"hosts after share": {func(p *plan.Plan) { p.Rings[3] = plan.Ring{Name: "rest", Hosts: 1000} }, []string{"rings[3].hosts", "rings[3].share"}},
		"neither":           {func(p *plan.Plan) { p.Rings[1].Hosts = 0 }, []string{"rings[1]"}},
		"both":              {func(p *plan.Plan) { p.Rings[1].Share = 0.1 }, []string{"rings[1]"}},
		"negative":          {func(p *plan.Plan) { p.Rings[1].Hosts = -5 }, []string{"rings[1]", "rings[1].hosts"}},
		"no share":          {func(p *plan.Plan) { p.Rings[2].Share = math.NaN() }, []string{"rings[2]", "rings[2].share"}},
		"too many":          {func(p *plan.Plan) { p.Rings = many(plan.MaxRings + 1) }, []string{"rings"}},
		"as many as may be": {func(p *plan.Plan) { p.Rings = many(plan.MaxRings) }, nil},
		"names":             {func(p *plan.Plan) { p.Name, p.Rings[0].Name, p.Rings[2].Name = "My Plan", "", "early" }, []string{"name", "rings[0].name", "rings[2].name"}},
		"selector":          {func(p *plan.Plan) { p.Rings[0].Select = fleet.Selector{"color": {"red"}} }, []string{"rings[0].select.color"}},
		"evidence":          {func(p *plan.Plan) { p.Rings[1].Evidence.Confirmed = 0.1 }, []string{"rings[1].evidence.confirmed"}},
		"window":            {func(p *plan.Plan) { p.Window = plan.Window{Start: -1, Growth: 11, Max: -2} }, []string{"window.start", "window.growth", "window.max"}},
		"no growth":         {func(p *plan.Plan) { p.Window.Growth = math.NaN() }, []string{"window.growth"}},
		"lease":             {func(p *plan.Plan) { p.Lease.Expires = -1 }, []string{"lease.expires"}},
		"deadline":          {func(p *plan.Plan) { p.Lease.Deadline = p.Lease.Expires }, []string{"lease.deadline"}},
		"caps":              {func(p *plan.Plan) { p.Caps = plan.Caps{Tenant: 2, Site: -1} }, []string{"caps.tenant", "caps.site"}},
		"watch":             {func(p *plan.Plan) { p.Watch = -1 }, []string{"watch"}},
		"breaker":           {func(p *plan.Plan) { p.Breaker.Alpha = 1 }, []string{"breaker.alpha", "breaker.amber"}},
		"budget":            {func(p *plan.Plan) { p.Budget.Hosts = -1 }, []string{"budget.hosts"}},
		"beyond budget":     {func(p *plan.Plan) { p.Budget.Hosts = 5 }, []string{"budget.hosts"}},
		"site budget":       {func(p *plan.Plan) { p.Budget.Site = -1 }, []string{"budget.site"}},
		"beyond it":         {func(p *plan.Plan) { p.Budget.Site, p.Caps.Site = 2, 0.03 }, []string{"budget.site"}},
		"no cap for it":     {func(p *plan.Plan) { p.Budget.Site = 2 }, []string{"budget.site"}},
		"a cap for it":      {func(p *plan.Plan) { p.Budget.Site, p.Caps.Site = 2, 0.02 }, nil},
		"budget by":         {func(p *plan.Plan) { p.Budget.By = "luck" }, []string{"budget.by"}},
		"budget by reports": {func(p *plan.Plan) { p.Budget = plan.Budget{Hosts: 10, By: plan.ByReports} }, nil},
		"too many hosts":    {func(p *plan.Plan) { p.Rings[1].Hosts = math.MaxInt64; p.Budget.Hosts = 50 }, []string{"rings[1].hosts"}},
		"out of sight":      {func(p *plan.Plan) { p.Rings[0].Evidence.ExcessBelow = 0.1 }, []string{"rings[0].evidence.excess_below"}},
		"in sight":          {func(p *plan.Plan) { p.Rings[0].Evidence.ExcessBelow = 0.5 }, nil},
		"stuck":             {func(p *plan.Plan) { p.Window = plan.Window{Start: 1, Growth: 1.5, Max: 50} }, []string{"window.growth"}},
		"never growing":     {func(p *plan.Plan) { p.Window = plan.Window{Start: 1, Growth: 1, Max: 50} }, nil},
		"all at once": {func(p *plan.Plan) {
			p.Name, p.Rings[1].Hosts, p.Watch, p.Budget.Hosts = "", 5, -1, 5
		}, []string{"name", "rings[1].hosts", "watch", "budget.hosts"}},
		"budget of a broken window": {func(p *plan.Plan) { p.Window.Growth, p.Budget.Hosts = 0, 5 }, []string{"window.growth"}},
	} {
		p := sound()
		test.change(&p)
		if diff := cmp.Diff(test.want, paths(p.Check())); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s\n%v", name, diff, p.Check())
		}
	}
}

func many(n int) []plan.Ring {
	rings := make([]plan.Ring, n)
	for i := range rings {
		rings[i] = plan.Ring{Name: "r" + strings.Repeat("x", i), Hosts: int64(i + 1)}
	}
	rings[n-1] = plan.Ring{Name: "rest", Share: 1}
	return rings
}

// A refusal for the budget shows the arithmetic of what is too much, so that the reader sees what to change.
func TestBudgetShowsItsArithmetic(t *testing.T) {
	t.Parallel()
	p := sound()
	p.Budget = plan.Budget{Hosts: 9, By: plan.ByReports}
	want := []fault.Problem{{Path: "budget.hosts", Message: "allows 9 harmed hosts but the plan can harm 10; make the window's start or growth, or the " +
		"first ring, smaller. a fault that shows within the bake (15m): all 10 hosts of ring first"}}
	if diff := cmp.Diff(want, p.Check()); diff != "" {
		t.Errorf("problems differ (-want +got):\n%s", diff)
	}
	p.Budget = plan.Budget{Hosts: 23}
	want = []fault.Problem{{Path: "budget.hosts", Message: "allows 23 harmed hosts but the plan can harm 24; make the window's start or growth, or the " +
		"first ring, smaller. one host in 10 at once, silent: the breaker needs 119 hosts; 2 x 119 + 2 leased by then, x 0.1 = 24 harmed"}}
	if diff := cmp.Diff(want, p.Check()); diff != "" {
		t.Errorf("problems differ (-want +got):\n%s", diff)
	}
	p.Budget.Hosts = 24
	if problems := p.Check(); len(problems) > 0 {
		t.Errorf("got %v with a budget of exactly the bound", problems)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	p := sound()
	p.Rings[2].Share = 0.07
	for _, test := range []struct {
		k                 int
		eligible, earlier int64
		want              int64
	}{
		{0, 1, 0, 10},
		{1, 1_000_000, 10, 100},
		{2, 10_000, 110, 590},
		{2, 100_000_000, 110, 6_999_890}, // a share is not rounded beyond itself
		{2, 100, 110, 101},               // larger than the ring before it, also in a small fleet
		{2, 0, 0, 101},
		{3, 10_000, 700, 9300},
		{3, 100, 211, 1},
	} {
		if got := p.Size(test.k, test.eligible, test.earlier); got != test.want {
			t.Errorf("got %d hosts in ring %d of %d after %d, want %d", got, test.k, test.eligible, test.earlier, test.want)
		}
	}
}

func TestNotBefore(t *testing.T) {
	t.Parallel()
	p := sound()
	for k, want := range map[int]time.Duration{
		-1: 0, 0: 0, 1: 15 * time.Minute, 2: 30 * time.Minute, 3: 45 * time.Minute, 4: 45 * time.Minute, math.MaxInt: 45 * time.Minute, math.MinInt: 0,
	} {
		if got := p.NotBefore(k); got != want {
			t.Errorf("got ring %d not before %s, want %s", k, got, want)
		}
	}
	if p.Last(2) || !p.Last(3) || !p.Last(4) {
		t.Errorf("got last rings %t %t %t, want ring 3 and beyond", p.Last(2), p.Last(3), p.Last(4))
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*plan.Plan)
		want   []string
	}{
		"the same": {func(*plan.Plan) {}, nil},
		"narrower": {func(p *plan.Plan) {
			p.Rings[0].Hosts, p.Rings[1].Hosts, p.Rings[2].Share, p.Window.Start = 5, 50, 0.2, 1
		}, nil},
		"a ring more":            {func(p *plan.Plan) { p.Rings = append(p.Rings[:1:1], sound().Rings...) }, nil},
		"a ring less":            {func(p *plan.Plan) { p.Rings = append(p.Rings[:1:1], p.Rings[2:]...) }, []string{"rings", "rings[1].hosts", "rings[2].share"}},
		"wider":                  {func(p *plan.Plan) { p.Rings[0].Hosts, p.Rings[2].Share = 11, 0.6 }, []string{"rings[0].hosts", "rings[2].share"}},
		"a share for hosts":      {func(p *plan.Plan) { p.Rings[1] = plan.Ring{Name: "early", Share: 0.01, Evidence: p.Rings[1].Evidence} }, []string{"rings[1].hosts"}},
		"hosts for a share":      {func(p *plan.Plan) { p.Rings[2] = plan.Ring{Name: "half", Hosts: 1e9, Evidence: p.Rings[2].Evidence} }, []string{"rings[2].hosts"}},
		"few hosts for a share":  {func(p *plan.Plan) { p.Rings[2] = plan.Ring{Name: "half", Hosts: 101, Evidence: p.Rings[2].Evidence} }, nil},
		"sooner":                 {func(p *plan.Plan) { p.Rings[1].Evidence.Bake = plan.Duration(time.Minute) }, []string{"rings[2]", "rings[3]"}},
		"sooner, but later on":   {func(p *plan.Plan) { p.Rings[0].Evidence.Bake, p.Rings[1].Evidence.Bake = plan.Duration(time.Hour), 0 }, nil},
		"a faster window":        {func(p *plan.Plan) { p.Window = plan.Window{Start: 3, Growth: 3, Max: math.MaxInt64} }, []string{"window.start", "window.growth", "window.max"}},
		"a breaker that lets go": {func(p *plan.Plan) { p.Breaker = breaker.Params{Ceiling: 0.1, Alpha: 1e-6} }, []string{"breaker.ceiling", "breaker.alpha"}},
		"asks less": {func(p *plan.Plan) {
			p.Rings[0].Evidence.Confirmed, p.Rings[0].Evidence.Resolved = 0.5, 0.5
			p.Rings[0].Evidence.Boots, p.Rings[0].Evidence.HostHours, p.Rings[0].Evidence.ExcessBelow = -1, -1, 0
		}, []string{"rings[0].evidence.confirmed", "rings[0].evidence.resolved", "rings[0].evidence.boots", "rings[0].evidence.host_hours"}},
		"other hosts": {func(p *plan.Plan) { p.Rings[0].Select = fleet.Selector{"os": {"linux"}} }, []string{"rings[0].select"}},
		"longer leases, shorter watch": {func(p *plan.Plan) {
			p.Lease = plan.Lease{Expires: p.Lease.Expires + 1, Deadline: p.Lease.Deadline + 1}
			p.Watch, p.Breaker.Amber = p.Watch-1, p.Breaker.Amber+1
		}, []string{"lease.expires", "lease.deadline", "watch", "breaker.amber"}},
		"other strata":              {func(p *plan.Plan) { p.Strata = p.Strata[1:] }, []string{"strata"}},
		"strata in another order":   {func(p *plan.Plan) { slices.Reverse(p.Strata) }, nil},
		"lifts a cap":               {func(p *plan.Plan) { p.Caps = plan.Caps{Tenant: 1, Site: 0} }, nil},
		"a breaker that holds more": {func(p *plan.Plan) { p.Breaker = breaker.Params{Ceiling: 1e-4, Alpha: 1e-3} }, nil},
	} {
		wanted := sound()
		test.change(&wanted)
		got := paths(plan.Within(sound(), wanted))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestWithinHoldsCaps(t *testing.T) {
	t.Parallel()
	signed := sound()
	signed.Caps = plan.Caps{Tenant: 0.02, Site: 0.1}
	for name, test := range map[string]struct {
		caps plan.Caps
		want []string
	}{
		"the same": {plan.Caps{Tenant: 0.02, Site: 0.1}, nil},
		"less":     {plan.Caps{Tenant: 0.01, Site: 0.1}, nil},
		"more":     {plan.Caps{Tenant: 0.03, Site: 0.1}, []string{"caps.tenant"}},
		"none":     {plan.Caps{}, []string{"caps.tenant", "caps.site"}},
	} {
		wanted := signed
		wanted.Caps = test.caps
		if diff := cmp.Diff(test.want, paths(plan.Within(signed, wanted))); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}

// A small ring must confirm to the last host; in a larger one a few may be away, and a hundredth may come and go.
func TestDefaultEvidence(t *testing.T) {
	t.Parallel()
	p := plan.Plan{Rings: []plan.Ring{{Hosts: 10}, {Hosts: 11}, {Share: 1}}}.Defaulted()
	for i, want := range [][2]float64{{1, 1}, {0.95, 0.99}, {0.95, 0.99}} {
		if got := p.Rings[i].Evidence; got.Confirmed != want[0] || got.Resolved != want[1] {
			t.Errorf("ring %d: got confirmed %g and resolved %g, want %v", i, got.Confirmed, got.Resolved, want)
		}
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"a": true, "sensor-content": true, "x2": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "a-": false, "A": false, "a b": false, "a/b": false, "a.b": false, "é": false, strings.Repeat("a", 64): false,
	} {
		if got := plan.Name(s); got != want {
			t.Errorf("got %t for the name %q, want %t", got, s, want)
		}
	}
}

func TestPlanKeepsItsMeaningAsJSON(t *testing.T) {
	t.Parallel()
	want := sound()
	want.Rings[0].Select = fleet.Selector{"os": {"linux"}}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got plan.Plan
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the plan changed on its way (-was +is):\n%s", diff)
	}
	if diff := cmp.Diff(want, want.Defaulted()); diff != "" {
		t.Errorf("defaulting twice changed the plan:\n%s", diff)
	}
}
