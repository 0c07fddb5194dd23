package registry

import "time"

// Kept tells how many subjects, inventories, kinds and odd boot ids are kept.
func (r *Registry) Kept() [4]int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return [4]int{len(r.kinds.subjects), len(r.kinds.inventories), len(r.kinds.of), len(r.boots)}
}

// Slots tells how many places for kinds there are, taken or not.
func (r *Registry) Slots() int { return len(r.kinds.slots) }

// There and back: what a registry makes of times, in this order.
func ThereAndBack(times ...time.Time) []time.Time {
	var e epoch
	var back []time.Time
	var instants []int64
	for _, t := range times {
		instants = append(instants, e.instant(t))
	}
	for _, i := range instants {
		back = append(back, e.time(i))
	}
	return back
}
