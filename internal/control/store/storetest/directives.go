package storetest

import (
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func directiveTests() []test {
	return []test{
		{"directive/comes back as it was", directiveComesBack},
		{"directive/its sequence only grows", directiveGrows},
	}
}

func directive(component string, sequence int64) store.Directive {
	return store.Directive{Component: component, Sequence: sequence, Envelope: []byte{0, 0xff, byte(sequence)}, Issued: now}
}

func directiveComesBack(t *testing.T, s *store.Store) {
	b, a := directive("b", 1), directive("a", 9)
	ok(t, s.PutDirective(t.Context(), b))
	ok(t, s.PutDirective(t.Context(), a))
	same(t, must[store.Directive](t)(s.Directive(t.Context(), "b")), b)
	same(t, must[[]store.Directive](t)(s.Directives(t.Context())), []store.Directive{a, b})
	_, err := s.Directive(t.Context(), "c")
	refused(t, err, fault.NotFound)
}

func directiveGrows(t *testing.T, s *store.Store) {
	ok(t, s.PutDirective(t.Context(), directive("a", 2)))
	ok(t, s.PutDirective(t.Context(), directive("a", 5)))
	for _, sequence := range []int64{5, 4, 0} {
		refused(t, s.PutDirective(t.Context(), directive("a", sequence)), fault.Conflict)
	}
	same(t, must[store.Directive](t)(s.Directive(t.Context(), "a")), directive("a", 5))
}
