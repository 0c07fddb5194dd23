package server

import (
	"context"
	"net/http"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func (s *server) listIncidents(w http.ResponseWriter, r *http.Request) error {
	incidents, err := s.Records.Incidents(r.Context())
	if err != nil {
		return err
	}
	return writeAll(w, each(incidents, incidentWire))
}

// getIncident puts together what is known of a trip: who was harmed, what was decided when, and how the rollout stands.
func (s *server) getIncident(w http.ResponseWriter, r *http.Request) error {
	row, err := s.Records.Incident(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	answer := incidentWire(row)
	leases, err := s.Records.Leases(r.Context(), row.Rollout)
	if err != nil {
		return err
	}
	leases = slices.DeleteFunc(leases, func(l store.Lease) bool { return !l.Outcome.Harms() })
	answer.Harmed = each(leases, leaseWire)
	if answer.Timeline, err = s.timeline(r.Context(), row.Rollout); err != nil {
		return err
	}
	summary, err := s.Engine.Rollout(r.Context(), string(row.Rollout))
	if err != nil {
		return err
	}
	answer.Summary = &summary
	return writeOK(w, answer)
}

// timeline is a rollout's decisions without the granted leases, of which there may be millions.
func (s *server) timeline(ctx context.Context, id rollout.ID) ([]api.Decision, error) {
	var kept []api.Decision
	for after := int64(0); ; {
		decisions, last, err := s.decisions(ctx, id, after, maxPage)
		if err != nil {
			return nil, err
		}
		for _, d := range decisions {
			d.Records = slices.DeleteFunc(d.Records, func(r api.Record) bool { return r.Verdict == string(rollout.DidGrant) })
			if len(d.Records) > 0 && len(kept) < maxTimeline {
				kept = append(kept, d)
			}
		}
		if len(decisions) < maxPage {
			return kept, nil
		}
		after = last
	}
}

// maxTimeline bounds an incident's timeline: a trip comes after a handful of harmed hosts, not after thousands.
const maxTimeline = 1000

func incidentWire(i store.Incident) api.Incident {
	return api.Incident{
		ID: i.ID, Rollout: string(i.Rollout), Component: i.Component, Version: i.Version, Title: i.Title, Opened: i.Opened,
		Closed: optional(i.Closed),
	}
}
