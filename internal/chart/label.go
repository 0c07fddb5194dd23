package chart

import (
	"math"
	"strconv"
	"strings"
)

// short is a value as it stands at a line's end: three figures, 8.5M, 12k, 1 h 18 min.
func (a Axis) short(v float64) string {
	if a.Kind == Duration {
		return duration(v, 2)
	}
	return number(v, 3)
}

// tick is a value as it stands at a tick, with as many figures as tell it from the tick a step further.
func (a Axis) tick(v, step float64) string {
	if a.Kind == Duration && (step == 0 || step >= 1) {
		return duration(v, 4)
	}
	figures := 3
	if v != 0 && step > 0 {
		figures = max(figures, rungBelow(Number, math.Abs(v))-rungBelow(Number, step)+1)
	}
	text := number(v, figures)
	if a.Kind == Duration && v != 0 {
		text += " s"
	}
	return text
}

// exact is a value as it stands in the table: six figures, and every figure before the point.
func (a Axis) exact(v float64) string {
	size := math.Abs(v)
	switch {
	case a.Kind == Duration:
		return duration(v, 4)
	case size >= 1e5 && size < 1e15:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v+0, 'g', 6, 64)
}

// number rounds to so many figures and writes thousands as k, millions as M; beyond that it takes powers of ten.
func number(v float64, figures int) string {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'e', figures-1, 64), 64) // what was just formatted parses
	size, sign := math.Abs(v), ""
	if v < 0 {
		sign = "−"
	}
	switch {
	case size < tiny:
		return "0"
	case size < 1e-3 || size >= 1e9:
		power := rungBelow(Number, size)
		factor := trimmed(size/math.Pow10(power), figures-1) + "×"
		if factor == "1×" {
			factor = ""
		}
		return sign + factor + "10" + raised(power)
	case size >= 1e6:
		return sign + trimmed(size/1e6, figures+6) + "M"
	case size >= 1e3:
		return sign + trimmed(size/1e3, figures+3) + "k"
	}
	return sign + trimmed(size, figures+3)
}

// trimmed writes v with at most so many decimals and no trailing zeros.
func trimmed(v float64, decimals int) string {
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// raised writes an exponent in superscript figures.
func raised(power int) string {
	return strings.Map(func(r rune) rune {
		if r == '-' {
			return '⁻'
		}
		return []rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[r-'0']
	}, strconv.Itoa(power))
}

// duration writes seconds in so many units at most, from the largest that fits, and rounds in the last one.
func duration(v float64, parts int) string {
	size, sign := math.Abs(v), ""
	if v < 0 {
		sign = "−"
	}
	switch {
	case size < 1:
		if text := number(size, 3); text != "0" {
			return sign + text + " s"
		}
		return "0"
	case size < 60:
		return sign + trimmed(size, 3) + " s"
	case size >= 1000*day:
		return sign + number(size/day, 3) + " d"
	}
	units := []struct {
		name    string
		seconds float64
	}{{"d", day}, {"h", 3600}, {"min", 60}, {"s", 1}}
	first := 0
	for size < units[first].seconds {
		first++
	}
	last := units[min(first+parts, len(units))-1].seconds
	left := math.Round(size/last) * last
	var words []string
	for _, unit := range units {
		if whole := math.Floor(left / unit.seconds); whole > 0 {
			words = append(words, strconv.Itoa(int(whole))+" "+unit.name)
			left -= whole * unit.seconds
		}
	}
	return sign + strings.Join(words, " ")
}

// widthOf estimates, rather generously, how wide a text will be: there is no font to ask.
func widthOf(text string, size float64) float64 {
	width := 0.0
	for _, r := range text {
		switch {
		case r >= 0x2e80: // scripts of full width, and what is not known better
			width++
		case strings.ContainsRune("iljtfrI .,:;'|!()[]-", r):
			width += 0.36
		case strings.ContainsRune("mwMW@%—…", r):
			width += 0.95
		case r >= 'A' && r <= 'Z':
			width += 0.7
		default:
			width += 0.58
		}
	}
	return width * size
}

// fit shortens a text to a width, with an ellipsis for what is missing.
func fit(text string, size, width float64) string {
	if widthOf(text, size) <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && widthOf(string(runes)+"…", size) > width {
		runes = runes[:len(runes)-1]
	}
	return strings.TrimRight(string(runes), " ") + "…"
}
