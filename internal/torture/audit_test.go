//go:build unix

package torture

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// audit looks in the database, and in what the hosts wrote down, for what must never be.
func (w *world) audit() {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	s, db := w.open(ctx)
	defer func() { _, _ = s.Close(), db.Close() }()
	reports := w.storedReports(ctx, db)
	for _, h := range w.hosts {
		w.auditReports(h, reports[h.record.Endpoint])
	}
	rows, err := s.Rollouts(ctx, "", 0)
	w.must(err)
	w.add("rollouts", int64(len(rows)))
	known := map[string]rollout.Phase{}
	for _, row := range rows {
		known[string(row.State.ID)] = row.State.Phase
		w.auditRollout(ctx, s, row)
	}
	for _, h := range w.hosts {
		for _, l := range h.leases {
			if known[l.Rollout] == rollout.None {
				w.violated("leases", "%s got lease %s of rollout %s, which is not there", h.record.Endpoint, l.ID, l.Rollout)
			}
			for _, other := range l.beside {
				if !known[other].Final() { // a rollout that ended risks nothing new
					w.violated("one risk", "%s got lease %s of rollout %s through %s while it proved a release of %s", h.record.Endpoint, l.ID, l.Rollout,
						l.plane, other)
				}
			}
		}
	}
	w.auditClocks(ctx, s)
	directives, err := s.Directives(ctx)
	w.must(err)
	for _, d := range directives {
		if w.newest[d.Component] > d.Sequence {
			w.violated("directives", "%s: a host saw %d, stored is %d", d.Component, w.newest[d.Component], d.Sequence)
		}
	}
	led, err := s.Leader(ctx)
	w.must(err)
	w.add("terms", led.Term)
}

// open opens the database, as the program does and as it is.
func (w *world) open(ctx context.Context) (*store.Store, *sql.DB) {
	w.t.Helper()
	if w.server == nil {
		path := filepath.Join(w.data, "firebreak.db")
		s, err := sqlite.Open(ctx, path)
		w.must(err)
		db, err := sql.Open("sqlite", path)
		w.must(err)
		return s, db
	}
	url := postgrestest.URL(w.server.Address(), w.name)
	s, err := postgres.Open(ctx, url, postgres.Options{})
	w.must(err)
	db, err := sql.Open("pgx", url)
	w.must(err)
	return s, db
}

// stored is a report in the database.
type stored struct {
	api.Report
	times int
	taken bool
}

func (w *world) storedReports(ctx context.Context, db *sql.DB) map[string]map[int64]stored {
	w.t.Helper()
	rows, err := db.QueryContext(ctx, `SELECT endpoints.id, reports.seq, reports.taken, reports.data FROM reports JOIN endpoints ON number = endpoint`)
	w.must(err)
	defer rows.Close()
	all := map[string]map[int64]stored{}
	for rows.Next() {
		var id string
		var seq, taken int64
		var data []byte
		w.must(rows.Scan(&id, &seq, &taken, &data))
		if all[id] == nil {
			all[id] = map[int64]stored{}
		}
		r := all[id][seq]
		r.times++
		r.taken = taken != 0
		w.must(json.Unmarshal(data, &r.Report))
		all[id][seq] = r
		w.counts["reports stored"]++
	}
	w.must(rows.Err())
	return all
}

// auditReports looks at I8 for one host: what was acknowledged is stored once, as it was sent, and decided on.
func (w *world) auditReports(h *host, reports map[int64]stored) {
	for _, told := range h.acked {
		r, ok := reports[told.Seq]
		switch {
		case !ok:
			w.violated("I8", "%s: report %d (%s) is acknowledged and not stored", h.record.Endpoint, told.Seq, told.Outcome)
		case r.times > 1:
			w.violated("I8", "%s: report %d is stored %d times", h.record.Endpoint, told.Seq, r.times)
		case !r.taken:
			w.violated("I8", "%s: report %d (%s) is acknowledged and not decided on", h.record.Endpoint, told.Seq, told.Outcome)
		case r.Outcome != told.Outcome || r.Rollout != told.Rollout || r.Manifest != told.Manifest:
			w.violated("I8", "%s: report %d was %s of %s, stored is %s of %s", h.record.Endpoint, told.Seq, told.Outcome, told.Rollout, r.Outcome, r.Rollout)
		}
	}
}

// replay is a rollout derived again from its events.
type replay struct {
	state    rollout.State
	outcomes map[string]rollout.Outcome // of leases by endpoint
	grants   map[string][]time.Time     // when leases were issued
	counted  map[string]map[rollout.Outcome]int
	decided  map[string]map[rollout.Outcome]time.Time // when they became known first
	final    rollout.Event                            // that after which nobody is exposed any more; nil: none
	tripped  bool
}

func (w *world) auditRollout(ctx context.Context, s *store.Store, row store.Rollout) {
	w.t.Helper()
	id := row.State.ID
	events, err := s.Events(ctx, id, 0, 0)
	w.must(err)
	w.add("events", int64(len(events)))
	r := replay{outcomes: map[string]rollout.Outcome{}, grants: map[string][]time.Time{}, counted: map[string]map[rollout.Outcome]int{}, decided: map[string]map[rollout.Outcome]time.Time{}}
	for i, e := range events {
		if e.Revision != int64(i)+1 {
			w.violated("fencing", "rollout %s: event %d has revision %d", id, i+1, e.Revision)
		}
		w.step(&r, e)
	}
	if row.Revision != int64(len(events)) {
		w.violated("fencing", "rollout %s: is at revision %d with %d events", id, row.Revision, len(events))
	}
	if diff := cmp.Diff(row.State, r.state, cmpopts.IgnoreUnexported(rollout.State{})); diff != "" {
		w.violated("I10", "rollout %s (- stored, + replayed):\n%s", id, diff)
	}
	w.count("rollouts that are " + string(row.State.Phase))
	if strings.HasPrefix(row.State.Release.Version, "good") && r.tripped {
		w.count("rollouts of good releases that tripped while things broke")
	}
	leases, err := s.Leases(ctx, id)
	w.must(err)
	for _, l := range leases {
		if got := r.outcomes[string(l.Endpoint)]; got != l.Outcome {
			w.violated("I10", "rollout %s: the lease of %s is %s, by its events %s", id, l.Endpoint, l.Outcome, got)
		}
		delete(r.outcomes, string(l.Endpoint))
	}
	for endpoint, outcome := range r.outcomes {
		w.violated("I10", "rollout %s: by its events %s has a lease that is %s, stored is none", id, endpoint, outcome)
	}
	w.auditHosts(&r, id)
}

// step derives the state after one more event, and looks at I2, I3, and that no host has two live leases.
func (w *world) step(r *replay, e store.Event) {
	event, err := rollout.DecodeEvent(e.Name, e.Data)
	w.must(err)
	before, allowed := r.state, r.state.Allowed()
	next, effects := rollout.Step(r.state.Clone(), event)
	r.state = next
	if encoded, err := rollout.EncodeEffects(effects); err != nil || !sameJSON(encoded, e.Effects) {
		w.violated("I10", "rollout %s: revision %d had the effects %s, by replay %s", e.Rollout, e.Revision, e.Effects, encoded)
	}
	if known, ok := event.(rollout.OutcomeKnown); ok {
		endpoint := string(known.Endpoint)
		if outcome, follows := rollout.Follow(r.outcomes[endpoint], known.Outcome); follows {
			r.outcomes[endpoint] = outcome
		}
		if r.counted[endpoint] == nil {
			r.counted[endpoint], r.decided[endpoint] = map[rollout.Outcome]int{}, map[rollout.Outcome]time.Time{}
		}
		r.counted[endpoint][known.Outcome]++
		if r.counted[endpoint][known.Outcome] == 1 {
			r.decided[endpoint][known.Outcome] = known.At
		}
	}
	for _, effect := range effects {
		grant, ok := effect.(rollout.GrantLease)
		if !ok {
			continue
		}
		w.count("leases by events")
		endpoint := string(grant.Endpoint)
		ring := next.Rings[grant.Ring]
		switch {
		case before.Phase.Final():
			w.violated("I3", "rollout %s: revision %d grants a lease though it is %s", e.Rollout, e.Revision, before.Phase)
		case !grant.Renewed && next.Unconfirmed > allowed:
			w.violated("I2", "rollout %s: revision %d: %d unconfirmed of %d allowed", e.Rollout, e.Revision, next.Unconfirmed, allowed)
		case grant.Ring > before.Ring:
			w.violated("I2", "rollout %s: revision %d: a lease of ring %d, open is %d", e.Rollout, e.Revision, grant.Ring, before.Ring)
		case !before.Plan.Last(grant.Ring) && ring.Leased-ring.Left() > before.Size()+max(before.Size(), 100) && grant.Ring == before.Ring:
			w.violated("I2", "rollout %s: revision %d: ring %d has %d of %d", e.Rollout, e.Revision, grant.Ring, ring.Leased, before.Size())
		case !grant.Renewed && r.outcomes[endpoint] == rollout.Pending:
			w.violated("two leases", "rollout %s: revision %d: %s has a live lease already", e.Rollout, e.Revision, endpoint)
		}
		r.outcomes[endpoint] = rollout.Pending
		r.grants[endpoint] = append(r.grants[endpoint], grant.Issued)
	}
	if r.final == nil && next.Phase.Final() {
		r.final, r.tripped = event, next.Phase == rollout.Tripped
	}
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && cmp.Equal(x, y)
}

// auditHosts compares what hosts wrote down with the events of a rollout.
func (w *world) auditHosts(r *replay, id rollout.ID) {
	end, how := w.knownEnd(r, id)
	for _, h := range w.hosts {
		endpoint := h.record.Endpoint
		for _, l := range h.leases {
			if l.Rollout != string(id) {
				continue
			}
			if !slices.ContainsFunc(r.grants[endpoint], l.Issued.Equal) {
				w.violated("leases", "%s got lease %s of rollout %s through %s, issued at %v, which no event granted", endpoint, l.ID, id, l.plane, l.Issued)
			}
			if !end.IsZero() && l.asked.After(end) {
				w.violated("I3", "%s asked for a lease of rollout %s %v after somebody knew that it was %s, and got %s through %s", endpoint, id,
					l.asked.Sub(end), how, l.ID, l.plane)
			}
		}
		sent := map[rollout.Outcome]int{}
		for _, report := range h.acked {
			if report.Rollout == string(id) {
				sent[rollout.Outcome(report.Outcome)]++
				at := r.decided[endpoint][rollout.Outcome(report.Outcome)]
				if first := sent[rollout.Outcome(report.Outcome)] == 1; first && at.Sub(report.at) > w.mostAhead(report.at) {
					w.violated("I8", "%s: report %d (%s) was acknowledged %v before it was decided on", endpoint, report.Seq, report.Outcome, at.Sub(report.at))
				}
			}
		}
		for _, outcome := range []rollout.Outcome{rollout.Crashed, rollout.Reverted} {
			got := r.counted[endpoint][outcome]
			if got > sent[outcome] || got < sent[outcome] && r.counted[endpoint][rollout.Silent] == 0 {
				w.violated("I8", "%s: rollout %s counts %d %s, the host was told so of %d", endpoint, id, got, outcome, sent[outcome])
			}
		}
		if got := r.counted[endpoint][rollout.Confirmed]; got > sent[rollout.Confirmed] {
			w.violated("I8", "%s: rollout %s counts %d confirmed, the host was told so of %d", endpoint, id, got, sent[rollout.Confirmed])
		}
	}
}

// knownEnd is when somebody outside knew that a rollout exposes nobody any more: the host whose report tripped it had its acknowledgement, or
// an operator an answer. Zero: nobody.
func (w *world) knownEnd(r *replay, id rollout.ID) (end time.Time, how string) {
	if s := w.stopped[string(id)]; !s.at.IsZero() {
		end, how = s.at, s.how
	}
	known, ok := r.final.(rollout.OutcomeKnown)
	if !ok || !r.tripped {
		return end, how
	}
	for _, h := range w.hosts {
		if h.record.Endpoint != string(known.Endpoint) {
			continue
		}
		for _, report := range h.acked {
			if report.Rollout == string(id) && report.Outcome == string(known.Outcome) && (end.IsZero() || report.at.Before(end)) {
				end, how = report.at, "tripped"
			}
		}
	}
	if !end.IsZero() {
		w.count("trips that a host was told of")
	}
	return end, how
}
