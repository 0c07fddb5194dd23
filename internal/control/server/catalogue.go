package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/problem"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/resource"
)

// Whether releases of a component need a passing verdict.
const (
	validationRequired = "required"
	validationNone     = "none"
)

func (s *server) listComponents(w http.ResponseWriter, r *http.Request) error {
	components, err := s.Components.Components(r.Context())
	if err != nil {
		return err
	}
	return pageOf(w, r, components, func(c store.Component) string { return c.Name }, sure(componentWire))
}

func (s *server) getComponent(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Components.Component(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeTagged(w, r, http.StatusOK, componentWire(c))
}

func (s *server) putComponent(w http.ResponseWriter, r *http.Request) error {
	spec := componentSpec{api.ComponentSpec{Name: r.PathValue("name"), Validation: validationRequired}}
	if err := decode(w, r, &spec); err != nil {
		return err
	}
	if err := sameName(r, spec.Name); err != nil {
		return err
	}
	if err := s.planExists(r.Context(), spec.Plan); err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.unchangedComponent(r.Context(), r); err != nil {
		return err
	}
	row := store.Component{
		Name: spec.Name, Kind: release.Kind(spec.Kind), Validation: spec.Validation, Plan: spec.Plan, Created: s.Clock.Now(),
	}
	if err := s.Components.PutComponent(r.Context(), row); err != nil {
		return err
	}
	return writeTagged(w, r, http.StatusOK, componentWire(row))
}

func (s *server) unchangedComponent(ctx context.Context, r *http.Request) error {
	name := r.PathValue("name")
	have := func() (api.ComponentSpec, error) {
		c, err := s.Components.Component(ctx, name)
		return componentWire(c), err
	}
	return unchanged(r, "component "+name, have, func(c api.ComponentSpec) string {
		return fmt.Sprintf("it is of kind %s, with validation %s and plan %q", c.Kind, c.Validation, c.Plan)
	})
}

func (s *server) planExists(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := s.Plans.Plan(ctx, name)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return fault.Problems("read request body", []fault.Problem{{Path: "plan", Message: fmt.Sprintf("there is no plan %q; apply it first", name)}})
	}
	return err
}

// componentSpec is api.ComponentSpec with its rules.
type componentSpec struct{ api.ComponentSpec }

// Check implements resource.Checker.
func (c componentSpec) Check() []fault.Problem { return CheckComponent(c.ComponentSpec) }

// CheckComponent lists everything that is wrong with a component's registration.
func CheckComponent(c api.ComponentSpec) []fault.Problem {
	var problems []fault.Problem
	require := func(ok bool, path, format string, args ...any) {
		if !ok {
			problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
		}
	}
	require(plan.Name(c.Name), "name", "must be 1 to 63 lower-case letters, digits and dashes, is %q", c.Name)
	require(!trust.Reserved(c.Name), "name", "%q is the name of a role of the signed repository; choose another", c.Name)
	require(release.Kind(c.Kind).Installable(), "kind", "must be "+release.Kinds+", is %q", c.Kind)
	require(c.Validation == "" || c.Validation == validationRequired || c.Validation == validationNone, "validation",
		"must be required or none, is %q", c.Validation)
	require(c.Plan == "" || plan.Name(c.Plan), "plan", "must be the name of a plan, is %q", c.Plan)
	return problems
}

func componentWire(c store.Component) api.ComponentSpec {
	return api.ComponentSpec{Name: c.Name, Kind: string(c.Kind), Validation: c.Validation, Plan: c.Plan}
}

// sameName refuses a document that is stored under a name that is not its own.
func sameName(r *http.Request, name string) error {
	if want := r.PathValue("name"); name != want {
		return fault.Problems("read request body", []fault.Problem{{Path: "name", Message: fmt.Sprintf("is %q, but the address says %q", name, want)}})
	}
	return nil
}

func (s *server) listPlans(w http.ResponseWriter, r *http.Request) error {
	rows, err := s.Plans.Plans(r.Context())
	if err != nil {
		return err
	}
	return pageOf(w, r, rows, func(row store.PlanRow) string { return row.Plan.Name }, planWire)
}

func (s *server) getPlan(w http.ResponseWriter, r *http.Request) error {
	row, err := s.Plans.Plan(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	answer, err := planWire(row)
	if err != nil {
		return err
	}
	return writeTagged(w, r, http.StatusOK, answer)
}

// putPlan stores a plan with its defaults filled in: what was accepted does not change when a later version has other defaults.
func (s *server) putPlan(w http.ResponseWriter, r *http.Request) error {
	p := plan.Plan{Name: r.PathValue("name")}
	if err := decode(w, r, &p); err != nil {
		return err
	}
	if err := sameName(r, p.Name); err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.unchangedPlan(r.Context(), r); err != nil {
		return err
	}
	row := store.PlanRow{Plan: p.Defaulted(), Updated: s.Clock.Now()}
	if err := s.Plans.PutPlan(r.Context(), row.Plan, row.Updated); err != nil {
		return err
	}
	answer, err := planWire(row)
	if err != nil {
		return err
	}
	return writeTagged(w, r, http.StatusOK, answer)
}

func (s *server) unchangedPlan(ctx context.Context, r *http.Request) error {
	name := r.PathValue("name")
	have := func() (api.StoredPlan, error) {
		row, err := s.Plans.Plan(ctx, name)
		if err != nil {
			return api.StoredPlan{}, err
		}
		return planWire(row)
	}
	return unchanged(r, "plan "+name, have, func(p api.StoredPlan) string {
		return fmt.Sprintf("it was stored at %s and can harm %d hosts at most, on average", p.Updated.Format(time.RFC3339), p.Bound)
	})
}

func (s *server) checkPlan(w http.ResponseWriter, r *http.Request) error {
	data, err := whole(r)
	if err != nil {
		return err
	}
	check, err := boundOf(data)
	if err != nil {
		return err
	}
	return writeOK(w, check)
}

// boundOf says what is wrong with a plan's document, or which harm it is bounded to.
func boundOf(data []byte) (api.PlanCheck, error) {
	var p plan.Plan
	if err := resource.Decode(data, &p); err != nil {
		return api.PlanCheck{Problems: problem.Fields(fault.ProblemsOf(err))}, nil
	}
	return PlanBound(p)
}

// PlanBound says which harm a valid plan is bounded to.
func PlanBound(p plan.Plan) (api.PlanCheck, error) {
	p = p.Defaulted()
	document, err := json.Marshal(p)
	if err != nil {
		return api.PlanCheck{}, fmt.Errorf("encode plan %s: %w", p.Name, err)
	}
	bound := p.Bound()
	return api.PlanCheck{Plan: document, Bound: bound.Hosts, Steps: bound.Steps}, nil
}

func planWire(row store.PlanRow) (api.StoredPlan, error) {
	document, err := json.Marshal(row.Plan)
	if err != nil {
		return api.StoredPlan{}, fmt.Errorf("encode plan %s: %w", row.Plan.Name, err)
	}
	return api.StoredPlan{
		Name: row.Plan.Name, Updated: row.Updated, Rings: len(row.Plan.Rings), Bound: row.Plan.Bound().Hosts, Plan: document,
	}, nil
}
