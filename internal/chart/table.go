package chart

import (
	"cmp"
	"slices"
	"strings"
)

// Table is the chart as a table: a row for each X, a column for each series, and one for the moments if there are any.
// It has the points that the picture shows, thinned like those. A series of steps holds its value to its last point; any
// other has an empty cell where it has no point. A chart that WriteSVG refuses gives nothing.
func (c Chart) Table() (head []string, rows [][]string) {
	if c.check() != nil {
		return nil, nil
	}
	head = []string{c.X.Label}
	last := 0
	for _, s := range c.Series {
		head = append(head, s.Name)
		last++
	}
	byX := map[float64][]string{}
	row := func(x float64) []string {
		if byX[x] == nil {
			byX[x] = make([]string, len(c.Series)+2)
			byX[x][0] = c.X.exact(x)
		}
		return byX[x]
	}
	series := newFrame(c).lines
	for i, s := range series {
		for _, p := range s.points {
			row(p.X)[i+1] = c.Y.exact(p.Y)
		}
	}
	moments := c.moments()
	for _, m := range moments {
		cell := &row(m.At)[last+1]
		*cell = strings.TrimPrefix(*cell+"; "+m.Label, "; ")
	}
	rows = c.inOrder(byX, series)
	if len(moments) > 0 {
		return append(head, "what happened"), rows
	}
	for i := range rows {
		rows[i] = rows[i][:last+1]
	}
	return head, rows
}

// inOrder sorts the rows by X and carries the values of steps forward.
func (c Chart) inOrder(byX map[float64][]string, series []line) [][]string {
	xs := make([]float64, 0, len(byX))
	for x := range byX {
		xs = append(xs, x)
	}
	slices.Sort(xs)
	rows := make([][]string, 0, len(xs))
	for _, x := range xs {
		rows = append(rows, byX[x])
	}
	for i, s := range series {
		if !s.Step || len(s.points) == 0 {
			continue
		}
		end, _ := slices.BinarySearch(xs, s.points[len(s.points)-1].X)
		for r := 1; r <= end; r++ {
			if rows[r][i+1] == "" {
				rows[r][i+1] = rows[r-1][i+1]
			}
		}
	}
	return rows
}

// moments are the marks on the X axis, in their order.
func (c Chart) moments() []Mark {
	var found []Mark
	for _, m := range c.Marks {
		if m.Moment {
			found = append(found, m)
		}
	}
	slices.SortStableFunc(found, func(a, b Mark) int { return cmp.Compare(a.At, b.At) })
	return found
}
