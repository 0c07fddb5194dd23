package chart

import (
	"fmt"
	"strings"
)

// colours is how many there are, and how many shapes of markers.
const colours = 6

// palette are the colours of series, in their order: on a light background and on a dark one. Any two of a column can be
// told apart with each of the three colour blindnesses, and every one stands out from its background; a test reckons both.
func palette() [colours]struct{ light, dark string } {
	return [colours]struct{ light, dark string }{
		{"#2350c8", "#5b8ff5"},
		{"#e8590c", "#e8743b"},
		{"#00896b", "#35d6b0"},
		{"#8a3b8f", "#a8629f"},
		{"#2b2b2b", "#f2f2f2"},
		{"#2e9bd6", "#f0c818"},
	}
}

const lightBack, darkBack = "#ffffff", "#211f1c"

// colour is the class that gives series i its colour.
func colour(i int) string { return fmt.Sprintf("c%d", i%colours) }

// style is the picture's style sheet. All of it is below the class fb-chart, so that a picture put into a page leaves the
// page alone.
func style() string {
	var b strings.Builder
	sheet := func(rules string) {
		for rule := range strings.SplitSeq(strings.TrimSpace(rules), "\n") {
			b.WriteString(".fb-chart " + strings.TrimSpace(rule) + "\n")
		}
	}
	b.WriteString("\n.fb-chart{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;max-width:100%;height:auto}\n")
	sheet(`
		.title{font-size:17px;font-weight:600}
		.value{font-weight:600}
		.middle{text-anchor:middle}
		.end{text-anchor:end}
		path{fill:none}
		.line{stroke:currentColor;stroke-width:2;stroke-linejoin:round}
		.dashed{stroke-dasharray:7 4}
		.fill{fill:currentColor;opacity:.12}
		.marker{fill:currentColor;stroke-width:1.5}
		.leader{stroke-width:1}
		.level{stroke-width:1.25;stroke-dasharray:10 3}
		.moment{stroke-width:1.25;stroke-dasharray:2 3}
		.halo{paint-order:stroke;stroke-width:3;stroke-linejoin:round}`)
	sheet(scheme(lightBack, "#1d1c1a", "#66625b", "#e6e2da"))
	for i, c := range palette() {
		sheet(fmt.Sprintf(".%s{color:%s}", colour(i), c.light))
	}
	b.WriteString("@media (prefers-color-scheme:dark){\n")
	sheet(scheme(darkBack, "#ece9e2", "#a39d92", "#3b3733"))
	for i, c := range palette() {
		sheet(fmt.Sprintf(".%s{color:%s}", colour(i), c.dark))
	}
	b.WriteString("}\n")
	return b.String()
}

// scheme are the rules that differ between light and dark, but for the palette.
func scheme(back, text, soft, grid string) string {
	return strings.NewReplacer("BACK", back, "TEXT", text, "SOFT", soft, "GRID", grid).Replace(`
		.back{fill:BACK}
		.title,.text{fill:TEXT}
		.soft{fill:SOFT}
		.axis,.tick,.level,.moment,.leader{stroke:SOFT}
		.grid{stroke:GRID}
		.marker,.halo{stroke:BACK}`)
}

// marker is the outline of the marker of series i round p. Six shapes go with six colours; the second six series have
// their neighbour's shape, so that no two of twelve agree in both.
func marker(i int, p pixel) string {
	at := func(dx, dy float64) string { return px(p.x+dx).String() + " " + px(p.y+dy).String() }
	outline := func(points ...string) string { return "M" + strings.Join(points, "L") + "Z" }
	switch (i + i/colours) % colours {
	case 0:
		return "M" + at(-4.5, 0) + "a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z"
	case 1:
		return outline(at(-4, -4), at(4, -4), at(4, 4), at(-4, 4))
	case 2:
		return outline(at(0, -5.5), at(5, 3.5), at(-5, 3.5))
	case 3:
		return outline(at(0, -6), at(6, 0), at(0, 6), at(-6, 0))
	case 4:
		return outline(at(0, 5.5), at(5, -3.5), at(-5, -3.5))
	default:
		return outline(at(-2, -5.5), at(2, -5.5), at(2, -2), at(5.5, -2), at(5.5, 2), at(2, 2), at(2, 5.5), at(-2, 5.5),
			at(-2, 2), at(-5.5, 2), at(-5.5, -2), at(-2, -2))
	}
}
