package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

func TestDerive(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		wish   plan.Wish
		want   plan.Window
		within time.Duration // a good update must be done in
	}{
		"a large fleet": {
			plan.Wish{Name: "a", Hosts: 8_500_000, Budget: plan.Budget{Hosts: 50}}, plan.Window{Start: 1, Growth: 4}, 2 * time.Hour,
		},
		"that reports": {
			plan.Wish{Name: "a", Hosts: 8_500_000, Budget: plan.Budget{Hosts: 50, By: plan.ByReports}}, plan.Window{Start: 1, Growth: 10}, 95 * time.Minute,
		},
		"in a hurry": {
			plan.Wish{Name: "a", Hosts: 8_500_000, Budget: plan.Budget{Hosts: 50}, Within: 100 * time.Minute}, plan.Window{Start: 1, Growth: 4}, 100 * time.Minute,
		},
		"a small fleet": {plan.Wish{Name: "a", Hosts: 200, Budget: plan.Budget{Hosts: 20}}, plan.Window{Start: 2, Growth: 1.5}, 40 * time.Minute},
	} {
		p, reasons, err := plan.Derive(test.wish)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		test.want.Max = p.Window.Max
		if diff := cmp.Diff(test.want, p.Window); diff != "" {
			t.Errorf("%s: window differs (-want +got):\n%s", name, diff)
		}
		if got := p.Takes(test.wish.Hosts); got > test.within {
			t.Errorf("%s: a good update takes %s, want at most %s", name, got, test.within)
		}
		if len(reasons) < 5 {
			t.Errorf("%s: got reasons %q, want the bound, the window, the first ring, the site, the time and what is assumed", name, reasons)
		}
	}
}

// Rings of a derived plan end where rounds end, and are not too far apart while they are counted in hosts.
func TestDerivedRings(t *testing.T) {
	t.Parallel()
	p, _, err := plan.Derive(plan.Wish{Name: "a", Hosts: 8_500_000, Budget: plan.Budget{Hosts: 50, Site: 1}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range p.Rings {
		got = append(got, r.Name)
	}
	if diff := cmp.Diff([]string{"canary", "early-1", "early-2", "share-1", "share-10", "rest", "holdback"}, got); diff != "" {
		t.Errorf("rings differ (-want +got):\n%s", diff)
	}
	if sum := p.Rings[0].Hosts; sum != 1+4+16 {
		t.Errorf("got a first ring of %d hosts, want the first three rounds", sum)
	}
	if p.Caps.Site != 0.01 {
		t.Errorf("got caps.site %g, want one host of a hundred", p.Caps.Site)
	}
}

// Whatever is asked for: what comes out is sound, keeps the budget, and is done in time.
func TestDerivedPlansKeepTheirBudget(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		wish := plan.Wish{
			Name:  "a",
			Hosts: rapid.OneOf(rapid.Int64Range(2, 300), rapid.Int64Range(2, 20_000_000)).Draw(t, "hosts"),
			Budget: plan.Budget{
				Hosts: rapid.Int64Range(1, 300).Draw(t, "budget"), Site: rapid.Int64Range(0, 5).Draw(t, "site"),
				By: rapid.SampledFrom([]string{"", plan.BySilence, plan.ByReports}).Draw(t, "by"),
			},
			Within: time.Duration(rapid.SampledFrom([]int{0, 0, 60, 120, 180}).Draw(t, "minutes")) * time.Minute,
		}
		p, _, err := plan.Derive(wish)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || fault.NextOf(err) == "" {
				t.Fatalf("%+v: got %v, want an error that says what to ask for", wish, err)
			}
			return
		}
		if problems := p.Check(); len(problems) > 0 {
			t.Fatalf("%+v: got %v", wish, problems)
		}
		if p.Budget != wish.Budget { // which the check compares with the bound
			t.Fatalf("%+v: got budget %+v", wish, p.Budget)
		}
		if took := p.Takes(wish.Hosts); wish.Within > 0 && took > wish.Within {
			t.Fatalf("%+v: got a plan that takes %s", wish, took)
		}
	})
}

// The smallest budget that the error names is one that works, and one less does not.
func TestImpossibleBudgetsNameThePossible(t *testing.T) {
	t.Parallel()
	wish := plan.Wish{Name: "a", Hosts: 8_500_000, Budget: plan.Budget{Hosts: 3}, Within: 2 * time.Hour}
	_, _, err := plan.Derive(wish)
	if err == nil || !strings.Contains(err.Error(), "the smallest budget that a plan can keep is 27") {
		t.Fatalf("got %v, want the smallest budget", err)
	}
	wish.Budget.Hosts = 27
	if _, _, err := plan.Derive(wish); err != nil {
		t.Errorf("got %v for the smallest budget", err)
	}
	wish.Budget.Hosts = 26
	if _, _, err := plan.Derive(wish); err == nil {
		t.Error("got a plan for less than the smallest budget")
	}
	wish.Budget.Hosts, wish.Within = 1000, time.Minute
	if _, _, err := plan.Derive(wish); err == nil || !strings.Contains(err.Error(), "no plan is that fast") {
		t.Errorf("got %v, want that no plan is that fast", err)
	}
}

func TestDeriveListsAllMistakes(t *testing.T) {
	t.Parallel()
	_, _, err := plan.Derive(plan.Wish{Name: "No", Hosts: 1, Budget: plan.Budget{Site: -1, By: "luck"}, Within: -1})
	want := []string{"name", "hosts", "budget.hosts", "budget.site", "budget.by", "within"}
	if diff := cmp.Diff(want, paths(fault.ProblemsOf(err))); diff != "" {
		t.Errorf("problems differ (-want +got):\n%s", diff)
	}
}
