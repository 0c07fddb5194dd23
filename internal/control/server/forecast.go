package server

import (
	"context"
	"net/http"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// forecastPatience is how long a forecast may take, with the wait for others that are played.
const forecastPatience = 20 * time.Second

// forecast plays bad releases under a stored plan.
func (s *server) forecast(w http.ResponseWriter, r *http.Request) error {
	stored, err := s.Plans.Plan(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	component := r.URL.Query().Get("component")
	if component != "" {
		if _, err := s.Components.Component(r.Context(), component); err != nil {
			return err
		}
	}
	return s.foretell(w, r, stored.Plan, component)
}

// forecastOfRollout plays bad releases under the plan that was frozen into a rollout, which need not be stored under a name.
func (s *server) forecastOfRollout(w http.ResponseWriter, r *http.Request) error {
	summary, err := s.Engine.Rollout(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	frozen, err := s.planOf(r.Context(), rollout.ID(summary.ID))
	if err != nil {
		return err
	}
	return s.foretell(w, r, frozen, summary.Component)
}

// foretell answers with what bad releases would cost under a plan on the hosts that have a component, or on all.
func (s *server) foretell(w http.ResponseWriter, r *http.Request, p plan.Plan, component string) error {
	groups, err := s.hostsWith(component)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), forecastPatience)
	defer cancel()
	answer, err := s.Forecast(ctx, p, groups)
	if err != nil {
		if fault.KindOf(err) == fault.Unavailable {
			w.Header().Set("Retry-After", "3")
		}
		return err
	}
	return writeOK(w, answer)
}

// hostsWith counts the hosts that have a component, or all, by what they are. A forecast needs at least one that is heard.
func (s *server) hostsWith(component string) ([]api.FleetGroup, error) {
	if s.Live == nil {
		return nil, fault.New(fault.Unavailable, "forecast: this control plane does not follow the fleet")
	}
	groups := s.Live.Profile(component, s.Clock.Now().Add(-lately), api.MaxFleetGroups)
	hosts, heard := int64(0), int64(0)
	for _, g := range groups {
		hosts, heard = hosts+g.Hosts, heard+g.Heard
	}
	having := ""
	if component != "" {
		having = " with component " + component
	}
	switch {
	case hosts == 0:
		return nil, fault.New(fault.Conflict, "forecast: the fleet has no hosts%s", having).Hint("Let hosts join, or ask about another component.")
	case heard == 0:
		return nil, fault.New(fault.Conflict, "forecast: none of the fleet's %d hosts%s was heard in the last %s", hosts, having, lately).
			Hint("Look why they are silent: firebreak fleet list.")
	}
	return groups, nil
}
