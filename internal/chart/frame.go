package chart

import (
	"math"
	"slices"
	"strings"
)

// The sizes of texts and the room round them, in pixels.
const (
	edge      = 16.0
	titleSize = 17.0
	textSize  = 12.0
	rowHeight = 16.0 // of a text of textSize
	nameGap   = 12.0 // between the end of a line and its name
	bold      = 1.16 // how much wider bold text is
	glyphRoom = 14.0 // for the marker before a series' name
)

// frame is a chart with everything in its place.
type frame struct {
	Chart
	width, height            float64
	left, right, top, bottom float64 // the plot, without titles, ticks and labels
	x, y                     scale
	lines                    []line
	labels                   []label
	notes                    string
	taken                    []box // by labels
	stems                    []stem
	moved                    bool // a name is not beside the end of its line, so that names need a marker
}

// line is a series as it is drawn.
type line struct {
	Series
	points []Point // those that can be seen
	path   []pixel // through the points, corners of steps included
	end    int     // index of the last point that is not beyond the X axis, or -1
}

// stem is the line of a moment, which goes up to its label.
type stem struct{ x, top float64 }

// pixel is a place in the picture, from its top left corner.
type pixel struct{ x, y float64 }

func newFrame(c Chart) *frame {
	f := &frame{Chart: c}
	f.width, f.height = c.size()
	x, y := c.extents()
	f.top = edge + titleSize + 6 + rowHeight + 14
	if c.Subtitle != "" {
		f.top += rowHeight + 4
	}
	f.bottom = f.height - edge - 2*rowHeight - 8
	if f.notes = c.notes(x, y); f.notes != "" {
		f.bottom -= rowHeight + 4
	}
	f.y = newScale(c.Y, y, ticksIn(f.bottom-f.top, 36), true)
	f.left = edge + 10
	for _, v := range f.y.major {
		f.left = max(f.left, edge+10+widthOf(c.Y.tick(v, f.y.step), textSize))
	}
	f.fitAcross(x)
	f.placeMoments()
	f.y.from, f.y.to = f.bottom, f.top
	for _, s := range c.Series {
		f.lines = append(f.lines, f.line(s))
	}
	f.placeLevels()
	f.placeNames()
	return f
}

// extents are what the data spans, marks included.
func (c Chart) extents() (x, y extent) {
	for _, s := range c.Series {
		for _, p := range s.Points {
			x.add(p.X)
			y.add(p.Y)
		}
	}
	for _, m := range c.Marks {
		if m.Moment {
			x.add(m.At)
		} else {
			y.add(m.At)
		}
	}
	return x, y
}

// ticksIn is how many ticks a length has room for.
func ticksIn(length, each float64) int { return min(max(int(length/each), 3), maxTicks) }

// notes say what the picture does not show as it is.
func (c Chart) notes(x, y extent) string {
	var notes []string
	if c.X.below(x) || c.Y.below(y) {
		notes = append(notes, "A log axis has no 0: it is drawn at the lower end, out of scale.")
	}
	var empty []string
	for _, s := range c.Series {
		if len(s.Points) == 0 {
			empty = append(empty, s.Name)
		}
	}
	if len(empty) > 0 {
		notes = append(notes, "No data: "+strings.Join(empty, ", ")+".")
	}
	return strings.Join(notes, " ")
}

// below tells whether there is something below a log axis.
func (a Axis) below(e extent) bool {
	return a.Log && e.some && (e.lo < tiny || a.given() && e.lo < a.Min)
}

// fitAcross decides the X axis: so many ticks that their labels keep apart, and so long that the names at the ends of the
// lines have room.
func (f *frame) fitAcross(x extent) {
	f.right = f.width - edge - 8
	for n := ticksIn(f.right-f.left, 80); ; n-- {
		f.x = newScale(f.X, x, max(n, 3), false)
		f.x.from, f.x.to = f.left, f.right
		if n <= 3 || f.apart() {
			break
		}
	}
	start := f.left
	if f.x.zero {
		start += strip
	}
	for _, s := range f.Series {
		if end := f.endOf(s.Points); end >= 0 {
			room := f.width - edge - start - nameGap - f.widthOfName(s, end)
			if share := (f.x.at(s.Points[end].X) - start) / (f.x.to - start); share > 0 {
				f.right = min(f.right, start+room/share)
			}
		}
	}
	f.right = max(f.right, start+100)
	f.x.to = f.right
}

// apart tells whether the labels of the X axis do not touch.
func (f *frame) apart() bool {
	end := math.Inf(-1)
	for _, v := range f.x.major {
		half := widthOf(f.X.tick(v, f.x.step), textSize) / 2
		if f.x.at(v)-half < end+12 {
			return false
		}
		end = f.x.at(v) + half
	}
	return true
}

// endOf is the index of the last point that is not beyond the X axis, or -1.
func (f *frame) endOf(points []Point) int {
	for i, p := range slices.Backward(points) {
		if f.x.shows(p.X) {
			return i
		}
	}
	return -1
}

// widthOfName is the room that the name at the end of a line needs, with its marker and the last value.
func (f *frame) widthOfName(s Series, end int) float64 {
	return glyphRoom + widthOf(f.shorten(s.Name)+" ", textSize) + widthOf(f.Y.short(s.Points[end].Y), textSize*bold)
}

func (f *frame) shorten(name string) string { return fit(name, textSize, f.width/4) }

// line finds the points of a series that can be seen, and the path through them.
func (f *frame) line(s Series) line {
	l := line{Series: s, points: thin(s.Points, f.column)}
	for i, p := range l.points {
		here := pixel{f.x.at(p.X), f.y.at(p.Y)}
		if s.Step && i > 0 {
			l.path = append(l.path, pixel{here.x, l.path[len(l.path)-1].y})
		}
		l.path = append(l.path, here)
	}
	l.end = f.endOf(l.points)
	return l
}

// column is the pixel column that an X falls into; all on one side of the plot fall into one.
func (f *frame) column(x float64) int { return int(min(max(f.x.at(x), f.left-1), f.right+1)) }

// thin leaves out points that a picture cannot show: of those in one column the first, the last, the lowest and the
// highest stay. The line through them covers the same pixels.
func thin(points []Point, column func(x float64) int) []Point {
	if len(points) < 5 {
		return points
	}
	var kept []Point
	for start := 0; start < len(points); {
		in := column(points[start].X)
		low, high, end := start, start, start
		for end < len(points) && column(points[end].X) == in {
			if points[end].Y < points[low].Y {
				low = end
			}
			if points[end].Y > points[high].Y {
				high = end
			}
			end++
		}
		stay := []int{start, low, high, end - 1}
		slices.Sort(stay)
		for _, i := range slices.Compact(stay) {
			kept = append(kept, points[i])
		}
		start = end
	}
	return kept
}
