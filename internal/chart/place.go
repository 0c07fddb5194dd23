package chart

import (
	"cmp"
	"math"
	"slices"
)

// label is a text in or beside the plot.
type label struct {
	box
	text, value string
	class       string
	series      int   // whose name this is, or -1
	end         pixel // of that series' line; a leader goes there if the label is not beside it
}

// placeMoments puts the labels of moments into rows above the plot, from right to left, so that the line of a moment
// does not run through the label of the one before it. The plot begins below the rows.
func (f *frame) placeMoments() {
	rows := 0.0
	most := max(math.Floor((f.bottom-f.top)/3/rowHeight), 1)
	for _, m := range slices.Backward(f.moments()) {
		if !f.x.shows(m.At) {
			continue
		}
		text := fit(m.Label, textSize, f.width/3)
		at, width := f.x.at(m.At)+4, widthOf(text, textSize)
		if at+width > f.width-edge {
			at -= width + 8
		}
		for row := 0.0; ; row++ {
			b := box{at, -(row + 1) * rowHeight, at + width + 8, -row * rowHeight}
			if row+1 < most && f.isTaken(b) {
				continue
			}
			f.take(label{box: b, text: text, class: "soft", series: -1})
			f.stems = append(f.stems, stem{f.x.at(m.At), b.y0 + 3})
			rows = max(rows, row+1)
			break
		}
	}
	f.top += rows * rowHeight
	for i := range f.labels {
		f.labels[i].y0 += f.top
		f.labels[i].y1 += f.top
		f.taken[i] = f.labels[i].box
		f.stems[i].top += f.top
	}
}

// placeLevels puts the labels of levels on their lines, where the least is in the way.
func (f *frame) placeLevels() {
	for _, m := range f.Marks {
		if m.Moment || !f.y.shows(m.At) {
			continue
		}
		text := fit(m.Label, textSize, (f.right-f.left)/2)
		width, y := widthOf(text, textSize), f.y.at(m.At)
		var places []box
		for _, top := range [...]float64{y - rowHeight, y + 1} {
			for _, x := range [...]float64{f.left + 6, f.right - width - 6, (f.left + f.right - width) / 2} {
				if top >= f.top-rowHeight && top+rowHeight <= f.bottom {
					places = append(places, box{x, top, x + width, top + rowHeight})
				}
			}
		}
		f.take(label{box: f.best(places), text: text, class: "soft", series: -1})
	}
}

// placeNames puts the names of the series to the ends of their lines: in a column for those that reach the end of the
// plot, and for the others where there is room.
func (f *frame) placeNames() {
	var column, inside []label
	for i, l := range f.lines {
		if l.end < 0 {
			continue
		}
		p, width := l.points[l.end], f.widthOfName(Series{Name: l.Name, Points: l.points}, l.end)
		end := pixel{f.x.at(p.X), min(max(f.y.at(p.Y), f.top), f.bottom)}
		name := label{text: f.shorten(l.Name), value: f.Y.short(p.Y), class: "text", series: i, end: end}
		name.box = box{end.x + nameGap, end.y - rowHeight/2, end.x + nameGap + width, end.y + rowHeight/2}
		if end.x > f.right-2 {
			column = append(column, name)
		} else {
			inside = append(inside, name)
		}
	}
	stack(column, f.top+rowHeight/2-4, f.bottom)
	for _, name := range append(column, inside...) {
		if name.end.x <= f.right-2 {
			name.box = f.best(f.placesFor(name))
		}
		f.moved = f.moved || name.away() || !f.y.shows(f.lines[name.series].points[f.lines[name.series].end].Y)
		f.take(name)
	}
}

// placesFor are the places for a name beside the end of its line, the nearest first.
func (f *frame) placesFor(name label) []box {
	places := []box{name.box}
	for away := rowHeight / 4; away < f.bottom-f.top; away += rowHeight / 4 {
		for _, dy := range [...]float64{-away, away} {
			if b := name.box.shifted(dy); b.middle() >= f.top && b.middle() <= f.bottom {
				places = append(places, b)
			}
		}
	}
	return places
}

// stack moves labels up and down, as little as it takes, until they are apart and between top and bottom. Those that
// touch move as one, round the middle of where they would be; the order of their ends stays, so that leaders do not cross.
func stack(labels []label, top, bottom float64) {
	type block struct {
		sum float64 // of where the first would have to be for each of the others to be in its place
		n   int
	}
	slices.SortStableFunc(labels, func(a, b label) int { return cmp.Compare(a.end.y, b.end.y) })
	var blocks []block
	for i, l := range labels {
		blocks = append(blocks, block{l.end.y - float64(i)*rowHeight, 1})
		for n := len(blocks); n > 1 && blocks[n-2].sum/float64(blocks[n-2].n) > blocks[n-1].sum/float64(blocks[n-1].n); n-- {
			blocks[n-2].sum += blocks[n-1].sum
			blocks[n-2].n += blocks[n-1].n
			blocks = blocks[:n-1]
		}
	}
	i, lowest := 0, bottom-float64(len(labels)-1)*rowHeight
	for _, b := range blocks {
		first := max(min(b.sum/float64(b.n), lowest), top)
		for range b.n {
			labels[i].box = labels[i].shifted(first + float64(i)*rowHeight - labels[i].middle())
			i++
		}
	}
}

// away tells whether a name is not beside the end of its line.
func (l label) away() bool { return l.series >= 0 && math.Abs(l.middle()-l.end.y) > 4 }

// best is the place where a label does the least harm: on another label is worst, then on a line; an earlier place is
// better than a later one.
func (f *frame) best(places []box) box {
	var found box
	least := math.Inf(1)
	for i, b := range places {
		cost := float64(i)
		if f.isTaken(b) {
			cost += 1e6
		}
		for _, l := range f.lines {
			if b.crossed(l.path) {
				cost += 12
			}
		}
		if cost < least {
			least, found = cost, b
		}
	}
	return found
}

func (f *frame) take(l label) {
	f.labels = append(f.labels, l)
	f.taken = append(f.taken, l.box)
}

func (f *frame) isTaken(b box) bool {
	return slices.ContainsFunc(f.taken, func(other box) bool {
		return b.x0 < other.x1 && other.x0 < b.x1 && b.y0 < other.y1 && other.y0 < b.y1
	})
}

// box is a rectangle in pixels, from its top left to its bottom right corner.
type box struct{ x0, y0, x1, y1 float64 }

func (b box) shifted(dy float64) box { return box{b.x0, b.y0 + dy, b.x1, b.y1 + dy} }

func (b box) middle() float64 { return (b.y0 + b.y1) / 2 }

// crossed tells whether a path runs through b.
func (b box) crossed(path []pixel) bool {
	for i := 1; i < len(path); i++ {
		p, q := path[i-1], path[i]
		if max(p.x, q.x) < b.x0 || min(p.x, q.x) > b.x1 || max(p.y, q.y) < b.y0 || min(p.y, q.y) > b.y1 {
			continue
		}
		left, right := 0, 0 // corners of b on either side of the line through p and q
		for _, c := range [...]pixel{{b.x0, b.y0}, {b.x1, b.y0}, {b.x0, b.y1}, {b.x1, b.y1}} {
			if (q.x-p.x)*(c.y-p.y) > (q.y-p.y)*(c.x-p.x) {
				left++
			} else {
				right++
			}
		}
		if left > 0 && right > 0 {
			return true
		}
	}
	return false
}
