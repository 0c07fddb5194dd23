package server

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// filter picks endpoints of the fleet.
type filter struct {
	selects            fleet.Selector
	component, version string
	silent             time.Time
	prefix             string
	lacks              []string
	refusing, atRisk   bool
}

func (f filter) empty() bool {
	return len(f.selects) == 0 && f.component == "" && f.version == "" && f.silent.IsZero() && f.prefix == "" && len(f.lacks) == 0 &&
		!f.refusing && !f.atRisk
}

const (
	maxSelects   = 32
	searchTime   = 250 * time.Millisecond // then what was found is a page, and what was counted an estimate
	mostSearches = 2                      // at a time: a third waits, so that check-ins have the processors
)

// filterOf reads a filter from the query. All of its mistakes are told at once.
func filterOf(r *http.Request) (filter, error) {
	query := r.URL.Query()
	f := filter{component: query.Get("component"), version: query.Get("version"), prefix: query.Get("prefix"), lacks: query["lacks"]}
	problems := fleet.CheckPosture("lacks", f.lacks)
	for name, flag := range map[string]*bool{"refusing": &f.refusing, "at_risk": &f.atRisk} {
		var err error
		if *flag, err = truth(query, name); err != nil {
			return f, err
		}
	}
	for i, text := range query["select"] {
		key, value, ok := strings.Cut(text, "=")
		if !ok || i >= maxSelects {
			problems = append(problems, fault.Problem{
				Path: "select", Message: fmt.Sprintf("must be key=value, at most %d times, is %q", maxSelects, shorten(text)),
			})
			break
		}
		if f.selects == nil {
			f.selects = fleet.Selector{}
		}
		f.selects[key] = append(f.selects[key], value)
	}
	problems = append(problems, f.selects.Check("select")...)
	if f.version != "" && f.component == "" {
		problems = append(problems, fault.Problem{Path: "version", Message: "is that of a component; say which: component="})
	}
	if text := query.Get("silent_since"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			problems = append(problems, fault.Problem{
				Path: "silent_since", Message: fmt.Sprintf("must be a time such as 2026-07-19T04:09:00Z, is %q", shorten(text)),
			})
		}
		f.silent = at
	}
	return f, fault.Problems("read query", problems)
}

func (f filter) wants(subject fleet.Subject, state api.Component) bool {
	return f.selects.Matches(subject) && (f.version == "" || state.Version == f.version)
}

// lacked is the posture of which hosts are to miss any word; 0 if none is named.
func (f filter) lacked() fleet.Posture {
	if len(f.lacks) == 0 {
		return 0
	}
	return fleet.PostureOf(f.lacks)
}

// findEndpoints answers from memory. It stops where its time is over; the next page goes on there, if need be with nothing on it.
func (s *server) findEndpoints(w http.ResponseWriter, r *http.Request, f filter) error {
	var after int64
	if err := behind(r, &after); err != nil {
		return err
	}
	limit, err := pageSize(r)
	if err != nil {
		return err
	}
	if s.Live == nil {
		return fault.New(fault.Unavailable, "search the fleet: this control plane does not follow it")
	}
	select {
	case s.searches <- struct{}{}:
		defer func() { <-s.searches }()
	case <-r.Context().Done():
		return fault.New(fault.Unavailable, "search the fleet: others are searching: %w", r.Context().Err())
	}
	wall := clock.Wall{} // it bounds what is really spent
	begin := wall.Now()
	found := s.Live.Search(registry.Search{
		After: max(after, 0), Limit: limit, Prefix: f.prefix, Component: f.component, Silent: f.silent, Wants: f.wants, Count: after == 0,
		Refusing: f.refusing, AtRisk: f.atRisk, Lacks: f.lacked(),
		Stop: func() bool { return r.Context().Err() != nil || wall.Now().Sub(begin) > searchTime },
	})
	answer := api.EndpointPage{Page: api.Page[api.Endpoint]{Items: []api.Endpoint{}}}
	if found.Next != 0 {
		answer.Next = place{found.Next}.String()
	}
	if after == 0 {
		answer.Count, answer.Estimated = count(found, s.Live.Len())
	}
	for _, id := range found.IDs {
		if e, ok := s.Live.Get(id); ok {
			answer.Items = append(answer.Items, liveWire(e))
		}
	}
	return writeOK(w, answer)
}

// count tells how many endpoints there are in all of a fleet, going by those that were looked at.
func count(found registry.Found, all int) (n *int64, estimated bool) {
	matched := found.Matched
	if !found.Ended && found.Looked > 0 {
		share := float64(matched) / float64(found.Looked)
		matched = max(matched, int64(share*float64(all)))
	}
	return &matched, !found.Ended
}

// liveWire is an endpoint as it is in memory.
func liveWire(e registry.Endpoint) api.Endpoint {
	return api.Endpoint{
		ID: string(e.ID), Tenant: string(e.Subject.Tenant), Attributes: api.Attributes(e.Subject.Attributes), Labels: e.Subject.Labels,
		Enrolled: e.Enrolled.UTC(), LastSeen: e.LastSeen.UTC(), Components: e.Components, Posture: postureWire(e.Posture),
	}
}
