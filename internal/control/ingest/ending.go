package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// End ends an endpoint's identity. From the moment that it is stored nobody is let in with it, here at once and at other replicas within a
// second or two. Its leases without an outcome end with a goodbye, so that its silence is no harm: that is stored as a report of its own, and
// decided on as any other. Ended again in the same way, what was not finished the first time is.
func (in *Ingest) End(ctx context.Context, id fleet.EndpointID, how store.Ending, why string) error {
	row, err := in.Store.Endpoint(ctx, id)
	if err != nil {
		return err
	}
	if err = in.Store.EndEndpoint(ctx, id, how, why, in.Clock.Now()); err != nil {
		return err
	}
	in.Fleet.End(id, how == store.Revoked, why)
	in.hub.end(id)
	in.Log.InfoContext(ctx, "endpoint ended", slog.String("endpoint", string(id)), slog.String("how", string(how)), slog.String("why", why))
	goodbyes, err := in.goodbyes(ctx, id, how)
	if err != nil || len(goodbyes) == 0 {
		return err
	}
	if err := in.say(ctx, row, goodbyes); err != nil {
		return fmt.Errorf("say goodbye for %s: %w", id, err)
	}
	return in.Engine.Take(ctx, id)
}

// apart is how far behind the last number known these reports come: the host may have reported while its identity ended.
const apart = 4 * maxReports

// say stores reports in the name of an endpoint.
func (in *Ingest) say(ctx context.Context, row store.Endpoint, all []api.Report) error {
	rows, err := numbered(all, row.ReportSeq+apart)
	if err != nil {
		return err
	}
	stored, err := in.Store.AddReportsOfMany(ctx, in.Clock.Now(), []store.EndpointReports{{Endpoint: row.ID, Number: row.Number, Reports: rows}})
	if err != nil {
		return err
	}
	return stored[0].Err
}

// goodbyes are the reports that end an endpoint's open leases.
func (in *Ingest) goodbyes(ctx context.Context, id fleet.EndpointID, how store.Ending) ([]api.Report, error) {
	leases, err := in.Store.LeasesOfEndpoint(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []api.Report
	for _, l := range leases {
		if l.Outcome != rollout.Pending {
			continue
		}
		r, err := in.Store.Rollout(ctx, l.Rollout)
		if err != nil {
			return nil, err
		}
		of := r.State.Release
		all = append(all, api.Report{
			At: in.Clock.Now().UTC(), Component: of.Component, Rollout: string(l.Rollout), Release: of.Version, Manifest: string(of.Manifest),
			Outcome: string(rollout.Goodbye), Detail: "the endpoint was " + string(how),
		})
	}
	return all, nil
}

// numbered makes rows of reports that follow the one with that number.
func numbered(all []api.Report, after int64) ([]store.Report, error) {
	rows := make([]store.Report, len(all))
	for i, report := range all {
		report.Seq = after + int64(i) + 1
		data, err := json.Marshal(report)
		if err != nil {
			return nil, fmt.Errorf("encode report %d: %w", report.Seq, err)
		}
		rows[i] = store.Report{Seq: report.Seq, Data: data}
	}
	return rows, nil
}
