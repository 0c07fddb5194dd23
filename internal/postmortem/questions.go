package postmortem

import (
	"fmt"
	"time"
)

// slow is how long after the first harm a halt makes people ask why.
const slow = 5 * time.Minute

// questions are what the records cannot answer, chosen by what they say.
func (c investigation) questions() []string {
	r := c.rollout
	all := []string{"What was wrong with the release, and which change brought it in?"}
	ask := func(when bool, format string, args ...any) {
		if when {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	ask(true, "Why did validation let it pass, and which check would have caught it?")
	ask(c.rejected() > 0, "The preflight of %s rejected it: why not of the others?", hosts(c.rejected()))
	if len(r.Suspects) > 0 {
		s := r.Suspects[0]
		ask(true, "Why is the harm where %s is %s, and is that part of the fleet tested before a release is signed?", clean(s.Key), clean(s.Value))
	}
	ask(len(c.incident.Crashes) > 1, "Do the %d kinds of crashes have one cause?", len(c.incident.Crashes))
	ask(c.silent+c.late > 0, "Why could %s not report what happened, and what would have let them?", hosts(c.silent+c.late))
	ask(c.silent+c.late > 0 && c.crashed+c.reverted == 0, "Silence alone showed the harm: which probe would have shown it sooner?")
	ask(c.reached() > 0, "Why did ring %s not show it before ring %s opened?", c.ring(c.reached()-1), c.ring(c.reached()))
	ask(c.bound > 0 && r.Harmed > c.bound, "The plan was bounded to %s harmed on average and it was %s: chance, or a wrong assumption?",
		hosts(c.bound), thousands(r.Harmed))
	ask(c.harmed != nil && c.ended.Sub(*c.harmed) > slow, "From the first harm to the halt it took %s: what would have shortened that?", c.delay())
	left := r.Harmed - r.Recovered
	ask(left > 0, "%s %s not recovered: who mends them, and by when?", upper(hosts(left)), have(left))
	ask(r.Returned < r.Exposed-r.Harmed, "%s that got it and were not harmed may still run it: is that safe?", upper(hosts(r.Exposed-r.Harmed-r.Returned)))
	ask(r.Emergency, "It went out by an emergency plan: was that needed, and is it still right for the next time?")
	ask(true, "Which other releases or components can fail the same way?")
	ask(true, "What did the harm cost those who use these hosts, and have they been told?")
	ask(true, "What changes so that it does not happen again: who does it, by when?")
	return all
}

// delay is the time from the first harm to the halt.
func (c investigation) delay() string {
	if c.harmed == nil {
		return ""
	}
	return span(c.ended.Sub(*c.harmed))
}

// rejected is how many hosts' preflight said no.
func (c investigation) rejected() int64 {
	sum := int64(0)
	for _, r := range c.rollout.Rings {
		sum += r.Rejected
	}
	return sum
}

// reached is the last ring in which hosts were harmed.
func (c investigation) reached() int {
	last := 0
	for i, r := range c.rollout.Rings {
		if r.Crashed+r.Reverted+r.Silent+r.Late > 0 {
			last = i
		}
	}
	return last
}

func (c investigation) ring(i int) string {
	if i < 0 || i >= len(c.rollout.Rings) {
		return ""
	}
	return clean(c.rollout.Rings[i].Name)
}
