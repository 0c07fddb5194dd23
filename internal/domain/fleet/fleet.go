// Package fleet has the nouns of the fleet: endpoints, their tenants, attributes and labels, and the selectors that pick them.
package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// EndpointID names one managed host. It is derived from its identity key, so it survives renewals and cannot be chosen.
type EndpointID string

// TenantID names the organisation that an endpoint belongs to. The join token decides it, never the endpoint.
type TenantID string

// DefaultTenant is the tenant of endpoints that joined without one.
const DefaultTenant TenantID = "default"

// Attributes are what an endpoint says of itself. All are free text except Class.
type Attributes struct {
	OS      string `json:"os,omitempty"`
	Version string `json:"version,omitempty"` // of the operating system
	Kernel  string `json:"kernel,omitempty"`
	Arch    string `json:"arch,omitempty"`
	Class   string `json:"class,omitempty"` // server, desktop or laptop
	Region  string `json:"region,omitempty"`
	Site    string `json:"site,omitempty"`
}

// Labels are key/value pairs that an endpoint's owner gave it when it joined.
type Labels map[string]string

// Selector picks endpoints: every key must have one of its values. Keys are attribute names ("os", "site", ...), "tenant", "consumer",
// or "label.<key>". An empty selector picks everything.
type Selector map[string][]string

// Subject is what a selector looks at.
type Subject struct {
	Tenant     TenantID   `json:"tenant"`
	Attributes Attributes `json:"attributes"`
	Labels     Labels     `json:"labels,omitempty"`
	Consumer   string     `json:"consumer,omitempty"` // version of what reads the component at hand; empty if the host does not say
}

// Matches tells whether the selector picks the subject.
func (s Selector) Matches(subject Subject) bool {
	for key, values := range s {
		if !slices.Contains(values, subject.value(key)) {
			return false
		}
	}
	return true
}

// MayMatch is Matches where being picked is the safe side, and the selector may be newer than this version: a key that is not known here
// counts as matching. What a subject has no value for is not unknown: its value is empty.
func (s Selector) MayMatch(subject Subject) bool {
	for key, values := range s {
		if known(key) && !slices.Contains(values, subject.value(key)) {
			return false
		}
	}
	return true
}

// String writes the selector for people, in a fixed order.
func (s Selector) String() string {
	if len(s) == 0 {
		return "all hosts"
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(s)) {
		var values []string
		for _, value := range s[key] {
			values = append(values, cmp.Or(value, "unknown"))
		}
		parts = append(parts, key+" "+strings.Join(values, " or "))
	}
	return strings.Join(parts, ", ")
}

// SliceOf is the slice of the fleet that a subject is in: a selector of its own values of the keys.
func SliceOf(subject Subject, keys []string) Selector {
	s := make(Selector, len(keys))
	for _, key := range keys {
		s[key] = []string{subject.value(key)}
	}
	return s
}

// Stratum names the slice of the fleet that a subject is in, for people and as a key: its values of the keys, in their order. Different
// slices by the same keys have different names, whatever hosts call themselves.
func Stratum(subject Subject, keys []string) string {
	var b strings.Builder
	for _, key := range keys {
		value := subject.value(key)
		if value == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		if strings.ContainsFunc(value, odd) {
			value = strconv.Quote(value)
		}
		b.WriteString(key)
		b.WriteByte(' ')
		b.WriteString(value)
	}
	if b.Len() == 0 {
		return "hosts that say nothing of themselves"
	}
	return b.String()
}

// odd tells whether a value with such a character must be quoted in a name: it could pass for several, or is no text that everybody can keep.
func odd(r rune) bool { return r == ',' || r == '"' || r == utf8.RuneError || unicode.IsControl(r) }

// Check lists what is wrong with the selector; path prefixes each problem.
func (s Selector) Check(path string) []fault.Problem {
	var problems []fault.Problem
	for key, values := range s {
		where := path + "." + key
		if !known(key) {
			problems = append(problems, fault.Problem{Path: where, Message: fmt.Sprintf(
				"unknown attribute; use tenant, consumer, os, version, kernel, arch, class, region, site or label.<key> (got %q)", key)})
		}
		if len(values) == 0 {
			problems = append(problems, fault.Problem{Path: where, Message: "has no values, so it matches nothing; list at least one"})
		}
	}
	slices.SortFunc(problems, func(a, b fault.Problem) int { return strings.Compare(a.Path, b.Path) })
	return problems
}

func (s Subject) value(key string) string {
	if label, ok := strings.CutPrefix(key, "label."); ok {
		return s.Labels[label]
	}
	switch key {
	case "tenant":
		return string(s.Tenant)
	case "consumer":
		return s.Consumer
	case "os":
		return s.Attributes.OS
	case "version":
		return s.Attributes.Version
	case "kernel":
		return s.Attributes.Kernel
	case "arch":
		return s.Attributes.Arch
	case "class":
		return s.Attributes.Class
	case "region":
		return s.Attributes.Region
	case "site":
		return s.Attributes.Site
	default:
		return ""
	}
}

func known(key string) bool {
	if label, ok := strings.CutPrefix(key, "label."); ok {
		return label != ""
	}
	return slices.Contains([]string{"tenant", "consumer", "os", "version", "kernel", "arch", "class", "region", "site"}, key)
}
