package blame_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/domain/blame"
)

func TestShare(t *testing.T) {
	t.Parallel()
	young := blame.Suspect{Rollout: "young", Age: 5 * time.Minute, After: [3]int64{3, 3, 3}, Exposed: 10, Harmed: 3}
	old := blame.Suspect{Rollout: "old", Age: 40 * time.Hour, After: [3]int64{0, 0, 3}, Exposed: 5000, Harmed: 3}
	slow := blame.Suspect{Rollout: "slow", Age: 40 * time.Hour, After: [3]int64{0, 10, 60}, Exposed: 200, Harmed: 60}
	bystander := blame.Suspect{Rollout: "bystander", Age: 5 * time.Minute, After: [3]int64{1, 1, 1}, Before: 59, Exposed: 1000, Harmed: 1}
	later := blame.Suspect{Rollout: "later", Age: -time.Second, After: [3]int64{9, 9, 9}, Exposed: 9, Harmed: 9}
	halfDay, now := blame.Suspect{Rollout: "half a day", Age: 12 * time.Hour}, blame.Suspect{Rollout: "now"}
	one, three := now, now
	one.Rollout, three.Rollout, three.After = "one", "three", [3]int64{2, 2, 2} // (2+1)/(0+1) against (0+1)/(0+1)
	vetoed, early, late := now, now, now
	vetoed.Rollout, vetoed.After, vetoed.Before = "vetoed", [3]int64{5, 5, 5}, 2 // (5-2+1)/(2+1)
	early.Rollout, early.After = "early", [3]int64{1, 0, 0}
	late.Rollout, late.After = "late", [3]int64{0, 0, 1}
	rare, common := now, now
	rare.Rollout, rare.Exposed, rare.Harmed = "rare", 4, 1
	common.Rollout, common.Exposed, common.Harmed = "common", 1, 1
	for name, test := range map[string]struct {
		suspects []blame.Suspect
		want     []string  // the largest share first
		shares   []float64 // to 0.01
		culprit  string
	}{
		"nobody":                       {nil, nil, nil, ""},
		"one":                          {[]blame.Suspect{old}, []string{"old"}, []float64{1}, "old"},
		"one, with vetoes":             {[]blame.Suspect{bystander}, []string{"bystander"}, []float64{1}, "bystander"},
		"one, afterwards":              {[]blame.Suspect{later}, []string{"later"}, []float64{0}, ""},
		"the one that came just now":   {[]blame.Suspect{old, young}, []string{"young", "old"}, []float64{1, 0}, "young"},
		"the one with all the votes":   {[]blame.Suspect{bystander, slow}, []string{"slow", "bystander"}, []float64{1, 0}, "slow"},
		"what came later is out of it": {[]blame.Suspect{later, old}, []string{"old", "later"}, []float64{1, 0}, "old"},
		"all else equal: age":          {[]blame.Suspect{halfDay, now}, []string{"now", "half a day"}, []float64{2. / 3, 1. / 3}, "now"},
		"all else equal: votes":        {[]blame.Suspect{one, three}, []string{"three", "one"}, []float64{0.75, 0.25}, "three"},
		"all else equal: vetoes":       {[]blame.Suspect{now, vetoed}, []string{"vetoed", "now"}, []float64{4. / 7, 3. / 7}, "vetoed"},
		"the first hour weighs half":   {[]blame.Suspect{now, early}, []string{"early", "now"}, []float64{0.586, 0.414}, "early"},
		"the third day weighs a fifth": {[]blame.Suspect{now, late}, []string{"late", "now"}, []float64{0.535, 0.465}, "late"},
		"all else equal: rate":         {[]blame.Suspect{rare, common}, []string{"common", "rare"}, []float64{0.8, 0.2}, "common"},
		"nothing between them":         {[]blame.Suspect{one, now}, []string{"now", "one"}, []float64{0.5, 0.5}, ""},
	} {
		verdicts := blame.Share(test.suspects)
		var names []string
		for i, v := range verdicts {
			names = append(names, v.Rollout)
			if i < len(test.shares) && math.Abs(v.Share-test.shares[i]) > 0.01 {
				t.Errorf("%s: got a share of %.3f for %s, want %.3f", name, v.Share, v.Rollout, test.shares[i])
			}
		}
		if diff := cmp.Diff(test.want, names); diff != "" {
			t.Errorf("%s: order differs (-want +got):\n%s", name, diff)
		}
		if culprit, found := blame.Main(verdicts); culprit.Rollout != test.culprit || found != (test.culprit != "") {
			t.Errorf("%s: got %q (%t) to blame, want %q", name, culprit.Rollout, found, test.culprit)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	got := blame.Share([]blame.Suspect{
		{Rollout: "a", Age: 5*time.Minute + time.Millisecond, After: [3]int64{3, 3, 4}, Exposed: 10, Harmed: 4, Before: 1},
		{Rollout: "b", Age: -time.Minute},
	})
	want := []blame.Verdict{
		{Rollout: "a", Share: 1, Reason: "" +
			"It carries 100 % of the blame: it was activated 5m0s before the failure, and 4 of its 10 exposed hosts " +
			"are harmed, 3 of them within 1 h, against 1 without it."},
		{Rollout: "b", Reason: "It was activated on this host after the failure, so it did not cause it."},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdicts differ (-want +got):\n%s", diff)
	}
}

func suspects(t *rapid.T, atLeast int) []blame.Suspect {
	count := rapid.Custom(func(t *rapid.T) int64 {
		return rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(0, 1e9), rapid.Int64()).Draw(t, "count")
	})
	age := rapid.OneOf(rapid.Int64Range(0, int64(100*time.Hour)), rapid.Int64())
	list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) blame.Suspect {
		return blame.Suspect{
			Age:    time.Duration(age.Draw(t, "age")),
			After:  [3]int64{count.Draw(t, "1 h"), count.Draw(t, "24 h"), count.Draw(t, "72 h")},
			Before: count.Draw(t, "before"), Exposed: count.Draw(t, "exposed"), Harmed: count.Draw(t, "harmed"),
		}
	}), atLeast, 6).Draw(t, "suspects")
	for i := range list {
		list[i].Rollout = string(rune('a' + i))
	}
	return list
}

func shareOf(rollout string, list []blame.Suspect) float64 {
	verdicts := blame.Share(list)
	return verdicts[slices.IndexFunc(verdicts, func(v blame.Verdict) bool { return v.Rollout == rollout })].Share
}

func TestSharesAreShares(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := suspects(t, 0)
		verdicts := blame.Share(list)
		var sum, want float64
		for _, s := range list {
			if s.Age >= 0 {
				want = 1
			}
		}
		for i, v := range verdicts {
			sum += v.Share
			if !(v.Share >= 0 && v.Share <= 1) || i > 0 && v.Share > verdicts[i-1].Share {
				t.Fatalf("got shares %+v, want them from 0 to 1, the largest first", verdicts)
			}
		}
		if math.Abs(sum-want) > 1e-9 {
			t.Fatalf("got a sum of %v, want %v", sum, want)
		}
		shuffled := rapid.Permutation(list).Draw(t, "shuffled")
		if diff := cmp.Diff(verdicts, blame.Share(shuffled)); diff != "" {
			t.Fatalf("the order of the suspects matters:\n%s", diff)
		}
	})
}

func TestMoreOfEach(t *testing.T) {
	t.Parallel()
	const rounding = 1e-12
	rapid.Check(t, func(t *rapid.T) {
		list := suspects(t, 2)
		was := shareOf("a", list)
		more := rapid.Int64Range(0, 1000).Draw(t, "more")
		with := func(change func(s *blame.Suspect)) float64 {
			changed := slices.Clone(list)
			change(&changed[0])
			return shareOf("a", changed)
		}
		plus := func(n int64) int64 { return n + min(more, math.MaxInt64-max(n, 0)) }
		window := rapid.IntRange(0, 2).Draw(t, "window")
		if got := with(func(s *blame.Suspect) { s.After[window] = plus(s.After[window]) }); got < was-rounding {
			t.Errorf("with %d more votes: got a share of %v, want at least %v", more, got, was)
		}
		if got := with(func(s *blame.Suspect) { s.Before = plus(s.Before) }); got > was+rounding {
			t.Errorf("with %d more vetoes: got a share of %v, want at most %v", more, got, was)
		}
		if got := with(func(s *blame.Suspect) { s.Harmed = plus(s.Harmed) }); got < was-rounding {
			t.Errorf("with %d more harmed: got a share of %v, want at least %v", more, got, was)
		}
		if got := with(func(s *blame.Suspect) { s.Exposed = plus(s.Exposed) }); got > was+rounding {
			t.Errorf("with %d more exposed: got a share of %v, want at most %v", more, got, was)
		}
	})
}

func TestYoungestWinsAllElseEqual(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := suspects(t, 2)
		ages := rapid.SliceOfNDistinct(rapid.Int64Range(0, 72*60), len(list), len(list), rapid.ID).Draw(t, "minutes")
		youngest := 0
		for i := range list {
			list[i] = blame.Suspect{
				Rollout: list[i].Rollout, Age: time.Duration(ages[i]) * time.Minute, After: list[0].After, Before: list[0].Before,
				Exposed: list[0].Exposed, Harmed: list[0].Harmed,
			}
			if ages[i] < ages[youngest] {
				youngest = i
			}
		}
		verdicts := blame.Share(list)
		if verdicts[0].Rollout != list[youngest].Rollout || verdicts[0].Share <= verdicts[1].Share {
			t.Errorf("got %+v, want %s first", verdicts, list[youngest].Rollout)
		}
	})
}
