package picture

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/chart"
)

// mostVersions is how many versions have a line of their own; more lines cannot be told apart.
const mostVersions = 11

// Versions draws how many hosts ran which version of a component. The versions of the most hosts have lines of their own, the others are
// summed up in one.
func Versions(h api.FleetHistory, component string) chart.Chart {
	c := chart.Chart{
		Title: "Fleet by version: " + component, Subtitle: "hosts that have it, by what they run",
		X: sinceThen(h), Y: chart.Axis{Label: "hosts", Kind: chart.Count},
	}
	lines := map[string][]chart.Point{}
	peaks := map[string]int64{}
	for _, s := range inOrder(h.Samples) {
		if s.Component != component || component == "" {
			continue
		}
		lines[s.Version] = append(lines[s.Version], chart.Point{X: secondsIn(h, s.At), Y: float64(max(0, s.Hosts))})
		peaks[s.Version] = max(peaks[s.Version], s.Hosts)
	}
	versions := make([]string, 0, len(lines))
	for version := range lines {
		versions = append(versions, version)
	}
	slices.SortFunc(versions, func(a, b string) int { return cmp.Or(cmp.Compare(peaks[b], peaks[a]), cmp.Compare(a, b)) })
	var rest [][]chart.Point
	for i, version := range versions {
		if i >= mostVersions {
			rest = append(rest, lines[version])
			continue
		}
		c.Series = append(c.Series, chart.Series{Name: cmp.Or(version, "nothing yet"), Step: true, Points: held(h, lines[version])})
	}
	if len(rest) > 0 {
		name := fmt.Sprintf("%d others", len(rest))
		c.Series = append(c.Series, chart.Series{Name: name, Step: true, Dashed: true, Points: held(h, sumOf(rest))})
	}
	return c
}

// Heartbeats draws how many hosts there were and how many of them were heard.
func Heartbeats(h api.FleetHistory) chart.Chart {
	hosts, heard := chart.Series{Name: "endpoints", Step: true, Dashed: true}, chart.Series{Name: "heard", Step: true}
	for _, s := range inOrder(h.Samples) {
		if s.Component != "" {
			continue
		}
		x := secondsIn(h, s.At)
		hosts.Points = append(hosts.Points, chart.Point{X: x, Y: float64(max(0, s.Hosts))})
		heard.Points = append(heard.Points, chart.Point{X: x, Y: float64(max(0, s.Heard))})
	}
	return chart.Chart{
		Title: "Heartbeats", Subtitle: "endpoints, and those of them that were heard in the minutes before",
		X: sinceThen(h), Y: chart.Axis{Label: "hosts", Kind: chart.Count}, Series: []chart.Series{hosts, heard},
	}
}

func sinceThen(h api.FleetHistory) chart.Axis {
	return chart.Axis{Label: "time since " + h.Since.UTC().Format("2006-01-02 15:04") + " UTC", Kind: chart.Duration}
}

func secondsIn(h api.FleetHistory, at time.Time) float64 { return max(0, at.Sub(h.Since).Seconds()) }

func inOrder(samples []api.FleetSample) []api.FleetSample {
	return slices.SortedStableFunc(slices.Values(samples), func(a, b api.FleetSample) int { return a.At.Compare(b.At) })
}

// held lets the last count hold to the end: a version has a sample when its count changed.
func held(h api.FleetHistory, points []chart.Point) []chart.Point {
	end := secondsIn(h, h.Until)
	if last := points[len(points)-1]; last.X < end {
		points = append(points, chart.Point{X: end, Y: last.Y})
	}
	return points
}

// sumOf adds lines of steps up.
func sumOf(lines [][]chart.Point) []chart.Point {
	type change struct{ x, by float64 }
	var changes []change
	for _, points := range lines {
		before := 0.0
		for _, p := range points {
			changes = append(changes, change{x: p.X, by: p.Y - before})
			before = p.Y
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.x, b.x) })
	var sum []chart.Point
	total := 0.0
	for _, c := range changes {
		total += c.by
		if n := len(sum); n > 0 && sum[n-1].X == c.x {
			sum[n-1].Y = total
			continue
		}
		sum = append(sum, chart.Point{X: c.x, Y: total})
	}
	return sum
}
