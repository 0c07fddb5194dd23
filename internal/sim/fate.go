package sim

// fate is what becomes of a host that activates the release now, unless a recall reaches it first. Seconds of the run; 0 means never.
type fate struct {
	asleep   bool  // silent from the beginning, for reasons of its own
	cut      bool  // cut off by an outage at the deadline
	cutHalf  bool  // and at half of it
	leaves   int32 // says goodbye
	confirms int32
	breaks   int32 // the release harms it
	reports  int32 // and it can say so
	blames   int32 // it reports harm that it would have had anyway
}

// fate draws what becomes of a host that got its lease now.
func (w *world) fate(t traits) fate {
	class := &w.Classes[t.class]
	c := w.current()
	half, end := w.landmarks(c)
	f := fate{
		asleep: w.rng.is(baseline(class.Silence, c.swings[t.class])), cut: w.rng.is(w.cutOff(end, t.region, t.site)),
		cutHalf: w.rng.is(w.cutOff(half, t.region, t.site)),
	}
	active := w.now + 1 + w.rng.within(2*seconds(w.Prepare))
	f.confirms = active + int32(seconds(w.Soak)) + w.rng.within(seconds(w.Proving))
	if w.rng.is(baseline(class.Goodbye, c.swings[t.class])) {
		f.leaves = w.now + 1 + w.rng.within(float64(w.deadline))
	}
	if w.concerned(t) && w.rng.is(w.fault.Effect) {
		f.breaks = w.breaks(active, class.Boots)
	}
	switch {
	case f.breaks > 0 && w.fault.Reports:
		f.reports = f.breaks + 1 + w.rng.after(seconds(w.fault.After))
	case f.breaks == 0 && w.rng.is(w.fault.Floor):
		f.blames = active + w.rng.within(seconds(w.Soak))
	}
	return f
}

// breaks is when a release that harms a host does so.
func (w *world) breaks(active int32, boots float64) int32 {
	from := max(active+int32(seconds(w.fault.Latent)), int32(seconds(w.fault.Trigger)))
	if turn := int32(seconds(w.fault.Flap)); turn > 0 && from/turn%2 == 0 {
		from = (from/turn + 1) * turn // it is well until the bad one comes
	}
	switch {
	case !w.fault.AtBoot:
		return from + w.rng.after(seconds(w.fault.Delay))
	case boots == 0:
		return 0
	default:
		return from + w.rng.after(86400/boots)
	}
}

// concerned tells whether the fault is one for this host.
func (w *world) concerned(t traits) bool {
	return w.harmful[t.class] && float64(t.stratum) < w.fault.Strata*float64(w.Strata)
}

// quiet tells whether the host was not heard for a while before a second.
func (f fate) quiet(second int32) bool {
	gone := f.breaks > 0 && f.breaks < second-hearing && (f.reports == 0 || f.reports > second)
	return f.asleep || gone
}

// expose plays a host that was granted a lease.
func (w *world) expose(i host, t traits, ring int) {
	f := w.fate(t)
	w.ring[i], w.outcome[i] = uint8(ring), pending
	w.exposedOf(t, 1)
	if w.plan.Rings[ring].Evidence.Boots > 0 {
		f = w.bootOnPurpose(i, f)
	}
	w.watch(t, f)
	if f.breaks > 0 {
		w.queue.add(f.breaks, happening{i, breaks})
	}
	if f.reports > 0 {
		w.queue.add(f.reports, happening{i, reports})
	}
	switch {
	case f.leaves > 0 && f.leaves < f.confirms:
		w.queue.add(f.leaves, happening{i, leaves})
		w.queue.add(f.leaves+1+w.rng.after(3600), happening{i, returns})
	case f.asleep || f.cut:
		w.queue.add(w.now+w.deadline+1+w.rng.after(1800), happening{i, wakes})
	case f.blames > 0:
		w.queue.add(f.blames, happening{i, blames})
		w.queue.add(f.blames+30, happening{i, recovers})
	case f.breaks == 0 || f.breaks > f.confirms:
		w.queue.add(f.confirms, happening{i, confirms})
		return // it has its outcome before the deadline
	}
	w.queue.add(w.now+w.deadline+1, happening{i, expires})
}

// bootWithin is the time after its confirmation in which a host of a ring that must see boots is booted on purpose.
const bootWithin = 3600

// bootOnPurpose boots a host as the plans that ask for boots advise: a fault that waits for a boot comes then.
func (w *world) bootOnPurpose(i host, f fate) fate {
	boot := f.confirms + w.rng.within(bootWithin)
	w.queue.add(boot, happening{i, boots})
	if early := f.breaks - boot; w.fault.AtBoot && early > 0 {
		f.breaks -= early
		f.reports = max(0, f.reports-early)
	}
	return f
}
