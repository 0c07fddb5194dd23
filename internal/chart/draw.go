package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// svg is a picture being written.
type svg struct{ bytes.Buffer }

func (s *svg) add(format string, args ...any) { fmt.Fprintf(s, format, args...) }

// px is a number of pixels: one decimal, none if it is zero.
type px float64

func (p px) String() string {
	text := strings.TrimSuffix(strconv.FormatFloat(float64(p), 'f', 1, 64), ".0")
	if text == "-0" {
		return "0"
	}
	return text
}

// plain is a text of the caller's; written, it cannot be anything but text.
type plain string

func (p plain) String() string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(p)) // a Builder takes everything
	return b.String()
}

// mostText bounds each of the caller's texts, in characters.
const mostText = 300

// legible is a text that a picture can carry: bounded, and of characters that show. What orders text about, such as the controls of
// bidirectional writing, would let one name pass for another.
func legible(text string) string {
	kept := 0
	return strings.Map(func(r rune) rune {
		kept++
		switch {
		case kept == mostText:
			return '…'
		case kept > mostText:
			return -1
		case !unicode.IsGraphic(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// legible is the chart with all of its texts so.
func (c Chart) legible() Chart {
	c.Title, c.Subtitle, c.X.Label, c.Y.Label = legible(c.Title), legible(c.Subtitle), legible(c.X.Label), legible(c.Y.Label)
	c.Series, c.Marks = slices.Clone(c.Series), slices.Clone(c.Marks)
	for i := range c.Series {
		c.Series[i].Name = legible(c.Series[i].Name)
	}
	for i := range c.Marks {
		c.Marks[i].Label = legible(c.Marks[i].Label)
	}
	return c
}

func (c Chart) draw() []byte {
	c = c.legible()
	f, s := newFrame(c), &svg{}
	s.add(`<svg xmlns="http://www.w3.org/2000/svg" class="fb-chart" role="img" width="%v" height="%v" viewBox="0 0 %v %v">`+"\n",
		px(f.width), px(f.height), px(f.width), px(f.height))
	s.add("<title>%v</title>\n<desc>%v</desc>\n", plain(c.Title), plain(f.describe()))
	s.add("<style>%s</style>\n", style())
	s.add(`<rect class="back" width="%v" height="%v"/>`+"\n", px(f.width), px(f.height))
	f.drawTexts(s)
	f.drawAxes(s)
	f.drawMarks(s)
	f.drawLines(s)
	f.drawLabels(s)
	s.add("</svg>\n")
	return s.Bytes()
}

// describe tells in words what the picture shows.
func (f *frame) describe() string {
	var b strings.Builder
	scale := func(name string, a Axis, s scale) {
		fmt.Fprintf(&b, "%s axis: %s, %s to %s%s. ", name, a.Label, a.short(s.lo), a.short(s.hi), logOrNot(a, ", log scale"))
	}
	fmt.Fprintf(&b, "Line chart. ")
	scale("Horizontal", f.X, f.x)
	scale("Vertical", f.Y, f.y)
	for _, s := range f.Series {
		if len(s.Points) == 0 {
			continue // the notes say so
		}
		var y extent
		for _, p := range s.Points {
			y.add(p.Y)
		}
		first, last := s.Points[0], s.Points[len(s.Points)-1]
		fmt.Fprintf(&b, "%s: from %s at %s to %s at %s, between %s and %s. ", s.Name, f.Y.short(first.Y), f.X.short(first.X),
			f.Y.short(last.Y), f.X.short(last.X), f.Y.short(y.lo), f.Y.short(y.hi))
	}
	for _, m := range f.Marks {
		fmt.Fprintf(&b, "Mark at %s: %s. ", f.axis(m).short(m.At), m.Label)
	}
	return strings.TrimSpace(b.String() + f.notes)
}

func logOrNot(a Axis, text string) string {
	if a.Log {
		return text
	}
	return ""
}

func (f *frame) drawTexts(s *svg) {
	wide := f.width - 2*edge
	text := func(class string, x, y float64, text string) {
		s.add(`<text class="%s" x="%v" y="%v">%v</text>`+"\n", class, px(x), px(y), plain(text))
	}
	y := edge + titleSize
	text("title", edge, y-2, fit(f.Title, titleSize*bold, wide))
	if f.Subtitle != "" {
		y += rowHeight + 4
		text("soft", edge, y, fit(f.Subtitle, textSize, wide))
	}
	text("text", edge, y+rowHeight+6, fit(f.Y.Label+logOrNot(f.Y, " (log scale)"), textSize, wide))
	text("text middle", (f.left+f.right)/2, f.bottom+2*rowHeight+6, fit(f.X.Label+logOrNot(f.X, " (log scale)"), textSize, wide))
	if f.notes != "" {
		text("soft", edge, f.height-edge, fit(f.notes, textSize, wide))
	}
	if len(f.lines) == 0 || !f.anything() {
		text("soft middle", (f.left+f.right)/2, (f.top+f.bottom)/2, "no data")
	}
}

// anything tells whether there is a point to be seen.
func (f *frame) anything() bool {
	for _, l := range f.lines {
		if l.end >= 0 {
			return true
		}
	}
	return false
}

func (f *frame) drawAxes(s *svg) {
	line := func(class string, x0, y0, x1, y1 float64) {
		s.add(`<path class="%s" d="M%v %vL%v %v"/>`+"\n", class, px(x0), px(y0), px(x1), px(y1))
	}
	text := func(class string, x, y float64, text string) {
		s.add(`<text class="soft %s" x="%v" y="%v">%v</text>`+"\n", class, px(x), px(y), plain(text))
	}
	for _, v := range f.y.minor {
		line("tick", f.left-3, f.y.at(v), f.left, f.y.at(v))
	}
	for _, v := range f.y.major {
		line("grid", f.left, f.y.at(v), f.right, f.y.at(v))
		text("end", f.left-7, f.y.at(v)+4, f.Y.tick(v, f.y.step))
	}
	if f.y.zero {
		text("end", f.left-7, f.bottom+4, "0")
	}
	line("axis", f.left, f.bottom, f.right, f.bottom)
	for _, v := range f.x.minor {
		line("tick", f.x.at(v), f.bottom, f.x.at(v), f.bottom+3)
	}
	for _, v := range f.x.major {
		line("axis", f.x.at(v), f.bottom, f.x.at(v), f.bottom+5)
		text("middle", f.x.at(v), f.bottom+rowHeight+2, f.X.tick(v, f.x.step))
	}
	if f.x.zero {
		text("middle", f.left, f.bottom+rowHeight+2, "0")
	}
}

func (f *frame) drawMarks(s *svg) {
	for _, stem := range f.stems {
		s.add(`<path class="moment" d="M%v %vV%v"/>`+"\n", px(stem.x), px(stem.top), px(f.bottom))
	}
	for _, m := range f.Marks {
		if !m.Moment && f.y.shows(m.At) {
			s.add(`<path class="level" d="M%v %vH%v"/>`+"\n", px(f.left), px(f.y.at(m.At)), px(f.right))
		}
	}
}

// drawLines draws the series in a picture within the picture, which cuts off what is beyond the axes, and their markers
// on top of it.
func (f *frame) drawLines(s *svg) {
	const bleed = 2 // so that a line along an edge keeps its width
	x, y, width, height := px(f.left-bleed), px(f.top-bleed), px(f.right-f.left+2*bleed), px(f.bottom-f.top+2*bleed)
	s.add(`<svg x="%v" y="%v" width="%v" height="%v" viewBox="%v %v %v %v">`+"\n", x, y, width, height, x, y, width, height)
	for i, l := range f.lines {
		if len(l.path) == 0 {
			continue
		}
		d := pathOf(l.path)
		s.add(`<g class="%s">`, colour(i))
		if l.Fill {
			last := l.path[len(l.path)-1]
			base := px(max(min(f.y.at(0), f.bottom), f.top))
			if f.y.log {
				base = px(f.bottom)
			}
			s.add(`<path class="fill" d="%sL%v %vH%vZ"/>`, d, px(last.x), base, px(l.path[0].x))
		}
		class := "line"
		if l.Dashed {
			class += " dashed"
		}
		s.add(`<path class="%s" d="%s"/></g>`+"\n", class, d)
	}
	s.add("</svg>\n")
	for i := range f.lines {
		f.drawMarkers(s, i)
	}
}

// drawMarkers sets a marker on a series now and then, also between points, so that every stretch of it can be told from
// the others without its colour; and one on its last point. Series take turns.
func (f *frame) drawMarkers(s *svg, i int) {
	const apart = 96.0
	l := f.lines[i]
	if l.end < 0 {
		return
	}
	s.add(`<g class="%s"><title>%v</title>`, colour(i), plain(l.Name))
	last := l.points[l.end]
	end := pixel{f.x.at(last.X), f.y.at(last.Y)}
	next := f.left + apart*(0.5+float64(i)/float64(len(f.lines)))
	for j := 1; j < len(l.path); j++ {
		for p, q := l.path[j-1], l.path[j]; next <= min(q.x, end.x-apart/4); next += apart {
			y := p.y + (q.y-p.y)*(next-p.x)/(q.x-p.x)
			if next > p.x && y >= f.top && y <= f.bottom {
				s.add(`<path class="marker" d="%s"/>`, marker(i, pixel{next, y}))
			}
		}
	}
	if f.y.shows(last.Y) {
		s.add(`<path class="marker" d="%s"/>`, marker(i, end))
	}
	s.add("</g>\n")
}

// drawLabels writes names and marks. If all names are beside the ends of their lines, those tell whose they are;
// otherwise each gets its marker, and a leader.
func (f *frame) drawLabels(s *svg) {
	for _, l := range f.labels {
		x, value := l.x0, ""
		if l.away() {
			s.add(`<path class="leader" d="M%v %vL%v %v"/>`+"\n", px(l.end.x+6), px(l.end.y), px(l.x0), px(l.middle()))
		}
		if l.series >= 0 && f.moved {
			x += glyphRoom
			s.add(`<path class="marker %s" d="%s"/>`+"\n", colour(l.series), marker(l.series, pixel{l.x0 + 5, l.middle()}))
		}
		if l.series >= 0 {
			value = fmt.Sprintf(` <tspan class="value">%v</tspan>`, plain(l.value))
		}
		s.add(`<text class="%s halo" x="%v" y="%v">%v%s</text>`+"\n", l.class, px(x), px(l.middle()+4), plain(l.text), value)
	}
}

// pathOf writes a path's outline in the language of the d attribute.
func pathOf(path []pixel) string {
	b := make([]byte, 0, 16*len(path))
	for i, p := range path {
		if i == 0 {
			b = append(b, 'M')
		} else {
			b = append(b, 'L')
		}
		b = append(b, px(p.x).String()...)
		b = append(b, ' ')
		b = append(b, px(p.y).String()...)
	}
	return string(b)
}
