package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func componentTests() []test {
	return []test{
		{"component/comes back as it was", componentComesBack},
		{"component/its kind cannot change", componentKeepsKind},
		{"plan/comes back as it was and can be replaced", planReplaced},
		{"setting/comes back as it was and can be replaced", settingReplaced},
		{"setting/of many at once one is kept", settingKept},
	}
}

func component(name string) store.Component {
	return store.Component{Name: name, Kind: release.Content, Validation: "required", Plan: "careful", Created: now}
}

func componentComesBack(t *testing.T, s *store.Store) {
	b, a := component("b"), component("a")
	ok(t, s.PutComponent(t.Context(), b))
	ok(t, s.PutComponent(t.Context(), a))
	same(t, must[store.Component](t)(s.Component(t.Context(), "b")), b)
	same(t, must[[]store.Component](t)(s.Components(t.Context())), []store.Component{a, b})
	_, err := s.Component(t.Context(), "c")
	refused(t, err, fault.NotFound)
}

func componentKeepsKind(t *testing.T, s *store.Store) {
	want := component("a")
	ok(t, s.PutComponent(t.Context(), want))
	other := component("a")
	other.Kind = release.Config
	refused(t, s.PutComponent(t.Context(), other), fault.Conflict)
	again := component("a")
	again.Validation, again.Plan, again.Created = "none", "fast", after(time.Hour)
	ok(t, s.PutComponent(t.Context(), again))
	again.Created = want.Created
	same(t, must[store.Component](t)(s.Component(t.Context(), "a")), again)
}

func planReplaced(t *testing.T, s *store.Store) {
	p := somePlan("careful")
	ok(t, s.PutPlan(t.Context(), somePlan("brave"), now))
	ok(t, s.PutPlan(t.Context(), p, now))
	p.Rings[0].Hosts = 1
	ok(t, s.PutPlan(t.Context(), p, after(time.Hour)))
	want := store.PlanRow{Plan: p, Updated: after(time.Hour)}
	same(t, must[store.PlanRow](t)(s.Plan(t.Context(), "careful")), want)
	same(t, must[[]store.PlanRow](t)(s.Plans(t.Context())), []store.PlanRow{{Plan: somePlan("brave"), Updated: now}, want})
	_, err := s.Plan(t.Context(), "none")
	refused(t, err, fault.NotFound)
}

func settingKept(t *testing.T, s *store.Store) {
	var kept [8]string
	var writers sync.WaitGroup
	for i := range kept {
		writers.Go(func() {
			var err error
			if kept[i], err = s.KeepSetting(t.Context(), "k", fmt.Sprint("of ", i)); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	for _, v := range kept {
		same(t, v, must[string](t)(s.Setting(t.Context(), "k")))
	}
}

func settingReplaced(t *testing.T, s *store.Store) {
	_, err := s.Setting(t.Context(), "k")
	refused(t, err, fault.NotFound)
	for _, v := range []string{"one", "", "ünd\x01"} {
		ok(t, s.PutSetting(t.Context(), "k", v))
		same(t, must[string](t)(s.Setting(t.Context(), "k")), v)
	}
}
