package admission

import "time"

// Rate is how fast something may happen.
type Rate struct {
	PerSecond float64
	Burst     float64 // at once, after a pause
}

// Bucket holds back what comes faster than a rate. A new one is full.
type Bucket struct {
	Rate
	left float64
	at   time.Time
}

// Take takes n out, if there are as many.
func (b *Bucket) Take(n float64, now time.Time) bool {
	if !b.Has(n, now) {
		return false
	}
	b.left -= n
	return true
}

// Has tells whether there are as many as n.
func (b *Bucket) Has(n float64, now time.Time) bool {
	b.fill(now)
	return b.left >= n
}

// Owe takes n out that were used already, even if there are fewer: what comes next waits longer, but no longer than for a whole burst.
func (b *Bucket) Owe(n float64, now time.Time) {
	b.fill(now)
	b.left = max(b.left-n, -b.Burst)
}

// fill adds what came in since. A clock that was set back takes nothing away.
func (b *Bucket) fill(now time.Time) {
	if b.at.IsZero() {
		b.left, b.at = b.Burst, now
		return
	}
	b.left = min(b.Burst, b.left+max(0, now.Sub(b.at).Seconds())*b.PerSecond)
	b.at = now
}
