package admission

import "time"

// Measure lets a test be the loop that measures.
func (d *Desk) Measure(now time.Time, late time.Duration) { d.measure(now, late) }
