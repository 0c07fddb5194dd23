package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func (s *server) listIncidents(w http.ResponseWriter, r *http.Request) error {
	var before int64
	if err := behind(r, &before); err != nil {
		return err
	}
	fetch := func(limit int) ([]store.NumberedIncident, error) {
		return s.Records.IncidentsPage(r.Context(), before, limit)
	}
	return page(w, r, fetch, func(i store.NumberedIncident) place { return place{i.Number} },
		sure(func(i store.NumberedIncident) api.Incident { return incidentWire(i.Incident) }))
}

// getIncident puts together what is known of a trip: who was harmed, what was decided when, and how the rollout stands.
func (s *server) getIncident(w http.ResponseWriter, r *http.Request) error {
	row, err := s.Records.Incident(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	answer := incidentWire(row)
	harmed, err := s.harmed(r.Context(), row.Rollout)
	if err != nil {
		return err
	}
	answer.Harmed = each(harmed, leaseWire)
	if answer.Timeline, answer.Crashes, err = s.timeline(r.Context(), row.Rollout); err != nil {
		return err
	}
	summary, err := s.Engine.Rollout(r.Context(), string(row.Rollout))
	if err != nil {
		return err
	}
	answer.Summary = &summary
	return writeOK(w, answer)
}

// harmed lists the leases of harmed hosts in the order of endpoints, the first so many: the rollout has the count.
func (s *server) harmed(ctx context.Context, id rollout.ID) ([]store.Lease, error) {
	var kept []store.Lease
	for after := fleet.EndpointID(""); ; {
		leases, err := s.Records.LeasesPage(ctx, id, after, maxPage)
		if err != nil {
			return nil, err
		}
		for _, l := range leases {
			if after = l.Endpoint; l.Outcome.Harms() {
				kept = append(kept, l)
			}
		}
		if len(leases) < maxPage || len(kept) >= maxHarmed {
			return kept[:min(len(kept), maxHarmed)], nil
		}
	}
}

// timeline is a rollout's decisions without the granted leases, of which there may be millions, and what its hosts found of their crashes.
func (s *server) timeline(ctx context.Context, id rollout.ID) ([]api.Decision, []api.CrashCluster, error) {
	var kept []api.Decision
	var crashes rollout.Crashes
	for after := int64(0); ; {
		decisions, last, err := s.decisions(ctx, id, after, maxPage)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range decisions {
			if err := gather(&crashes, d); err != nil {
				return nil, nil, fmt.Errorf("read event %d of rollout %s: %w", d.Revision, id, err)
			}
			d.Records = slices.DeleteFunc(d.Records, func(r api.Record) bool { return r.Verdict == string(rollout.DidGrant) })
			if len(d.Records) > 0 && len(kept) < maxTimeline {
				kept = append(kept, d)
			}
		}
		if len(decisions) < maxPage {
			return kept, each(crashes.Largest(maxClusters), clusterWire), nil
		}
		after = last
	}
}

// maxHarmed bounds the harmed hosts that an incident lists.
const maxHarmed = 10_000

// maxTimeline bounds an incident's timeline: a trip comes after a handful of harmed hosts, not after thousands.
const maxTimeline = 1000

// maxClusters is how many clusters of crashes are shown.
const maxClusters = 20

// gather takes in the crash that an event tells of. Only harm that was counted does.
func gather(crashes *rollout.Crashes, d api.Decision) error {
	if !slices.ContainsFunc(d.Records, func(r api.Record) bool { return r.Verdict == string(rollout.DidCount) }) {
		return nil
	}
	e, err := rollout.DecodeEvent(d.Event, d.Data)
	if outcome, ok := e.(rollout.OutcomeKnown); ok {
		crashes.Add(outcome)
	}
	return err
}

func clusterWire(c rollout.Cluster) api.CrashCluster {
	return api.CrashCluster{Signature: c.Signature, Signal: c.Signal, Status: c.Status, Headline: c.Headline, Hosts: c.Hosts, First: c.First}
}

func incidentWire(i store.Incident) api.Incident {
	return api.Incident{
		ID: i.ID, Rollout: string(i.Rollout), Component: i.Component, Version: i.Version, Title: i.Title, Opened: i.Opened,
		Closed: optional(i.Closed),
	}
}
