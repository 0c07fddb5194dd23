package plan

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

// A window that starts wider, grows faster or ends later never looks better, whatever the fault.
func TestBoundIsMonotone(t *testing.T) {
	t.Parallel()
	params := breaker.Params{}.Defaulted()
	var needs []need
	for _, e := range append(covered(), slight()...) {
		needs = append(needs, needOf(reports, e.share, params), needOf(silence, e.share, params))
	}
	rapid.Check(t, func(t *rapid.T) {
		var narrow Window
		narrow.Start = rapid.Int64Range(1, 100).Draw(t, "start")
		narrow.Growth = rapid.Float64Range(1, 9).Draw(t, "growth")
		narrow.Max = rapid.Int64Range(narrow.Start, 100_000).Draw(t, "max")
		wide := narrow
		wide.Start += rapid.Int64Range(0, 50).Draw(t, "wider")
		wide.Growth += rapid.Float64Range(0, 1).Draw(t, "faster")
		wide.Max += rapid.Int64Range(50, 100).Draw(t, "later")
		for _, n := range needs {
			if a, b := narrow.harm(n), wide.harm(n); a.Hosts > b.Hosts || a.Open != b.Open {
				t.Fatalf("effect %g: got %+v for %+v and less, %+v, for %+v", n.effect, a, narrow, b, wide)
			}
		}
		a, b := Plan{Window: narrow, Breaker: params}.narrow(), Plan{Window: wide, Breaker: params}.narrow()
		if a.Reported.Hosts > b.Reported.Hosts || a.Silent.Hosts > b.Silent.Hosts {
			t.Fatalf("one stratum: got %+v for %+v and less, %+v, for %+v", a, narrow, b, wide)
		}
	})
}

// Two faults differ only by how many of the hosts they harm: the larger one is never seen later.
func TestNeedFallsWithTheEffect(t *testing.T) {
	t.Parallel()
	params := breaker.Params{}.Defaulted()
	for _, s := range []signal{reports, silence} {
		before := 0.0
		for _, effect := range []float64{1, 0.7, 0.5, 0.3, 0.1, 0.03, 0.01} {
			n := needOf(s, effect, params)
			if n.mean < before {
				t.Errorf("signal %d, effect %g: got %g hosts, and %g for a larger effect", s, effect, n.mean, before)
			}
			before = n.mean
		}
	}
}

// The tails of the binomial distribution, against sums of its terms.
func TestBelow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 200).Draw(t, "n")
		k := rapid.Int64Range(0, n+1).Draw(t, "k")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		want := 0.0
		for i := range k {
			want += chance(i, n, q)
		}
		if got := below(k, n, q); got-want > 1e-9 || want-got > 1e-9 {
			t.Fatalf("got %g for fewer than %d of %d at %g, want %g", got, k, n, q, want)
		}
	})
}
