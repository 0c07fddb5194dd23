package detection

import "strconv"

// Event is what the sensor saw once: a fixed array, one input a field.
type Event [Inputs]string

// Match returns the names of the rules that the event fires, in the order of the content.
//
// It panics with an index out of range when a rule has a literal criterion beyond the event's inputs. Nothing recovers
// from it: like the original, which ran in a kernel, it takes its host process down.
func (c *Content) Match(event *Event) []string {
	var fired []string
	for _, rule := range c.Rules {
		if rule.met(event[:]) {
			fired = append(fired, rule.Name)
		}
	}
	return fired
}

// met compares every criterion even after a mismatch, so that an event costs the same whether or not it fires, and a
// literal criterion meets every event.
func (r Rule) met(inputs []string) bool {
	met := true
	for i, criterion := range r.Criteria {
		if criterion == Wildcard {
			continue
		}
		if inputs[i] != criterion {
			met = false
		}
	}
	return met
}

// Generate makes the n-th event of a made-up but repeatable stream of named-pipe openings. One in 50 is an attack that
// the example content detects.
func Generate(n uint64) Event {
	var event Event
	for i := range event {
		event[i] = "input-" + strconv.Itoa(i+1) + "-" + strconv.FormatUint(n%7, 10)
	}
	event[0], event[1], event[2] = "pipe", "open", `\\.\pipe\service-`+strconv.FormatUint(n%5, 10)
	event[3], event[4] = "service.exe", "medium"
	if n%50 == 49 {
		event[2], event[3], event[4] = `\\.\pipe\c2-beacon`, "unknown.exe", "system"
	}
	return event
}
