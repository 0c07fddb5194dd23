package chart

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTicks(t *testing.T) {
	t.Parallel()
	duration, count := Axis{Kind: Duration}, Axis{Kind: Count}
	for name, test := range map[string]struct {
		axis   Axis
		lo, hi float64
		n      int
		snap   bool
		want   []string
	}{
		"tens":                {Axis{}, 0, 97, 6, true, []string{"0", "20", "40", "60", "80", "100"}},
		"inside":              {Axis{}, 3, 97, 6, false, []string{"20", "40", "60", "80"}},
		"below zero":          {Axis{}, -0.3, 0.1, 5, true, []string{"−0.3", "−0.2", "−0.1", "0", "0.1"}},
		"up to zero":          {Axis{}, -3, 0, 5, true, []string{"−3", "−2", "−1", "0"}},
		"far from zero":       {Axis{}, 1000.1, 1000.2, 3, true, []string{"1.0001k", "1.00015k", "1.0002k"}},
		"whole things":        {count, 0, 2, 12, true, []string{"0", "1", "2"}},
		"counts are from 0":   {count, 9e6, 9.5e6, 6, true, []string{"0", "2M", "4M", "6M", "8M", "10M"}},
		"seconds":             {duration, 0, 70, 5, true, []string{"0", "30 s", "1 min", "1 min 30 s"}},
		"an hour":             {duration, 0, 4680, 5, false, []string{"0", "30 min", "1 h"}},
		"days":                {duration, 0, 14 * day, 8, false, []string{"0", "2 d", "4 d", "6 d", "8 d", "10 d", "12 d", "14 d"}},
		"parts of seconds":    {duration, 0, 0.4, 5, true, []string{"0", "0.1 s", "0.2 s", "0.3 s", "0.4 s"}},
		"decades":             {Axis{Log: true}, 1, 8.5e6, 8, true, []string{"1", "10", "100", "1k", "10k", "100k", "1M", "10M"}},
		"a decade exactly":    {Axis{Log: true}, 1, 1000, 8, true, []string{"1", "10", "100", "1k"}},
		"every third decade":  {Axis{Log: true}, 1e-5, 1e9, 8, true, []string{"10⁻⁶", "0.001", "1", "1k", "1M", "10⁹"}},
		"within a decade":     {Axis{Log: true}, 3, 7, 5, false, []string{"3", "4", "5", "6", "7"}},
		"durations by decade": {Axis{Log: true, Kind: Duration}, 0.5, 3600, 6, true, []string{"0.1 s", "1 s", "10 s", "1 min", "10 min", "1 h"}},
		"long durations":      {Axis{Log: true, Kind: Duration}, 700, 90000, 6, true, []string{"10 min", "1 h", "10 h", "1 d", "10 d"}},
		"one value":           {Axis{Log: true}, 10, 10, 5, true, []string{"1", "10", "100"}},
		"one value, not log":  {Axis{}, 10, 10, 5, true, []string{"5", "10", "15"}},
	} {
		var e extent
		e.add(test.lo)
		e.add(test.hi)
		s := newScale(test.axis, e, test.n, test.snap)
		var got []string
		for _, v := range s.major {
			got = append(got, test.axis.tick(v, s.step))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzTicks(f *testing.F) {
	f.Add(0.0, 100.0, 6, 0, false, true)
	f.Add(1e-300, 1e300, 3, 2, true, true)
	f.Add(1e-300, 1e-300, 12, 1, true, false)
	f.Add(-1e300, 1e300, 12, 0, false, true)
	f.Add(1e15, 1e15+1, 5, 2, false, false)
	f.Add(59.0, 86401.0, 5, 2, true, false)
	f.Fuzz(func(t *testing.T, lo, hi float64, n, kind int, log, snap bool) {
		a := Axis{Label: "fuzz", Kind: Kind(kind), Log: log}
		if a.Kind < Number || a.Kind > Duration || n < 3 || n > maxTicks || lo > hi || a.refuses(lo)+a.refuses(hi) != "" {
			return // no axis that Chart lets through
		}
		var e extent
		e.add(lo)
		e.add(hi)
		checkScale(t, newScale(a, e, n, snap), e, n, snap)
	})
}

// checkScale holds what is promised of every scale: it covers the data, and its ticks are few, ascending and within it.
func checkScale(t *testing.T, s scale, e extent, n int, snap bool) {
	t.Helper()
	if low := max(e.lo, e.least); s.lo > low && (!s.log || e.least > 0) || s.hi < e.hi {
		t.Errorf("got %v to %v, want it to cover %v to %v", s.lo, s.hi, low, e.hi)
	}
	if len(s.major) > n || len(s.major) < 2 && snap {
		t.Errorf("got %d ticks %v, want 2 to %d", len(s.major), s.major, n)
	}
	slack := (s.hi - s.lo) * 1e-6
	for _, ticks := range [][]float64{s.major, s.minor} {
		for i, v := range ticks {
			if i > 0 && v <= ticks[i-1] || v < s.lo-slack || v > s.hi+slack || math.IsNaN(v) {
				t.Fatalf("got ticks %v, want them to ascend within %v to %v", ticks, s.lo, s.hi)
			}
		}
	}
	if snap && !s.log && (s.major[0] > e.lo+slack || s.major[len(s.major)-1] < e.hi-slack) {
		t.Errorf("got ticks %v, want them to enclose %v to %v", s.major, e.lo, e.hi)
	}
	s.from, s.to = 400, 10
	if low, high := s.at(e.lo), s.at(e.hi); low > 400.1 || high < 9.9 || low < high {
		t.Errorf("got pixels %v and %v for %v and %v, want them within 400 to 10", low, high, e.lo, e.hi)
	}
}

// What is below a log axis has a strip of its own, and stays in order.
func TestZeroOnALogAxis(t *testing.T) {
	t.Parallel()
	e := extent{lo: 0, hi: 1000, least: 1, some: true}
	s := newScale(Axis{Log: true}, e, 8, true)
	s.from, s.to = 400, 100
	for v, want := range map[float64]float64{0: 400, 0.5: 400 - strip/2, 1: 400 - strip, 1000: 100} {
		if got := s.at(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("got pixel %v for %v, want %v", got, v, want)
		}
	}
	e.lo = 1
	s = newScale(Axis{Log: true}, e, 8, true)
	if s.from, s.to = 400, 100; s.zero || s.at(1) != 400 {
		t.Errorf("got pixel %v for the lowest value, want no strip below it", s.at(1))
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 1: "1", 8.5e6: "8.5M", 12_000: "12k", 12_345: "12.3k", 999_950: "1M", 999: "999", 2.0 / 3: "0.667",
		-1500: "−1.5k", 1e9: "10⁹", 2.5e-7: "2.5×10⁻⁷", 0.001: "0.001", 9.996e8: "10⁹", 1e-320: "0", 1e-299: "10⁻²⁹⁹",
	} {
		if got := (Axis{}).short(v); got != want {
			t.Errorf("number %v: got %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{
		0: "0", 0.25: "0.25 s", 30: "30 s", 59.9999: "60 s", 300: "5 min", 3599.9: "1 h", 3600: "1 h", 5400: "1 h 30 min",
		4683: "1 h 18 min", 86369: "23 h 59 min", 86399.9: "1 d", 14 * day: "14 d", -90: "−1 min 30 s", 2500 * day: "2.5k d",
	} {
		if got := (Axis{Kind: Duration}).short(v); got != want {
			t.Errorf("duration %v: got %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 8_500_000: "8500000", 2.0 / 3: "0.666667", 12.5: "12.5", 1e20: "1e+20"} {
		if got := (Axis{}).exact(v); got != want {
			t.Errorf("exact %v: got %q, want %q", v, got, want)
		}
	}
}

func FuzzThin(f *testing.F) {
	f.Add([]byte{1, 2, 9, 0, 5, 5, 5, 1, 2, 3}, uint8(3))
	f.Add([]byte{5, 6, 5, 5, 4, 5, 5, 5}, uint8(9))
	f.Fuzz(func(t *testing.T, values []byte, wide uint8) {
		column := func(x float64) int { return int(x) / (int(wide) + 1) }
		var points []Point
		for i, v := range values {
			points = append(points, Point{float64(i), float64(v)})
		}
		kept := thin(points, column)
		if want, got := columns(points, column), columns(kept, column); !slices.Equal(want, got) {
			t.Errorf("got columns %v, want first, last, lowest and highest as in %v", got, want)
		}
		if most := 4 * len(columns(points, column)); len(kept) > max(most, 4) {
			t.Errorf("got %d points, want at most four a column, which is %d", len(kept), most)
		}
	})
}

// columns are the first, last, lowest and highest Y of each column.
func columns(points []Point, column func(float64) int) [][4]float64 {
	var all [][4]float64
	last := math.MinInt
	for _, p := range points {
		if in := column(p.X); in != last {
			all, last = append(all, [4]float64{p.Y, p.Y, p.Y, p.Y}), in
		}
		c := &all[len(all)-1]
		c[1], c[2], c[3] = p.Y, min(c[2], p.Y), max(c[3], p.Y)
	}
	return all
}

// Names at the right edge keep apart, in the order of their ends, and move no further than they must.
func FuzzStack(f *testing.F) {
	f.Add([]byte{10, 10, 10})
	f.Add([]byte{250, 251, 252, 0, 1})
	f.Add([]byte{40, 200})
	f.Fuzz(func(t *testing.T, ends []byte) {
		const top, bottom = 0, 255
		labels := make([]label, 0, maxSeries)
		for _, y := range ends[:min(len(ends), maxSeries)] {
			labels = append(labels, label{box: box{0, float64(y) - 8, 10, float64(y) + 8}, end: pixel{0, float64(y)}})
		}
		stack(labels, top, bottom)
		free := true
		for i, l := range labels {
			if l.middle() < top-1e-6 || l.middle() > bottom+1e-6 {
				t.Errorf("got a name at %v, want it within %v to %v", l.middle(), top, bottom)
			}
			if i > 0 {
				if gap := l.middle() - labels[i-1].middle(); gap < rowHeight-1e-6 || l.end.y < labels[i-1].end.y {
					t.Errorf("got names %v apart for ends at %v and %v", gap, labels[i-1].end.y, l.end.y)
				}
				free = free && l.end.y-labels[i-1].end.y >= rowHeight
			}
		}
		for _, l := range labels {
			if free && math.Abs(l.middle()-l.end.y) > 1e-6 {
				t.Errorf("got a name at %v, want it at its end %v: there is room", l.middle(), l.end.y)
			}
		}
	})
}

// Names that would lie on each other share the way that they have to go.
func TestStackKeepsTheMiddle(t *testing.T) {
	t.Parallel()
	var labels []label
	for _, y := range []float64{100, 50, 100, 100} {
		labels = append(labels, label{box: box{0, y - 8, 10, y + 8}, end: pixel{0, y}})
	}
	stack(labels, 0, 255)
	for i, want := range []float64{50, 100 - rowHeight, 100, 100 + rowHeight} {
		if got := labels[i].middle(); got != want {
			t.Errorf("name %d: got %v, want %v", i, got, want)
		}
	}
}

func TestCrossed(t *testing.T) {
	t.Parallel()
	b := box{10, 10, 20, 20}
	for name, test := range map[string]struct {
		path []pixel
		want bool
	}{
		"through":       {[]pixel{{0, 15}, {30, 15}}, true},
		"past a corner": {[]pixel{{0, 12}, {12, 0}}, false},
		"cuts a corner": {[]pixel{{0, 25}, {25, 12}}, true},
		"ends within":   {[]pixel{{0, 0}, {15, 15}}, true},
		"above":         {[]pixel{{0, 5}, {30, 5}}, false},
		"second part":   {[]pixel{{0, 0}, {5, 0}, {15, 30}}, true},
		"one point":     {[]pixel{{15, 15}}, false},
	} {
		if got := b.crossed(test.path); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
