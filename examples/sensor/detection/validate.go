package detection

import (
	"errors"
	"fmt"
	"slices"
)

// Source is whose word the validator takes for the number of inputs.
type Source int

// The sources.
const (
	// Sensor is the right one: the code that will run the content supplies [Inputs].
	Sensor Source = iota
	// Definition is the content's own claim. A validator that trusts it passes content which the sensor cannot survive.
	Definition
)

// Validate tells whether the content is fit to ship. It holds the number of criteria against the inputs that source
// names, then tries every rule on sample events: one that must fire it, and for every field one that differs only
// there. It returns every mistake it found, joined, or nil.
func Validate(content *Content, source Source) error {
	inputs := Inputs
	if source == Definition {
		inputs = content.Fields
	}
	var mistakes []error
	for i, rule := range content.Rules {
		if len(rule.Criteria) != inputs {
			mistakes = append(mistakes, fmt.Errorf("rules[%d] (%s): has %d criteria, the sensor supplies %d inputs%s",
				i, rule.Name, len(rule.Criteria), inputs, rule.beyond(inputs)))
			continue
		}
		mistakes = append(mistakes, rule.try(i)...)
	}
	return errors.Join(mistakes...)
}

// beyond names the literal criteria that would be compared with inputs that do not exist.
func (r Rule) beyond(inputs int) string {
	for i, criterion := range r.Criteria {
		if i >= inputs && criterion != Wildcard {
			return fmt.Sprintf("; criterion %d (%q) would be read beyond them", i+1, criterion)
		}
	}
	return ""
}

// try evaluates the rule, the index-th of its content, on samples with as many inputs as it has criteria.
func (r Rule) try(index int) []error {
	sample := make([]string, len(r.Criteria))
	for i, criterion := range r.Criteria {
		sample[i] = criterion
		if criterion == Wildcard {
			sample[i] = "anything"
		}
	}
	var mistakes []error
	if !r.met(sample) {
		mistakes = append(mistakes, fmt.Errorf("rules[%d] (%s): does not fire on an event that meets it", index, r.Name))
	}
	for i, criterion := range r.Criteria {
		other := slices.Clone(sample)
		other[i] += " and more"
		if fires, want := r.met(other), criterion == Wildcard; fires != want {
			mistakes = append(mistakes, fmt.Errorf("rules[%d] (%s): field %d: fires is %t where it should be %t",
				index, r.Name, i+1, fires, want))
		}
	}
	return mistakes
}
