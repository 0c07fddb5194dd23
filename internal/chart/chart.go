// Package chart draws lines over time as SVG: data in, one self-contained picture out.
//
// A picture needs nothing but itself: no script, no font, no reference to anything outside. It follows the reader's light
// or dark scheme, says what it shows to a screen reader, and tells its series apart by marker and label as well as by
// colour. The same chart gives the same bytes. Every chart has a table view, [Chart.Table], for whoever cannot use a picture.
package chart

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Chart is one picture. Title, labels and names are plain text, escaped where they are written.
type Chart struct {
	Title    string // what is shown; needed
	Subtitle string // under which conditions; may be empty
	X, Y     Axis
	Series   []Series // at most 12, drawn in this order; one without points is named as having no data
	Marks    []Mark   // at most 12
	Width    int      // in pixels, 320 to 4000; 0 is 860
	Height   int      // in pixels, 240 to 4000; 0 is 480
}

// Axis is what a direction of the picture means.
type Axis struct {
	Label string // what is measured, as in "hosts" or "time since start"; needed
	Kind  Kind
	// Log shows each power of ten with the same length. Negative values are refused. Zero, and whatever else is below the
	// axis, is shown in a strip of its own beneath it, and a note under the picture says so.
	Log bool
	// Min and Max bound what is shown: beyond them lines are cut off and marks left out. Both 0: whatever is needed for
	// all series and marks.
	Min, Max float64
}

// Kind is what the numbers of an axis are, which decides where ticks stand and how they read.
type Kind int

// The kinds of axes.
const (
	Number   Kind = iota // 0.05, 1.5, 20k, 10⁹
	Count                // whole things such as hosts: from 0 unless log, never a tick between 1 and 2
	Duration             // seconds, as of time.Duration.Seconds: 30 s, 5 min, 1 h 30 min, 2 d
)

// Series is one line.
type Series struct {
	Name   string  // needed; stands at the end of the line with its last value
	Points []Point // X never goes back
	Step   bool    // a value holds until the next point, instead of changing evenly towards it
	Dashed bool    // for what is not of the same standing: an estimate, a reference, what happened that day
	Fill   bool    // shade what is under the line
}

// Point is one value of a series, finite and of a magnitude below 1e300.
type Point struct{ X, Y float64 }

// Mark is a line right through the picture: a level such as the one that trips, or a moment such as a halt.
type Mark struct {
	Label  string // needed
	At     float64
	Moment bool // At is on the X axis; otherwise a level on the Y axis
}

const (
	defaultWidth, defaultHeight = 860, 480
	minWidth, minHeight         = 320, 240
	maxSide                     = 4000
	maxSeries, maxMarks         = 12, 12 // more cannot be told apart
	maxMagnitude                = 1e300  // differences stay finite
)

// WriteSVG writes the picture in one piece. A chart with mistakes is refused with all of them (fault.Invalid) and
// nothing is written.
func (c Chart) WriteSVG(w io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	if _, err := w.Write(c.draw()); err != nil {
		return fmt.Errorf("write chart %q: %w", c.Title, err)
	}
	return nil
}

// size is Width and Height with the defaults filled in.
func (c Chart) size() (width, height float64) {
	width, height = float64(c.Width), float64(c.Height)
	if c.Width == 0 {
		width = defaultWidth
	}
	if c.Height == 0 {
		height = defaultHeight
	}
	return width, height
}

func (c Chart) check() error {
	var problems []fault.Problem
	add := func(path, format string, args ...any) {
		problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	need := func(path, text string) {
		if strings.TrimSpace(text) == "" {
			add(path, "is missing")
		}
	}
	need("title", c.Title)
	width, height := c.size()
	if width < minWidth || width > maxSide {
		add("width", "is %d; must be %d to %d, or 0 for %d", c.Width, minWidth, maxSide, defaultWidth)
	}
	if height < minHeight || height > maxSide {
		add("height", "is %d; must be %d to %d, or 0 for %d", c.Height, minHeight, maxSide, defaultHeight)
	}
	c.X.check("x", add)
	c.Y.check("y", add)
	if len(c.Series) > maxSeries {
		add("series", "are %d; more than %d cannot be told apart", len(c.Series), maxSeries)
	}
	for i, s := range c.Series {
		path := fmt.Sprintf("series[%d]", i)
		need(path+".name", s.Name)
		c.checkPoints(path, s.Points, add)
	}
	if len(c.Marks) > maxMarks {
		add("marks", "are %d; more than %d cannot be told apart", len(c.Marks), maxMarks)
	}
	for i, m := range c.Marks {
		path := fmt.Sprintf("marks[%d]", i)
		need(path+".label", m.Label)
		if wrong := c.axis(m).refuses(m.At); wrong != "" {
			add(path+".at", "%s", wrong)
		}
	}
	return fault.Problems(fmt.Sprintf("draw chart %q", c.Title), problems)
}

// checkPoints reports the first mistake of a series only: the others are mostly of the same making, and may be very many.
func (c Chart) checkPoints(path string, points []Point, add func(path, format string, args ...any)) {
	for i, p := range points {
		name, wrong := ".x", c.X.refuses(p.X)
		switch {
		case wrong != "":
		case i > 0 && p.X < points[i-1].X:
			wrong = fmt.Sprintf("is %v after %v; points go forward", p.X, points[i-1].X)
		default:
			name, wrong = ".y", c.Y.refuses(p.Y)
		}
		if wrong != "" {
			add(fmt.Sprintf("%s.points[%d]%s", path, i, name), "%s", wrong)
			return
		}
	}
}

// axis is the one that a mark stands on.
func (c Chart) axis(m Mark) Axis {
	if m.Moment {
		return c.X
	}
	return c.Y
}

func (a Axis) check(path string, add func(path, format string, args ...any)) {
	if strings.TrimSpace(a.Label) == "" {
		add(path+".label", "is missing")
	}
	if a.Kind < Number || a.Kind > Duration {
		add(path+".kind", "is %d, which is none", a.Kind)
	}
	if a.given() {
		low, high := a.refuses(a.Min), a.refuses(a.Max)
		switch {
		case low != "":
			add(path+".min", "%s", low)
		case a.Log && a.Min < tiny:
			add(path+".min", "is %v; must be above 0 on a log axis", a.Min)
		}
		switch {
		case high != "":
			add(path+".max", "%s", high)
		case a.Min >= a.Max:
			add(path+".max", "is %v; must be above min, which is %v", a.Max, a.Min)
		}
	}
}

// given tells whether the range is the caller's rather than the data's.
func (a Axis) given() bool { return a.Min != 0 || a.Max != 0 }

// refuses says what is wrong with a value on this axis, or nothing.
func (a Axis) refuses(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Sprintf("is %v; must be a finite number", v)
	case math.Abs(v) > maxMagnitude:
		return fmt.Sprintf("is %v; must be within ±%v", v, maxMagnitude)
	case a.Log && v < 0:
		return fmt.Sprintf("is %v; a log axis has no negative values", v)
	}
	return ""
}
