package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const (
	defaultPoints = 400
	maxPoints     = 2000
)

// series gives a rollout's course.
func (s *server) series(w http.ResponseWriter, r *http.Request) error {
	points := defaultPoints
	if text := r.URL.Query().Get("points"); text != "" {
		var err error
		if points, err = strconv.Atoi(text); err != nil || points < 2 || points > maxPoints {
			return badQuery("points", fmt.Sprintf("must be 2 to %d, is %q", maxPoints, shorten(text)))
		}
	}
	answer, err := s.seriesOf(r.Context(), r.PathValue("id"), points)
	if err != nil {
		return err
	}
	return writeOK(w, answer)
}

// seriesOf is a rollout's course in so many points at most: what mattered, and decisions that lie evenly between. However long the course was, it
// reads little more than it shows.
func (s *server) seriesOf(ctx context.Context, id string, points int) (api.RolloutSeries, error) {
	now, err := s.Engine.Rollout(ctx, id)
	if err != nil {
		return api.RolloutSeries{}, err
	}
	events, err := s.sampled(ctx, rollout.ID(now.ID), now.Revision, points)
	if err != nil {
		return api.RolloutSeries{}, err
	}
	answer := api.RolloutSeries{Rollout: now.ID, Amber: now.Amber, Trip: now.Trip}
	c := course{alarm: "quiet", evidence: 1}
	for _, e := range events {
		if err := c.take(e); err != nil {
			return api.RolloutSeries{}, err
		}
	}
	answer.Points = even(c.points, points-1)
	answer.Sampled = int64(len(events)) < now.Revision || len(answer.Points) < len(c.points)
	if last := pointOf(now, c.last); len(answer.Points) == 0 || answer.Points[len(answer.Points)-1].Revision < last.Revision {
		answer.Points = append(answer.Points, last)
	}
	return answer, nil
}

// sampled reads events of a rollout with so many revisions: those that matter, the newest ones if they are very many, and others evenly between them.
func (s *server) sampled(ctx context.Context, id rollout.ID, revisions int64, points int) ([]store.Event, error) {
	events, err := s.Records.NotableEvents(ctx, id, store.Matters, 0, maxPoints)
	if err != nil {
		return nil, err
	}
	known := make(map[int64]bool, len(events))
	for _, e := range events {
		known[e.Revision] = true
	}
	var wanted []int64
	for i := range int64(points) {
		if at := 1 + i*(revisions-1)/int64(points-1); !known[at] {
			known[at] = true
			wanted = append(wanted, at)
		}
	}
	others, err := s.Records.EventsAt(ctx, id, wanted)
	if err != nil {
		return nil, err
	}
	events = append(events, others...)
	slices.SortFunc(events, func(a, b store.Event) int { return int(a.Revision - b.Revision) })
	return events, nil
}

// course puts together where a rollout stood. What an event does not tell stays as it was told last: a lease tells how many hosts are exposed
// and unconfirmed, and nothing of the harmed; many tell nothing.
type course struct {
	points   []api.SeriesPoint
	last     store.Event
	harmed   int64
	ring     int
	evidence float64
	alarm    string
}

func (c *course) take(e store.Event) error {
	c.last = e
	records, err := rollout.DecodeRecords(e.Effects)
	if err != nil {
		return fmt.Errorf("read event %d of rollout %s: %w", e.Revision, e.Rollout, err)
	}
	if len(records) == 0 {
		return nil
	}
	r := records[len(records)-1]
	for _, told := range records {
		if told.Verdict != rollout.DidGrant {
			r = told
			c.harmed, c.ring, c.evidence, c.alarm = r.Harmed, r.Ring, r.Evidence, string(r.Alarm)
		}
	}
	c.points = append(c.points, api.SeriesPoint{
		Revision: e.Revision, At: e.At, Ring: c.ring, Exposed: r.Exposed, Unconfirmed: r.Unconfirmed, Harmed: c.harmed, Evidence: c.evidence,
		Alarm: c.alarm,
	})
	return nil
}

// pointOf is where the rollout stands now, since its last event.
func pointOf(r api.Rollout, last store.Event) api.SeriesPoint {
	return api.SeriesPoint{
		Revision: r.Revision, At: last.At, Ring: r.Ring, Exposed: r.Exposed, Unconfirmed: r.Unconfirmed, Harmed: r.Harmed, Evidence: r.Evidence,
		Alarm: r.Alarm,
	}
}

// even leaves so many points at most: the first, the last, and others evenly between.
func even(points []api.SeriesPoint, most int) []api.SeriesPoint {
	if len(points) <= most {
		return points
	}
	if most < 2 {
		return points[:most]
	}
	kept := make([]api.SeriesPoint, 0, most)
	for i := range most {
		kept = append(kept, points[i*(len(points)-1)/(most-1)])
	}
	return kept
}

// timelinePage pages through the decisions that matter, newest first.
func (s *server) timelinePage(w http.ResponseWriter, r *http.Request) error {
	limit, err := pageSize(r)
	if err != nil {
		return err
	}
	var before int64
	if err = behind(r, &before); err != nil {
		return err
	}
	id, err := s.known(r)
	if err != nil {
		return err
	}
	decisions, next, err := Timeline(r.Context(), s.Records, id, max(before, 0), limit)
	if err != nil {
		return err
	}
	answer := api.Page[api.Decision]{Items: decisions}
	if next != 0 {
		answer.Next = place{next}.String()
	}
	return writeOK(w, answer)
}

// Notables has the events that matter to people. *store.Store is one.
type Notables interface {
	// NotableEvents lists at most limit events that are as notable as that with smaller revisions than before, newest first; 0 is before all.
	NotableEvents(ctx context.Context, id rollout.ID, n store.Notable, before int64, limit int) ([]store.Event, error)
}

// scannedAtMost bounds how many events one page of a timeline looks at: those of rollouts from before it was noted which of them matter are all
// read.
const scannedAtMost = 20_000

// Timeline lists at most limit decisions of a rollout that matter, below a revision, newest first; 0 is above all. Next is the revision below which
// the list goes on; 0 if it has ended. It may go on after a short list.
func Timeline(ctx context.Context, from Notables, id rollout.ID, before int64, limit int) (decisions []api.Decision, next int64, err error) {
	decisions = []api.Decision{}
	for scanned := 0; scanned < scannedAtMost; {
		events, err := from.NotableEvents(ctx, id, store.Matters, before, limit+1)
		if err != nil {
			return nil, 0, err
		}
		scanned += len(events)
		for _, e := range events {
			if len(decisions) == limit {
				return decisions, before, nil
			}
			d, err := decisionWire(e)
			if err != nil {
				return nil, 0, err
			}
			before = e.Revision
			d.Records = slices.DeleteFunc(d.Records, func(r api.Record) bool { return r.Verdict == string(rollout.DidGrant) })
			if len(d.Records) > 0 {
				decisions = append(decisions, d)
			}
		}
		if len(events) <= limit {
			return decisions, 0, nil
		}
	}
	return decisions, before, nil
}
