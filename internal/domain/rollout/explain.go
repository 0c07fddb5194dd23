package rollout

import (
	"cmp"
	"math"
	"slices"
)

// Doubt is the breaker's evidence without what has a harmless explanation: amber is judged by it.
func (s *State) Doubt() float64 { return s.weigh(-1).Doubt }

// Explanation is an attribute whose hosts are harmed more often than all others.
type Explanation struct {
	Key, Value                        string
	Harmed, Exposed                   int64 // hosts that have the value
	HarmedElsewhere, ExposedElsewhere int64
	Weight                            float64 // the logarithm of how much likelier the harm is with two rates than with one
}

const (
	clearly = 3 // an explanation must make the harm e^3 = 20 times likelier
	reasons = 3 // so many are worth showing
)

// Explain ranks what the harmed hosts have in common, over the keys that make the plan's strata: the best explanation first, none if
// nothing stands out. It is for people; no decision is taken on it.
func (s *State) Explain() []Explanation {
	type value struct{ key, value string }
	inside := map[value]Explanation{}
	var harmed, exposed int64
	for _, stratum := range s.Strata {
		harmed, exposed = harmed+stratum.Harmed, exposed+stratum.Leased
		for key, values := range stratum.Select {
			for _, v := range values {
				e := inside[value{key, v}]
				e.Key, e.Value, e.Harmed, e.Exposed = key, v, e.Harmed+stratum.Harmed, e.Exposed+stratum.Leased
				inside[value{key, v}] = e
			}
		}
	}
	var found []Explanation
	for _, e := range inside {
		e.HarmedElsewhere, e.ExposedElsewhere = harmed-e.Harmed, exposed-e.Exposed
		if e.Weight = e.weigh(); e.Weight >= clearly {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b Explanation) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value))
	})
	return found[:min(len(found), reasons)]
}

// weigh is the log-likelihood ratio of two rates of harm, one inside and one elsewhere, against a common one; 0 if it is not higher inside.
func (e Explanation) weigh() float64 {
	if e.Exposed <= 0 || e.ExposedElsewhere <= 0 || e.Harmed*e.ExposedElsewhere <= e.HarmedElsewhere*e.Exposed {
		return 0
	}
	return likelihood(e.Harmed, e.Exposed) + likelihood(e.HarmedElsewhere, e.ExposedElsewhere) -
		likelihood(e.Harmed+e.HarmedElsewhere, e.Exposed+e.ExposedElsewhere)
}

// likelihood is the logarithm of the likelihood of so many harmed hosts at the rate that fits them best.
func likelihood(harmed, exposed int64) float64 {
	bad, good := float64(harmed), float64(max(0, exposed-harmed))
	return part(bad, bad+good) + part(good, bad+good)
}

func part(n, of float64) float64 {
	if n == 0 {
		return 0
	}
	return n * math.Log(n/of)
}
