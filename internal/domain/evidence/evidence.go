// Package evidence says what a ring must show before the next one opens.
//
// Advancing needs positive evidence (I4): a requirement that cannot be judged is missing, never met.
package evidence

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Requirement is what one ring must show. A zero field asks for nothing, except Confirmed, which always asks for something.
type Requirement struct {
	Confirmed   float64  `json:"confirmed,omitempty"`    // share of the ring's leased hosts that confirmed, 0 to 1; 0 means 1
	Resolved    float64  `json:"resolved,omitempty"`     // share that confirmed or said goodbye, 0 to 1; 0 means 1
	Bake        Duration `json:"bake,omitempty"`         // time since the ring was full and resolved, with its hosts heard
	Boots       int64    `json:"boots,omitempty"`        // boots seen on confirmed hosts after activation
	HostHours   float64  `json:"host_hours,omitempty"`   // hours that confirmed hosts ran the release
	ExcessBelow float64  `json:"excess_below,omitempty"` // 99 % upper bound on the share of hosts harmed by the update; 0 asks for none
	Strata      float64  `json:"strata,omitempty"`       // every stratum with at least this share of the fleet has a confirmed host; 0 asks for none
	Gates       []Gate   `json:"gates,omitempty"`        // what metrics and checks outside must say; all of them
}

// Facts are what a ring has shown so far.
type Facts struct {
	Wanted    int64 // hosts that the ring should lease: its size, or all that there are
	Leased    int64
	Places    int64 // of the leased, those that count against the ring's size: the place of a host that left is given again
	Confirmed int64
	Heard     int64 // of the confirmed, those heard lately: what nobody hears proves nothing
	Goodbye   int64
	Harmed    int64 // crashed, reverted or silent
	Blamed    int64 // of the harmed, those that count against the release: without the silent ones that controls explain
	Large     int64 // strata that must be seen; below 0: not counted yet
	Seen      int64 // of them, those with a confirmed host
	Boots     int64
	HostHours float64
	Baked     time.Duration // since the ring was full and resolved; 0 before
	Gates     []GateResult  // answers of the ring's gates, fresh; of another ring's they prove nothing
}

// Lack is one thing still missing.
type Lack struct {
	Name string `json:"name"` // field of Requirement, as in JSON, or "leased" or "heard", or "gate" and its name
	Have string `json:"have"`
	Need string `json:"need"`
}

func (l Lack) String() string {
	if strings.HasPrefix(l.Name, gatePrefix) {
		return fmt.Sprintf("%s (%s, wants %s)", l.Name, l.Have, l.Need)
	}
	return fmt.Sprintf("%s %s of %s", l.Name, l.Have, l.Need)
}

// Missing lists what the ring has not shown yet, in a fixed order. An empty list is the only thing that lets a ring advance.
func Missing(r Requirement, f Facts) []Lack {
	var lacks []Lack
	need := func(ok bool, name, have, want string) {
		if !ok {
			lacks = append(lacks, Lack{Name: name, Have: have, Need: want})
		}
	}
	need(f.Wanted > 0 && f.Places >= f.Wanted, "leased", fmt.Sprint(f.Places), fmt.Sprint(max(f.Wanted, 1)))
	confirmed := r.ConfirmedOf(f.Places)
	need(f.Confirmed >= confirmed, "confirmed", fmt.Sprint(f.Confirmed), fmt.Sprint(confirmed))
	need(f.Confirmed < confirmed || f.Heard >= confirmed, "heard", fmt.Sprint(f.Heard), fmt.Sprint(confirmed))
	resolved := r.ResolvedOf(f.Leased)
	need(f.Confirmed+f.Goodbye+f.Harmed >= resolved, "resolved", fmt.Sprint(f.Confirmed+f.Goodbye+f.Harmed), fmt.Sprint(resolved))
	need(f.Boots >= r.Boots, "boots", fmt.Sprint(f.Boots), fmt.Sprint(r.Boots))
	need(f.HostHours >= r.HostHours, "host_hours", fmt.Sprintf("%.1f", f.HostHours), fmt.Sprintf("%.1f", r.HostHours))
	if r.ExcessBelow > 0 {
		bound := UpperBound(f.Blamed, f.Confirmed+f.Blamed)
		most := max(r.ExcessBelow, UpperBound(0, r.ConfirmedOf(f.Wanted))) // a ring that is too small to show it must be without harm
		need(bound <= most, "excess_below", fmt.Sprintf("%.2g", bound), fmt.Sprintf("%.2g", r.ExcessBelow))
	}
	need(r.Strata == 0 || f.Large >= 0 && f.Seen >= f.Large, "strata", fmt.Sprint(f.Seen), fmt.Sprint(max(f.Large, 1)))
	need(f.Baked >= time.Duration(r.Bake), "bake", f.Baked.Round(time.Second).String(), r.Bake.String())
	return append(lacks, missingGates(r.Gates, f.Gates)...)
}

// ConfirmedOf is how many hosts must confirm, and be heard during the bake, of a ring with so many places taken.
func (r Requirement) ConfirmedOf(leased int64) int64 { return atLeast(leased, orOne(r.Confirmed)) }

// ResolvedOf is how many hosts must have an outcome of a ring that leased so many.
func (r Requirement) ResolvedOf(leased int64) int64 { return atLeast(leased, orOne(r.Resolved)) }

// Check lists what is wrong with the requirement; path prefixes each problem.
func (r Requirement) Check(path string) []fault.Problem {
	var problems []fault.Problem
	share := func(field string, v float64) {
		if !(v >= 0 && v <= 1) { // NaN is no share either
			problems = append(problems, fault.Problem{Path: path + "." + field, Message: fmt.Sprintf("is a share; must be between 0 and 1, is %g", v)})
		}
	}
	share("confirmed", r.Confirmed)
	share("resolved", r.Resolved)
	share("excess_below", r.ExcessBelow)
	share("strata", r.Strata)
	if r.Confirmed > 0 && r.Confirmed < 0.5 {
		problems = append(problems, fault.Problem{Path: path + ".confirmed", Message: fmt.Sprintf("must be at least 0.5: a ring that mostly failed proves nothing, is %g", r.Confirmed)})
	}
	if r.Bake < 0 || r.Boots < 0 || !(r.HostHours >= 0) {
		problems = append(problems, fault.Problem{Path: path, Message: "bake, boots and host_hours must not be negative"})
	}
	return append(problems, checkGates(path+".gates", r.Gates)...)
}

// UpperBound is the 99 % upper confidence bound on the share of harmed hosts after seeing harmed of n: Garwood's bound for a Poisson
// count, which is conservative. Nothing seen (n = 0) gives 1.
func UpperBound(harmed, n int64) float64 {
	if n <= 0 || harmed >= n {
		return 1
	}
	const miss = 0.01
	low, high := float64(harmed), 2*float64(harmed)+20
	for range 60 { // bisection: P(Poisson(mean) <= harmed) falls with mean
		mid := (low + high) / 2
		if poissonAtMost(harmed, mid) > miss {
			low = mid
		} else {
			high = mid
		}
	}
	return min(1, high/float64(n))
}

// poissonAtMost is P(Poisson(mean) <= k) for mean >= k, where the terms shrink fast on the way down from k.
func poissonAtMost(k int64, mean float64) float64 {
	factorial, _ := math.Lgamma(float64(k) + 1)
	sum, term := 0.0, math.Exp(float64(k)*math.Log(mean)-mean-factorial)
	for i := k; i >= 0 && term > sum*1e-17; i-- {
		sum += term
		term *= float64(i) / mean
	}
	return sum
}

func atLeast(n int64, share float64) int64 { return max(1, int64(math.Ceil(share*float64(n)-1e-9))) }

func orOne(share float64) float64 {
	if share == 0 {
		return 1
	}
	return share
}
