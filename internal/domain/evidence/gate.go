package evidence

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Bounds of what a plan may ask of the outside.
const (
	MaxGates = 16 // of one ring

	maxQuery = 4096 // bytes
	maxURL   = 2048 // bytes
)

// gatePrefix begins the name of a lack that is a gate's.
const gatePrefix = "gate "

// Gate is a question to something outside: a metric with bounds, or a check that must answer well. A ring advances only while every gate
// of it is met; no answer is no evidence (I4).
type Gate struct {
	Name  string   `json:"name"`            // unique in its ring
	Query string   `json:"query,omitempty"` // a Prometheus instant query; every sample of its result must be within the bounds
	URL   string   `json:"url,omitempty"`   // or: a GET of this must answer 200 to 299
	Above *float64 `json:"above,omitempty"` // samples must be larger than this
	Below *float64 `json:"below,omitempty"` // samples must be smaller than this
}

// GateResult is what was seen when a gate was asked.
type GateResult struct {
	Name string `json:"name"`           // of the gate
	OK   bool   `json:"ok,omitempty"`   // data was seen, and all of it was as the gate wants
	Text string `json:"text,omitempty"` // what was seen, or why nothing was, for people
}

// Judge compares the samples that the gate's query gave with its bounds. No sample, and a sample that is no finite number (0/0, or a ratio
// to nothing), say nothing about the release: the gate is not met.
func (g Gate) Judge(samples []float64) GateResult {
	result := GateResult{Name: g.Name}
	if len(samples) == 0 {
		result.Text = "no data"
		return result
	}
	for _, v := range samples {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			result.Text = fmt.Sprintf("no data: a sample is %g", v)
			return result
		}
	}
	least, most := slices.Min(samples), slices.Max(samples)
	result.Text = fmt.Sprintf("%.6g", least)
	if len(samples) > 1 {
		result.Text = fmt.Sprintf("%.6g to %.6g in %d samples", least, most, len(samples))
	}
	bounded := g.Above != nil || g.Below != nil
	result.OK = bounded && (g.Above == nil || least > *g.Above) && (g.Below == nil || most < *g.Below)
	return result
}

// Need says what the gate wants to see, for people.
func (g Gate) Need() string {
	var bounds []string
	if g.Above != nil {
		bounds = append(bounds, fmt.Sprintf("above %g", *g.Above))
	}
	if g.Below != nil {
		bounds = append(bounds, fmt.Sprintf("below %g", *g.Below))
	}
	if len(bounds) == 0 {
		return "an answer of 200 to 299"
	}
	return strings.Join(bounds, " and ")
}

// AsStrictAs tells whether g asks the same question as other and is met only when other is, whatever the two are called.
func (g Gate) AsStrictAs(other Gate) bool {
	return g.Query == other.Query && g.URL == other.URL &&
		(other.Above == nil || g.Above != nil && *g.Above >= *other.Above) &&
		(other.Below == nil || g.Below != nil && *g.Below <= *other.Below)
}

// Check lists what is wrong with the gate; path prefixes each problem.
func (g Gate) Check(path string) []fault.Problem {
	var problems []fault.Problem
	require := func(ok bool, field, format string, args ...any) {
		if !ok {
			problems = append(problems, fault.Problem{Path: path + field, Message: fmt.Sprintf(format, args...)})
		}
	}
	require(gateName(g.Name), ".name", "must be 1 to 63 lower-case letters, digits and dashes, is %q", g.Name)
	require((g.Query == "") != (g.URL == ""), "", "needs either query or url, not both")
	require(len(g.Query) <= maxQuery, ".query", "has %d bytes; %d are the most", len(g.Query), maxQuery)
	bounded := g.Above != nil || g.Below != nil
	require(g.Query == "" || bounded, "", "needs above or below: what the query's samples must be")
	require(g.URL == "" || !bounded, "", "above and below are for a query; a url only has to answer 200 to 299")
	require(finite(g.Above), ".above", "must be a finite number")
	require(finite(g.Below), ".below", "must be a finite number")
	require(g.Above == nil || g.Below == nil || *g.Above < *g.Below, "", "above must be less than below: nothing is within these bounds")
	if g.URL != "" {
		wrong := wrongURL(g.URL)
		require(wrong == "", ".url", "%s", wrong)
	}
	return problems
}

// checkGates checks the gates of one ring.
func checkGates(path string, gates []Gate) []fault.Problem {
	var problems []fault.Problem
	if len(gates) > MaxGates {
		problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf("has %d gates; %d are the most", len(gates), MaxGates)})
	}
	seen := map[string]bool{}
	for i, g := range gates {
		at := fmt.Sprintf("%s[%d]", path, i)
		problems = append(problems, g.Check(at)...)
		if seen[g.Name] {
			problems = append(problems, fault.Problem{Path: at + ".name", Message: fmt.Sprintf("is used by an earlier gate: %q", g.Name)})
		}
		seen[g.Name] = true
	}
	return problems
}

// missingGates lists the gates that are not met: each needs a result, and no result of its name may say otherwise.
func missingGates(gates []Gate, results []GateResult) []Lack {
	var lacks []Lack
	for _, g := range gates {
		met, have := false, "no data"
		for _, r := range results {
			if r.Name != g.Name {
				continue
			}
			met = r.OK
			if r.Text != "" {
				have = r.Text
			}
			if !met {
				break
			}
		}
		if !met {
			lacks = append(lacks, Lack{Name: gatePrefix + g.Name, Have: have, Need: g.Need()})
		}
	}
	return lacks
}

// gateName is the rule for all names in a plan.
func gateName(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func finite(v *float64) bool { return v == nil || !math.IsNaN(*v) && !math.IsInf(*v, 0) }

// wrongURL says what keeps a URL from being asked, or "". Its text never repeats the URL, which may hold a password.
func wrongURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL:
		return fmt.Sprintf("has %d bytes; %d are the most", len(text), maxURL)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "must be an absolute http or https URL"
	case u.User != nil:
		return "must not hold credentials: plans are read by many"
	}
	return ""
}
