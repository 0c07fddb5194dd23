package chart

import (
	"math"
	"strconv"
	"testing"
)

// Every colour stands out from its background (WCAG asks 3:1 of graphics), and any two can be told apart by people with
// and without each colour blindness (simulated as by Machado, Oliveira and Fernandes, 2009; distances in OKLab).
func TestPaletteCanBeToldApart(t *testing.T) {
	t.Parallel()
	const contrast, distance = 3, 0.08
	var light, dark []string
	for _, c := range palette() {
		light, dark = append(light, c.light), append(dark, c.dark)
	}
	for back, colours := range map[string][]string{lightBack: light, darkBack: dark} {
		for i, c := range colours {
			if got := contrastOf(rgb(t, c), rgb(t, back)); got < contrast {
				t.Errorf("%s on %s: got contrast %.2f, want at least %v", c, back, got, contrast)
			}
			for _, other := range colours[:i] {
				for sight, m := range sights() {
					if got := distanceOf(m.of(rgb(t, c)), m.of(rgb(t, other))); got < distance {
						t.Errorf("%s and %s, %s: got distance %.3f, want at least %v", c, other, sight, got, distance)
					}
				}
			}
		}
	}
}

// No two series agree in marker and colour.
func TestMarkersTellSeriesApart(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for i := range maxSeries {
		look := colour(i) + marker(i, pixel{})
		if other, taken := seen[look]; taken {
			t.Errorf("series %d looks like series %d", i, other)
		}
		seen[look] = i
	}
}

type matrix [3][3]float64

func sights() map[string]matrix {
	return map[string]matrix{
		"full sight":   {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
		"protanopia":   {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
		"deuteranopia": {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
		"tritanopia":   {{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}},
	}
}

func (m matrix) of(c [3]float64) [3]float64 {
	var out [3]float64
	for i, row := range m {
		out[i] = min(max(row[0]*c[0]+row[1]*c[1]+row[2]*c[2], 0), 1)
	}
	return out
}

// rgb is a colour in linear light.
func rgb(t *testing.T, colour string) [3]float64 {
	t.Helper()
	var out [3]float64
	for i := range out {
		v, err := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		if out[i] = float64(v) / 255; out[i] <= 0.04045 {
			out[i] /= 12.92
		} else {
			out[i] = math.Pow((out[i]+0.055)/1.055, 2.4)
		}
	}
	return out
}

func contrastOf(a, b [3]float64) float64 {
	light := func(c [3]float64) float64 { return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2] + 0.05 }
	return max(light(a), light(b)) / min(light(a), light(b))
}

func distanceOf(a, b [3]float64) float64 {
	lab := func(c [3]float64) [3]float64 {
		l := math.Cbrt(0.4122214708*c[0] + 0.5363325363*c[1] + 0.0514459929*c[2])
		m := math.Cbrt(0.2119034982*c[0] + 0.6806995451*c[1] + 0.1073969566*c[2])
		s := math.Cbrt(0.0883024619*c[0] + 0.2817188376*c[1] + 0.6299787005*c[2])
		return [3]float64{
			0.2104542553*l + 0.7936177850*m - 0.0040720468*s,
			1.9779984951*l - 2.4285922050*m + 0.4505937099*s,
			0.0259040371*l + 0.7827717662*m - 0.8086757660*s,
		}
	}
	p, q := lab(a), lab(b)
	return math.Sqrt((p[0]-q[0])*(p[0]-q[0]) + (p[1]-q[1])*(p[1]-q[1]) + (p[2]-q[2])*(p[2]-q[2]))
}
