package cli

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"github.com/firebreak-dev/firebreak/internal/chart"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/sim"
)

// plot draws the course of the median run beside what happened that day.
func (p *program) plot(file string, s sim.Scenario, sum sim.Summary) error {
	return p.draw(file, courseOf(s, sum))
}

// draw writes a picture to a file, or to standard output if that is "-".
func (p *program) draw(file string, c chart.Chart) error {
	var picture bytes.Buffer
	if err := c.WriteSVG(&picture); err != nil {
		return err
	}
	if file == "-" {
		_, _ = p.Out.Write(picture.Bytes()) // a closed pipe has nobody to be told
		return nil
	}
	if err := os.WriteFile(file, picture.Bytes(), 0o644); err != nil { //nolint:gosec // a picture is for everybody to see
		return fault.New(fault.Invalid, "write picture: %w", err)
	}
	if !p.json {
		p.say("Drawn: %s", file)
	}
	return nil
}

func courseOf(s sim.Scenario, sum sim.Summary) chart.Chart {
	c := chart.Chart{
		Title:    fmt.Sprintf("%s on plan %s", sum.Scenario, sum.Plan),
		Subtitle: fmt.Sprintf("%s hosts, the run with the median harm of %d; %s", thousands(sum.Hosts), sum.Runs, effectOf(s.Fault)),
		X:        chart.Axis{Label: "time since start", Kind: chart.Duration}, Y: chart.Axis{Label: "hosts", Kind: chart.Count, Log: true},
	}
	exposed, harmed := chart.Series{Name: "exposed", Step: true}, chart.Series{Name: "harmed", Step: true}
	for _, m := range sum.Course {
		exposed.Points = append(exposed.Points, chart.Point{X: m.Minutes * 60, Y: float64(m.Exposed)})
		harmed.Points = append(harmed.Points, chart.Point{X: m.Minutes * 60, Y: float64(m.Harmed)})
	}
	c.Series = append(c.Series, exposed, harmed)
	if s.Day.Hosts > 0 && len(s.Day.Curve) > 0 {
		day := chart.Series{Name: "that day", Dashed: true}
		for _, at := range s.Day.Curve {
			day.Points = append(day.Points, chart.Point{X: time.Duration(at.At).Seconds(), Y: at.Share * float64(s.Day.Hosts)})
		}
		c.Series = append(c.Series, day)
		c.Marks = append(c.Marks, chart.Mark{Label: "stopped that day", At: day.Points[len(day.Points)-1].X, Moment: true})
	}
	if sum.Halt > 0 {
		c.Marks = append(c.Marks, chart.Mark{Label: "halted", At: sum.Halt * 60, Moment: true})
	}
	return c
}
