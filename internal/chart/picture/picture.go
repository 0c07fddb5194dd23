// Package picture makes charts of what the API tells: how far a rollout got and whom it harmed, the evidence against it, what the fleet runs
// and how much of it was heard. Post-mortems, the command line and reports carry the same pictures because all of them ask here.
package picture

import (
	"cmp"
	"math"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/chart"
)

// Exposure draws how many hosts of a rollout had the release, how many were yet to show what it does to them, and how many it harmed. The
// axis of hosts is a log one: a breaker that trips in time leaves harm that is small beside the fleet.
func Exposure(r api.Rollout, s api.RolloutSeries) chart.Chart {
	return chart.Chart{
		Title: "Exposure and harm: " + r.Component + " " + r.Version, Subtitle: "rollout " + r.ID + " by plan " + r.Plan,
		X: sinceStart(), Y: chart.Axis{Label: "hosts", Kind: chart.Count, Log: true},
		Series: []chart.Series{
			course(r, s, "exposed", func(p api.SeriesPoint) float64 { return float64(p.Exposed) }),
			dashed(course(r, s, "unconfirmed", func(p api.SeriesPoint) float64 { return float64(p.Unconfirmed) })),
			course(r, s, "harmed", func(p api.SeriesPoint) float64 { return float64(p.Harmed) }),
		},
		Marks: moments(r),
	}
}

// Evidence draws E, the breaker's evidence against a release, on a log axis with the levels at which it freezes growth and trips.
func Evidence(r api.Rollout, s api.RolloutSeries) chart.Chart {
	c := chart.Chart{
		Title: "Evidence against " + r.Component + " " + r.Version, Subtitle: "E of the breaker, rollout " + r.ID + " by plan " + r.Plan,
		X: sinceStart(), Y: chart.Axis{Label: "E", Log: true},
		Series: []chart.Series{course(r, s, "E", func(p api.SeriesPoint) float64 { return p.Evidence })},
		Marks:  moments(r),
	}
	for _, level := range []chart.Mark{{Label: "amber: growth frozen", At: s.Amber}, {Label: "trip: halt and roll back", At: s.Trip}} {
		if level.At > 0 {
			level.At = bounded(level.At)
			c.Marks = append(c.Marks, level)
		}
	}
	return c
}

func sinceStart() chart.Axis { return chart.Axis{Label: "time since start", Kind: chart.Duration} }

// course is one number of a rollout over time. Decisions of several replicas may be stamped a little out of order; the line never goes back.
func course(r api.Rollout, s api.RolloutSeries, name string, value func(api.SeriesPoint) float64) chart.Series {
	line := chart.Series{Name: name, Step: true}
	last := 0.0
	for _, p := range s.Points {
		last = max(last, p.At.Sub(r.Started).Seconds())
		line.Points = append(line.Points, chart.Point{X: last, Y: bounded(value(p))})
	}
	return line
}

func dashed(s chart.Series) chart.Series {
	s.Dashed = true
	return s
}

// moments are what happened to a rollout: the first harm, and the end of its exposure.
func moments(r api.Rollout) []chart.Mark {
	var marks []chart.Mark
	add := func(label string, at *time.Time) {
		if at != nil && !at.Before(r.Started) {
			marks = append(marks, chart.Mark{Label: label, At: at.Sub(r.Started).Seconds(), Moment: true})
		}
	}
	add("first harm", r.FirstHarm)
	add(cmp.Or(strings.TrimSpace(r.Phase), "ended"), r.Ended)
	return marks
}

// most is the largest number that is drawn: E has no bound, and a picture has.
const most = 1e300

// bounded is a number that can be drawn.
func bounded(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return min(max(v, 0), most)
}
