package breaker

import "iter"

// Signal is what hosts of both arms can show.
type Signal string

// The signals.
const (
	Silence Signal = "silence" // not heard until the deadline
	Goodbye Signal = "goodbye" // left in good order before the deadline: a bad update can cause that too
	Slow    Signal = "slow"    // not heard for half of the time
)

// State is what the test remembers of the whole fleet.
type State struct {
	Crashes OneArm  `json:"crashes"`           // reported harm: crashed and reverted hosts
	Classes []Class `json:"classes,omitempty"` // in the order in which they were first compared
}

// Class compares the exposed hosts of one class (server, desktop, laptop) with controls of that class.
type Class struct {
	Name    string `json:"name"`
	Silence TwoArm `json:"silence,omitzero"`
	Goodbye TwoArm `json:"goodbye,omitzero"`
	Slow    TwoArm `json:"slow,omitzero"`
}

// Slice is what the test remembers of one stratum.
type Slice struct {
	Crashes OneArm `json:"crashes"`
	Silence TwoArm `json:"silence,omitzero"`
}

// Compare takes in one comparison of a class. Signals that are not known tell nothing.
func (s *State) Compare(signal Signal, class string, exposed, control Arm, p Params) {
	c := s.class(class)
	if c == nil {
		return
	}
	switch signal {
	case Silence:
		c.Silence.Compare(exposed, control, p.Silence)
	case Goodbye:
		c.Goodbye.Compare(exposed, control, 0)
	case Slow:
		c.Slow.Compare(exposed, control, 0)
	}
}

// maxClasses bounds the state: there are three classes, and whatever hosts call themselves instead.
const maxClasses = 8

func (s *State) class(name string) *Class {
	for i := range s.Classes {
		if s.Classes[i].Name == name {
			return &s.Classes[i]
		}
	}
	if len(s.Classes) == maxClasses {
		return nil
	}
	s.Classes = append(s.Classes, Class{Name: name})
	return &s.Classes[len(s.Classes)-1]
}

// The weights of the average; they add up to 1. A weight w costs ln(1/w)/ln(1/p0) more harmed hosts: a third of one at a sixteenth.
const (
	weighCrashes      = 6.0 / 16
	weighSilence      = 3.0 / 16 // of all classes together: hosts of several classes that fall silent add up
	weighClassSilence = 2.0 / 16 // of each class alone: a small effect shows only where the baseline is low
	weighGoodbye      = 1.0 / 16
	weighSlow         = 1.0 / 16
	weighCrashesOf    = 1.0 / 16 // of each stratum alone
	weighSilenceOf    = 2.0 / 16
)

// share is the weight of the j-th class or stratum to appear, from 0: 1/2, 1/6, 1/12 ... They add up to 1 however many come, so that none
// must be known before; those that have not come yet stand at 1, with what is left of the weight.
func share(j int) float64 { return 1 / float64((j+1)*(j+2)) }

func unseen(n int) float64 { return 1 / float64(n+1) }

// Weight is the evidence that a test has gathered.
type Weight struct {
	E     float64 // trips at [Params.Trip]
	Doubt float64 // E with what has a harmless explanation left out; amber at [Params.Amber]
}

// Alarm is what the evidence calls for.
func (w Weight) Alarm(p Params) Alarm {
	switch {
	case w.E >= p.Trip():
		return Trip
	case w.Doubt >= p.Amber:
		return Amber
	default:
		return Quiet
	}
}

// Weigh averages all tests. Slices are the strata with their places in the order in which they first appeared; one that is left out does
// not count, with its weight.
func (s *State) Weigh(p Params, slices iter.Seq2[int, *Slice], appeared int) Weight {
	crashes := weighCrashes * s.Crashes.Evidence(p.Ceiling)
	rest := (weighClassSilence+weighGoodbye+weighSlow)*unseen(len(s.Classes)) + (weighCrashesOf+weighSilenceOf)*unseen(appeared)
	w := Weight{E: crashes + rest, Doubt: crashes + rest}
	together := s.together(p)
	w.E += weighSilence * together.E
	w.Doubt += weighSilence * together.Doubt
	for j := range s.Classes {
		c := &s.Classes[j]
		w.E += share(j) * (weighClassSilence*c.Silence.Evidence() + weighGoodbye*c.Goodbye.Evidence() + weighSlow*c.Slow.Evidence())
		w.Doubt += share(j) * (weighClassSilence*c.Silence.Suspicion() + weighGoodbye*c.Goodbye.Suspicion() + weighSlow*c.Slow.Suspicion())
	}
	for j, slice := range slices {
		own := weighCrashesOf * slice.crashes(p)
		w.E += share(j) * (own + weighSilenceOf*slice.Silence.Evidence())
		w.Doubt += share(j) * (own + weighSilenceOf*slice.Silence.Suspicion())
	}
	return w
}

// Comparison is what one signal showed in all comparisons of all classes.
type Comparison struct {
	Signal  Signal
	Exposed Arm
	Control Arm
	E       float64 // against the null hypothesis; 1 means none
}

// Comparisons sums up the signals of which there were comparisons: silence, slowness, goodbyes. For silence E is that of all classes as one test;
// of the others, of which there is no such test, the average over the classes. What was judged of a stratum alone is in none of them.
func (s *State) Comparisons(p Params) []Comparison {
	all := [...]Comparison{
		{Signal: Silence, E: s.together(p).E}, {Signal: Slow, E: unseen(len(s.Classes))}, {Signal: Goodbye, E: unseen(len(s.Classes))},
	}
	for j := range s.Classes {
		c := &s.Classes[j]
		for i, test := range []*TwoArm{&c.Silence, &c.Slow, &c.Goodbye} {
			all[i].Exposed, all[i].Control = all[i].Exposed.Plus(test.Exposed), all[i].Control.Plus(test.Control)
			if all[i].Signal != Silence {
				all[i].E += share(j) * test.Evidence()
			}
		}
	}
	var made []Comparison
	for _, c := range all {
		if c.Exposed.Watched > 0 {
			made = append(made, c)
		}
	}
	return made
}

// together is the silence of all classes as one test. Each comparison is of hosts of its own, so their e-values may be multiplied.
func (s *State) together(p Params) Weight {
	var logs, sums [alternatives]float64
	for j := range s.Classes {
		for i, l := range s.Classes[j].Silence.Logs {
			logs[i] += l
		}
	}
	e := mixture(logs[:])
	if e <= harmless {
		return Weight{E: e, Doubt: e}
	}
	for j := range s.Classes {
		c := &s.Classes[j].Silence
		var all TwoArm
		if c.Exposed.Watched > 0 {
			all.compare(c.Exposed, c.Control, p.Silence)
		}
		for i, l := range all.Logs {
			sums[i] += l
		}
	}
	return Weight{E: e, Doubt: min(e, mixture(sums[:]))}
}

// Suspicion is what a stratum's own tests say: amber for the stratum alone at [Params.Amber].
func (s *Slice) Suspicion(p Params) float64 { return max(s.crashes(p), s.Silence.Suspicion()) }

// crashes is the evidence of a stratum's reported harm. One without any stands at 1, which is too much by less than its weight, nothing beside
// 1/alpha; most strata are such, and cost nothing.
func (s *Slice) crashes(p Params) float64 {
	if s.Crashes.Bad == 0 {
		return 1
	}
	return s.Crashes.Evidence(p.Ceiling)
}
