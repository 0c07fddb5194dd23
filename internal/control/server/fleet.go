package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// listEndpoints pages through the fleet by id, or through what a filter lets through.
func (s *server) listEndpoints(w http.ResponseWriter, r *http.Request) error {
	filter, err := filterOf(r)
	if err != nil {
		return err
	}
	if !filter.empty() {
		return s.findEndpoints(w, r, filter)
	}
	limit, err := pageSize(r)
	if err != nil {
		return err
	}
	rows, err := s.Fleet.Endpoints(r.Context(), fleet.EndpointID(r.URL.Query().Get("after")), limit+1)
	if err != nil {
		return err
	}
	answer := api.EndpointPage{Page: api.Page[api.Endpoint]{Items: []api.Endpoint{}}}
	if len(rows) > limit {
		rows = rows[:limit]
		answer.Next = string(rows[limit-1].ID)
	}
	for _, row := range rows {
		e, err := s.endpointWire(row)
		if err != nil {
			return err
		}
		answer.Items = append(answer.Items, e)
	}
	return writeOK(w, answer)
}

// mostLeases is how many of its leases are shown of an endpoint.
const mostLeases = 100

func (s *server) getEndpoint(w http.ResponseWriter, r *http.Request) error {
	row, err := s.Fleet.Endpoint(r.Context(), fleet.EndpointID(r.PathValue("id")))
	if err != nil {
		return err
	}
	answer, err := s.endpointWire(row)
	if err != nil {
		return err
	}
	leases, err := s.Fleet.NewestLeases(r.Context(), row.ID, mostLeases)
	if err != nil {
		return err
	}
	answer.Leases = each(leases, leaseWire)
	if answer.Reports, err = s.reportsOf(r.Context(), row.ID); err != nil {
		return err
	}
	answer.Next = s.nextOf(r.Context(), row.ID)
	if s.Identities != nil {
		if twins, found := s.Identities.Twins(row.ID); found {
			answer.Twins = &twins
		}
	}
	return writeOK(w, answer)
}

// mostReports is how many reports of an endpoint are shown.
const mostReports = 50

// reportsOf lists the last reports of an endpoint. Those that cannot be read are left out: hosts write them.
func (s *server) reportsOf(ctx context.Context, id fleet.EndpointID) ([]api.Report, error) {
	rows, err := s.Fleet.ReportsOf(ctx, id, mostReports)
	if err != nil {
		return nil, err
	}
	var reports []api.Report
	for _, row := range rows {
		var report api.Report
		if json.Unmarshal(row.Data, &report) == nil {
			reports = append(reports, report)
		}
	}
	return reports, nil
}

// nextWithin is how long a page waits for what the endpoint gets next, which only the leader knows.
const nextWithin = 500 * time.Millisecond

// nextOf is what an endpoint gets next. While nobody decides it is nothing: the rest of the page is worth having.
func (s *server) nextOf(ctx context.Context, id fleet.EndpointID) []api.Next {
	ctx, cancel := context.WithTimeout(ctx, nextWithin)
	defer cancel()
	next, err := s.Engine.Next(ctx, id)
	if err != nil {
		s.Log.DebugContext(ctx, "ask what an endpoint gets next", slog.String("endpoint", string(id)), slog.Any("error", err))
		return nil
	}
	return next
}

// revokeEndpoint ends an identity whose key may be in wrong hands. A reason is required: the host is told, and so is whoever looks later.
func (s *server) revokeEndpoint(w http.ResponseWriter, r *http.Request) error {
	var body endEndpoint
	if err := decode(w, r, &body); err != nil {
		return err
	}
	id := fleet.EndpointID(r.PathValue("id"))
	if err := s.Identities.End(r.Context(), id, store.Revoked, body.Reason+", by "+callerOf(r.Context()).actor); err != nil {
		return err
	}
	row, err := s.Fleet.Endpoint(r.Context(), id)
	if err != nil {
		return err
	}
	answer, err := s.endpointWire(row)
	if err != nil {
		return err
	}
	return writeOK(w, answer)
}

func (s *server) removeEndpoint(w http.ResponseWriter, r *http.Request) error {
	err := s.Identities.End(r.Context(), fleet.EndpointID(r.PathValue("id")), store.Removed, "by "+callerOf(r.Context()).actor)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// endEndpoint is api.EndEndpoint with its rules.
type endEndpoint struct{ api.EndEndpoint }

// Check implements resource.Checker.
func (e endEndpoint) Check() []fault.Problem {
	if e.Reason == "" {
		return []fault.Problem{{Path: "reason", Message: fmt.Sprintf("must have 1 to %d bytes, has 0", maxReason)}}
	}
	return checkReason(e.Reason)
}

// lately is how long ago a host was heard that counts as there.
const lately = 15 * time.Minute

// fleetProfile counts the fleet by what its hosts are.
func (s *server) fleetProfile(w http.ResponseWriter, r *http.Request) error {
	component, err := s.componentAsked(r)
	if err != nil {
		return err
	}
	if s.Live == nil {
		return fault.New(fault.Unavailable, "count the fleet: this control plane does not follow it")
	}
	now := s.Clock.Now()
	profile := api.FleetProfile{
		Taken: now.UTC(), Component: component, Groups: s.Live.Profile(component, now.Add(-lately), api.MaxFleetGroups),
	}
	for _, group := range profile.Groups {
		profile.Hosts += group.Hosts
	}
	return writeOK(w, profile)
}

func (s *server) endpointWire(row store.Endpoint) (api.Endpoint, error) {
	e := api.Endpoint{
		ID: string(row.ID), Tenant: string(row.Tenant), Attributes: api.Attributes(row.Attributes), Labels: row.Labels,
		Enrolled: row.Enrolled, LastSeen: row.LastSeen,
	}
	if len(row.Components) > 0 {
		if err := json.Unmarshal(row.Components, &e.Components); err != nil {
			return api.Endpoint{}, fmt.Errorf("read components of endpoint %s: %w", row.ID, err)
		}
	}
	e.Posture, e.Revoked = postureWire(row.Posture), optional(row.Ended)
	if e.Revoked != nil {
		e.Why = row.Why
	}
	if s.Live == nil {
		return e, nil
	}
	if live, ok := s.Live.Get(row.ID); ok {
		e.Attributes = api.Attributes(live.Subject.Attributes)
		if live.LastSeen.After(e.LastSeen) {
			e.LastSeen = live.LastSeen
		}
		if live.Components != nil {
			e.Components = live.Components
		}
		e.Posture = postureWire(live.Posture)
	}
	return e, nil
}

// postureWire is nil for a host that has not said its posture.
func postureWire(p fleet.Posture) *api.Posture {
	if !p.Said() {
		return nil
	}
	return &api.Posture{Have: p.Have(), Missing: p.Missing()}
}
