package sim

import (
	"math"
	"math/rand/v2"
)

// chance is the randomness of a run: all of it comes from the seed.
type chance struct{ *rand.Rand }

func newChance(seed uint64) chance { return chance{rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))} }

// is tells whether something of probability p happens.
func (c chance) is(p float64) bool { return p > 0 && c.Float64() < p }

// after is an exponential waiting time in seconds, rounded to whole ones.
func (c chance) after(mean float64) int32 {
	return int32(min(mean*c.ExpFloat64(), 1e9))
}

// within is a time below span seconds.
func (c chance) within(span float64) int32 { return int32(span * c.Float64()) }

// of draws how many of n things of probability p happen: it hops from one to the next.
func (c chance) of(n int64, p float64) int64 {
	switch {
	case p <= 0 || n <= 0:
		return 0
	case p >= 1:
		return n
	}
	scale := math.Log1p(-p)
	count, at := int64(0), -1.0
	for {
		at += 1 + math.Floor(math.Log1p(-c.Float64())/scale)
		if at >= float64(n) {
			return count
		}
		count++
	}
}

// mix spreads the bits of x (SplitMix64's finaliser): attributes of a host are read from the hash of its number.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit makes a hash into a number from 0 to 1.
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }
