package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
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

func (s *server) getIncident(w http.ResponseWriter, r *http.Request) error {
	answer, err := s.incident(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeOK(w, answer)
}

// incident puts together what is known of a trip: who was harmed, what was decided when, and how the rollout stands.
func (s *server) incident(ctx context.Context, id string) (api.Incident, error) {
	row, err := s.Records.Incident(ctx, id)
	if err != nil {
		return api.Incident{}, err
	}
	answer := incidentWire(row)
	harmed, err := s.harmed(ctx, row.Rollout)
	if err != nil {
		return api.Incident{}, err
	}
	answer.Harmed = each(harmed, leaseWire)
	if answer.Timeline, answer.Crashes, err = s.timeline(ctx, row.Rollout); err != nil {
		return api.Incident{}, err
	}
	summary, err := s.Engine.Rollout(ctx, string(row.Rollout))
	if err != nil {
		return api.Incident{}, err
	}
	answer.Summary = &summary
	return answer, nil
}

// closeIncident notes that people are done with an incident. Closing one that is closed changes nothing, and shows who closed it.
func (s *server) closeIncident(w http.ResponseWriter, r *http.Request) error {
	var body closeIncident
	if err := decodeOptional(w, r, &body); err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := s.Records.CloseIncident(r.Context(), id, callerOf(r.Context()).actor, body.Note, s.Clock.Now()); err != nil {
		return err
	}
	row, err := s.Records.Incident(r.Context(), id)
	if err != nil {
		return err
	}
	return writeOK(w, incidentWire(row))
}

// closeIncident is api.CloseIncident with its rules.
type closeIncident struct{ api.CloseIncident }

// Check implements resource.Checker.
func (c closeIncident) Check() []fault.Problem { return checkText("note", c.Note, maxReason) }

// harmed lists the leases of harmed hosts in the order of endpoints, the first so many: the rollout has the count.
func (s *server) harmed(ctx context.Context, id rollout.ID) ([]store.Lease, error) {
	return s.Records.LeasesPage(ctx, id, "", maxHarmed, rollout.Harmful()...)
}

// timeline is a rollout's decisions that matter, oldest first, the newest so many; and what its hosts found of their crashes.
func (s *server) timeline(ctx context.Context, id rollout.ID) ([]api.Decision, []api.CrashCluster, error) {
	decisions, _, err := Timeline(ctx, s.Records, id, 0, maxTimeline)
	if err != nil {
		return nil, nil, err
	}
	more, err := s.Records.NotableEvents(ctx, id, store.Another, 0, maxCrashed) // harm that is too much for a timeline
	if err != nil {
		return nil, nil, err
	}
	slices.Reverse(decisions)
	var crashes rollout.Crashes
	for _, d := range decisions {
		if err := gather(&crashes, d); err != nil {
			return nil, nil, fmt.Errorf("read event %d of rollout %s: %w", d.Revision, id, err)
		}
	}
	for _, e := range slices.Backward(more) {
		d, err := decisionWire(e)
		if err == nil {
			err = gather(&crashes, d)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read event %d of rollout %s: %w", e.Revision, id, err)
		}
	}
	return decisions, each(crashes.Largest(maxClusters), clusterWire), nil
}

// maxHarmed bounds the harmed hosts that an incident lists.
const maxHarmed = 10_000

// maxTimeline bounds an incident's timeline: a trip comes after a handful of harmed hosts, not after thousands.
const maxTimeline = 1000

// maxCrashed bounds the events in which crashes are looked for, beside those of the timeline.
const maxCrashed = 5000

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
		Closed: optional(i.Closed), ClosedBy: i.Closer, Note: i.Note,
	}
}
