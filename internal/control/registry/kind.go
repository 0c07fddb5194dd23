package registry

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Inventory is what a host says of its components. It is kept once for all hosts that say the same, and never changes.
type Inventory struct {
	components map[string]api.Component
	names      []string
	sum        [sha256.Size]byte
	kinds      int // that have it
	kept       atomic.Value
}

// Components are the states by name. The map must not be changed.
func (v *Inventory) Components() map[string]api.Component { return v.components }

// Names are the names of the components, in order. The list must not be changed.
func (v *Inventory) Names() []string { return v.names }

// says tells whether these are the components.
func (v *Inventory) says(components map[string]api.Component) bool {
	if len(components) == 0 || len(components) != len(v.names) {
		return len(components) == len(v.names)
	}
	return v.sum == sha256.Sum256(componentsText(components, slices.Sorted(maps.Keys(components))))
}

// Kept is what was last given to Keep, nil at first.
func (v *Inventory) Kept() any { return v.kept.Load() }

// Keep keeps what somebody made of the inventory, for as long as there is a host that has it. All that is kept is of one type.
func (v *Inventory) Keep(made any) { v.kept.Store(made) }

// subject is what selectors see of a host, kept once for all hosts that are alike.
type subject struct {
	fleet.Subject
	text  string // its canonical form
	kinds int    // that have it
}

// kind is all hosts of one subject that have one inventory. Only hosts changes.
type kind struct {
	subject   *subject
	inventory *Inventory
	hosts     int64
	index     uint32
}

func (k *kind) has(component string) bool {
	_, has := k.inventory.components[component]
	return has
}

// speaks is the subject as a selector sees it that speaks of one of the components.
func (k *kind) speaks(component string) fleet.Subject {
	s := k.subject.Subject
	s.Consumer = k.inventory.components[component].Consumer
	return s
}

// kinds are the kinds of hosts that there are, and what they are made of, all of it counted: what no host has any more is dropped.
type kinds struct {
	subjects    map[string]*subject
	inventories map[[sha256.Size]byte]*Inventory
	nothing     *Inventory // of hosts that have not said what they have
	of          map[pair]*kind
	slots       []*kind // by index; nil where there is none, as at 0
	free        []uint32
}

type pair struct {
	subject   *subject
	inventory *Inventory
}

func newKinds() kinds {
	return kinds{
		subjects: map[string]*subject{}, inventories: map[[sha256.Size]byte]*Inventory{}, nothing: &Inventory{kinds: 1},
		of: map[pair]*kind{}, slots: make([]*kind, 1),
	}
}

// enter counts a host in, and returns its kind.
func (k *kinds) enter(s *subject, v *Inventory) uint32 {
	at := pair{s, v}
	one, known := k.of[at]
	if !known {
		one = &kind{subject: s, inventory: v}
		if last := len(k.free) - 1; last >= 0 {
			one.index, k.free = k.free[last], k.free[:last]
			k.slots[one.index] = one
		} else {
			one.index = uint32(len(k.slots)) //nolint:gosec // there are no more kinds than hosts
			k.slots = append(k.slots, one)
		}
		k.of[at] = one
		s.kinds++
		v.kinds++
	}
	one.hosts++
	return one.index
}

// leave counts a host of the kind out. Kind 0 is none.
func (k *kinds) leave(index uint32) {
	one := k.slots[index]
	if one == nil {
		return
	}
	if one.hosts--; one.hosts > 0 {
		return
	}
	k.slots[index], k.free = nil, append(k.free, index)
	delete(k.of, pair{one.subject, one.inventory})
	if one.subject.kinds--; one.subject.kinds == 0 {
		delete(k.subjects, one.subject.text)
	}
	if one.inventory.kinds--; one.inventory.kinds == 0 {
		delete(k.inventories, one.inventory.sum)
	}
}

// subject returns the one of its form that is kept. Its host is to enter next: else nobody ever drops it.
func (k *kinds) subject(s fleet.Subject) *subject {
	text := subjectText(s)
	if known, ok := k.subjects[string(text)]; ok {
		return known
	}
	kept := &subject{Subject: s, text: string(text)}
	kept.Labels = maps.Clone(s.Labels)
	k.subjects[kept.text] = kept
	return kept
}

// inventory returns the one with this content that is kept; as with subject.
func (k *kinds) inventory(components map[string]api.Component) *Inventory {
	if components == nil {
		return k.nothing
	}
	names := slices.Sorted(maps.Keys(components))
	sum := sha256.Sum256(componentsText(components, names))
	if known, ok := k.inventories[sum]; ok {
		return known
	}
	kept := &Inventory{components: make(map[string]api.Component, len(components)), names: names, sum: sum}
	for name, c := range components {
		c.Refuses = slices.Clone(c.Refuses)
		kept.components[name] = c
	}
	k.inventories[sum] = kept
	return kept
}

// subjectText is equal for equal subjects only.
func subjectText(s fleet.Subject) []byte {
	a := s.Attributes
	text := make([]byte, 0, 256)
	for _, part := range []string{string(s.Tenant), a.OS, a.Version, a.Kernel, a.Arch, a.Class, a.Region, a.Site, s.Consumer} {
		text = appendText(text, part)
	}
	if s.Labels == nil {
		return text
	}
	text = binary.AppendUvarint(text, uint64(len(s.Labels)))
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		text = appendText(appendText(text, key), s.Labels[key])
	}
	return text
}

// componentsText is equal for equal components only.
func componentsText(components map[string]api.Component, names []string) []byte {
	text := make([]byte, 0, 256)
	for _, name := range names {
		c := components[name]
		for _, part := range []string{name, c.Kind, c.Version, c.Artifact, c.Previous, c.Consumer, c.Phase, c.Why} {
			text = appendText(text, part)
		}
		text = binary.AppendUvarint(text, uint64(len(c.Refuses)))
		for _, manifest := range c.Refuses {
			text = appendText(text, manifest)
		}
	}
	return text
}

func appendText(to []byte, part string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(part))), part...)
}

// byKind is something that is worked out once for each kind of hosts, while kinds come and go.
type byKind[T any] struct {
	slots []kindly[T]
	stray map[*kind]*T // of kinds that took the index of one that went
}

type kindly[T any] struct {
	of *kind
	is T
}

// at returns what there is for a kind, and whether it was there before. It is good until at is asked again.
func (b *byKind[T]) at(k *kind) (is *T, known bool) {
	if missing := int(k.index) + 1 - len(b.slots); missing > 0 {
		b.slots = append(b.slots, make([]kindly[T], missing)...)
	}
	slot := &b.slots[k.index]
	if slot.of == nil {
		slot.of = k
		return &slot.is, false
	}
	if slot.of == k {
		return &slot.is, true
	}
	if is, known = b.stray[k]; known {
		return is, true
	}
	if b.stray == nil {
		b.stray = map[*kind]*T{}
	}
	is = new(T)
	b.stray[k] = is
	return is, false
}

// each goes through all kinds that were met.
func (b *byKind[T]) each(look func(*kind, *T)) {
	for i := range b.slots {
		if slot := &b.slots[i]; slot.of != nil {
			look(slot.of, &slot.is)
		}
	}
	for k, is := range b.stray {
		look(k, is)
	}
}
