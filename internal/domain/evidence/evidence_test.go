package evidence_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
)

// Garwood's upper limits of a Poisson mean at 99 %, from the tables of the chi-squared distribution: half its 0.99 quantile with
// 2(k+1) degrees of freedom.
func TestUpperBoundIsGarwoods(t *testing.T) {
	t.Parallel()
	const n = 1e6
	for harmed, mean := range map[int64]float64{0: 4.6052, 1: 6.6384, 2: 8.4059, 3: 10.0451, 4: 11.6046, 5: 13.1085, 9: 18.7831, 10: 20.1447, 49: 67.9034} {
		if got := evidence.UpperBound(harmed, n) * n; math.Abs(got-mean) > 2e-4 {
			t.Errorf("got a mean of at most %.4f after %d, want %g", got, harmed, mean)
		}
	}
}

// Clopper and Pearson's bound is exact for a share; ours must never be below it: P(Binomial(n, bound) <= harmed) is at most 1 %.
func TestUpperBoundIsConservative(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{1, 2, 5, 10, 50, 200, 1000} {
		for harmed := int64(0); harmed <= n; harmed += 1 + harmed/2 {
			bound := evidence.UpperBound(harmed, n)
			if harmed < n && atMost(harmed, n, bound) > 0.01+1e-9 {
				t.Errorf("got a bound of %g after %d of %d, which leaves %.3g, want at most 0.01", bound, harmed, n, atMost(harmed, n, bound))
			}
			if more := evidence.UpperBound(harmed, 2*n); more > bound {
				t.Errorf("got %g after %d of %d and %g after as many of %d", bound, harmed, n, more, 2*n)
			}
		}
	}
	for _, test := range [][2]int64{{0, 0}, {3, 0}, {3, 3}, {4, 3}, {0, -1}, {0, 1}} {
		if got := evidence.UpperBound(test[0], test[1]); got != 1 {
			t.Errorf("got a bound of %g after %d of %d, want 1", got, test[0], test[1])
		}
	}
}

// Large counts come from large fleets; the bound must stay near the share plus 2.33 standard deviations.
func TestUpperBoundOfLargeCounts(t *testing.T) {
	t.Parallel()
	for _, harmed := range []int64{1e4, 1e6, 1e8} {
		got, k := evidence.UpperBound(harmed, 1e9)*1e9, float64(harmed)
		if want := k + 2.3263*math.Sqrt(k); math.Abs(got-want) > 4 {
			t.Errorf("got a mean of at most %.1f after %d, want about %.1f", got, harmed, want)
		}
	}
}

// atMost is P(Binomial(n, p) <= k).
func atMost(k, n int64, p float64) float64 {
	if p >= 1 {
		return 0
	}
	sum, term := 0.0, float64(n)*math.Log1p(-p)
	for i := int64(0); i <= k; i++ {
		sum += math.Exp(term)
		term += math.Log(float64(n-i)) - math.Log(float64(i+1)) + math.Log(p) - math.Log1p(-p)
	}
	return sum
}

func TestMissing(t *testing.T) {
	t.Parallel()
	met := evidence.Facts{Wanted: 10, Leased: 10, Places: 10, Confirmed: 10, Heard: 10, Boots: 5, HostHours: 2, Baked: time.Hour}
	with := func(change func(*evidence.Facts)) evidence.Facts {
		f := met
		change(&f)
		return f
	}
	full := evidence.Requirement{Boots: 5, HostHours: 2, Bake: evidence.Duration(time.Hour), ExcessBelow: 0.47}
	for name, test := range map[string]struct {
		r    evidence.Requirement
		f    evidence.Facts
		want []string
	}{
		"all there":               {full, met, nil},
		"nothing asked":           {evidence.Requirement{}, met, nil},
		"nothing known":           {full, evidence.Facts{}, []string{"leased 0 of 1", "confirmed 0 of 1", "resolved 0 of 1", "boots 0 of 5", "host_hours 0.0 of 2.0", "bake 0s of 1h0m0s"}},
		"nothing at all":          {evidence.Requirement{}, evidence.Facts{}, []string{"leased 0 of 1", "confirmed 0 of 1", "resolved 0 of 1"}},
		"not full":                {full, with(func(f *evidence.Facts) { f.Wanted = 11 }), []string{"leased 10 of 11"}},
		"more than wanted":        {full, with(func(f *evidence.Facts) { f.Wanted = 9 }), nil},
		"one unconfirmed":         {evidence.Requirement{}, with(func(f *evidence.Facts) { f.Confirmed = 9 }), []string{"confirmed 9 of 10", "resolved 9 of 10"}},
		"one said goodbye":        {evidence.Requirement{}, with(func(f *evidence.Facts) { f.Confirmed, f.Goodbye = 9, 1 }), []string{"confirmed 9 of 10"}},
		"nine of ten will do":     {evidence.Requirement{Confirmed: 0.9}, with(func(f *evidence.Facts) { f.Confirmed, f.Goodbye = 9, 1 }), nil},
		"shares are rounded up":   {evidence.Requirement{Confirmed: 0.91}, with(func(f *evidence.Facts) { f.Confirmed, f.Goodbye = 9, 1 }), []string{"confirmed 9 of 10"}},
		"some unresolved":         {evidence.Requirement{Confirmed: 0.5, Resolved: 0.8}, with(func(f *evidence.Facts) { f.Confirmed, f.Harmed = 7, 1 }), nil},
		"too many unresolved":     {evidence.Requirement{Confirmed: 0.5, Resolved: 0.8}, with(func(f *evidence.Facts) { f.Confirmed = 7 }), []string{"resolved 7 of 8"}},
		"only goodbyes":           {evidence.Requirement{Confirmed: 0.5}, with(func(f *evidence.Facts) { f.Confirmed, f.Goodbye = 0, 10 }), []string{"confirmed 0 of 5"}},
		"not heard":               {full, with(func(f *evidence.Facts) { f.Heard = 9 }), []string{"heard 9 of 10"}},
		"boots":                   {full, with(func(f *evidence.Facts) { f.Boots = 4 }), []string{"boots 4 of 5"}},
		"host hours":              {full, with(func(f *evidence.Facts) { f.HostHours = 1.5 }), []string{"host_hours 1.5 of 2.0"}},
		"bake":                    {full, with(func(f *evidence.Facts) { f.Baked = time.Hour - time.Second }), []string{"bake 59m59s of 1h0m0s"}},
		"excess":                  {full, with(func(f *evidence.Facts) { f.Leased, f.Places, f.Wanted, f.Harmed, f.Blamed = 11, 11, 11, 1, 1 }), []string{"confirmed 10 of 11", "excess_below 0.6 of 0.47"}},
		"a place is given again":  {full, with(func(f *evidence.Facts) { f.Leased, f.Goodbye = 11, 1 }), nil},
		"it has to be taken":      {full, with(func(f *evidence.Facts) { f.Places, f.Confirmed, f.Heard, f.Goodbye = 9, 9, 9, 1 }), []string{"leased 9 of 10", "excess_below 0.51 of 0.47"}},
		"all of them resolved":    {full, with(func(f *evidence.Facts) { f.Leased = 11 }), []string{"resolved 10 of 11"}},
		"harm that is not blamed": {full, with(func(f *evidence.Facts) { f.Leased, f.Harmed = 11, 1 }), nil},
		"every stratum":           {evidence.Requirement{Strata: 0.01}, with(func(f *evidence.Facts) { f.Large, f.Seen = 3, 3 }), nil},
		"a stratum unseen":        {evidence.Requirement{Strata: 0.01}, with(func(f *evidence.Facts) { f.Large, f.Seen = 3, 2 }), []string{"strata 2 of 3"}},
		"strata not counted":      {evidence.Requirement{Strata: 0.01}, with(func(f *evidence.Facts) { f.Large = -1 }), []string{"strata 0 of 1"}},
		"only small strata":       {evidence.Requirement{Strata: 0.01}, met, nil},
		"strata not asked for":    {full, with(func(f *evidence.Facts) { f.Large = 3 }), nil},
		"goodbyes prove nothing about excess": {
			evidence.Requirement{Confirmed: 0.8, ExcessBelow: 0.47},
			with(func(f *evidence.Facts) { f.Confirmed, f.Goodbye = 7, 3 }),
			[]string{"confirmed 7 of 8", "excess_below 0.66 of 0.47"},
		},
		"too small to show it": {
			evidence.Requirement{ExcessBelow: 0.01},
			with(func(f *evidence.Facts) { f.Wanted, f.Leased, f.Places, f.Confirmed, f.Heard = 3, 3, 3, 3, 3 }),
			nil,
		},
		"then nobody may be harmed": {
			evidence.Requirement{Confirmed: 0.9, ExcessBelow: 0.01},
			with(func(f *evidence.Facts) { f.Confirmed, f.Heard, f.Harmed, f.Blamed = 9, 9, 1, 1 }),
			[]string{"excess_below 0.66 of 0.01"},
		},
	} {
		var got []string
		for _, lack := range evidence.Missing(test.r, test.f) {
			got = append(got, lack.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: lacks differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for name, test := range map[string]struct {
		r    evidence.Requirement
		want []string
	}{
		"nothing": {evidence.Requirement{}, nil},
		"sound":   {evidence.Requirement{Confirmed: 0.9, Resolved: 1, Bake: 1, Boots: 1, HostHours: 1, ExcessBelow: 0.01, Strata: 0.001}, nil},
		"no shares": {
			evidence.Requirement{Confirmed: 1.1, Resolved: -0.1, ExcessBelow: 2, Strata: 1.5},
			[]string{"e.confirmed", "e.resolved", "e.excess_below", "e.strata"},
		},
		"not a number": {
			evidence.Requirement{Confirmed: nan, Resolved: nan, ExcessBelow: nan, Strata: nan, HostHours: nan},
			[]string{"e.confirmed", "e.resolved", "e.excess_below", "e.strata", "e"},
		},
		"mostly bad": {evidence.Requirement{Confirmed: 0.4}, []string{"e.confirmed"}},
		"negative":   {evidence.Requirement{Bake: -1, Boots: -1, HostHours: -1}, []string{"e"}},
	} {
		var got []string
		for _, problem := range test.r.Check("e") {
			got = append(got, problem.Path)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{`"15m"`: 15 * time.Minute, `"72h"`: 72 * time.Hour, `"1.5s"`: 1500 * time.Millisecond} {
		var d, again evidence.Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("got %s of %s (error %v), want %s", d, text, err, want)
		}
		data, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &again); err != nil || again != d {
			t.Errorf("got %s of %s (error %v), want %s", again, data, err, d)
		}
	}
	var d evidence.Duration
	want := `"soon" is not a duration; write it as 30s, 15m or 72h`
	if err := json.Unmarshal([]byte(`"soon"`), &d); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
