package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// AddReports stores an endpoint's reports as received now, all or none, and returns the highest number stored, which may be
// acknowledged: all of them are durable (I8). A report with a number that is there already is ignored, whatever it says. Only
// Seq and Data of a report are looked at. Callers that wait at the same time are written as one.
func (s *Store) AddReports(ctx context.Context, endpoint fleet.EndpointID, now time.Time, reports []Report) (int64, error) {
	what := "store reports of endpoint " + string(endpoint)
	stored, err := s.addReports(ctx, what, now, []EndpointReports{{Endpoint: endpoint, Reports: reports}})
	if err == nil {
		err = s.fail(stored[0].Err, what)
	}
	if err != nil {
		return 0, err
	}
	return stored[0].Highest, nil
}

// AddReportsOfMany is [Store.AddReports] for many endpoints, each of which is named once. It tells of each in the same order what became
// of it: all reports are stored but those of endpoints that are not there.
func (s *Store) AddReportsOfMany(ctx context.Context, now time.Time, all []EndpointReports) ([]Stored, error) {
	return s.addReports(ctx, "store reports", now, all)
}

func (s *Store) addReports(ctx context.Context, what string, now time.Time, all []EndpointReports) ([]Stored, error) {
	rows := 0
	for _, e := range all {
		rows += 1 + len(e.Reports)
		for _, r := range e.Reports {
			if r.Seq <= 0 {
				return nil, s.fail(fault.New(fault.Invalid, "report numbers begin at 1, one of %s is %d", e.Endpoint, r.Seq), what)
			}
		}
	}
	sent := &sending{dialect: s.dialect, now: now, all: all, stored: make([]Stored, len(all))}
	err := s.submit(ctx, &pending{what: what, lane: reportLane, rows: rows, sent: sent, wakes: WakeReports})
	if err != nil {
		return nil, err
	}
	return sent.stored, nil
}

// sending is one caller's reports.
type sending struct {
	dialect Dialect
	now     time.Time
	all     []EndpointReports
	stored  []Stored // as long as all
}

// sendings are the reports of callers that are written as one.
type sendings []*sending

// report is a row to insert.
type reportRow struct {
	endpoint, received int64
	Report
}

// write stores the reports of all callers and sets what became of them.
func (all sendings) write(ctx context.Context, tx *sql.Tx) error {
	numbers, err := all.numbers(ctx, tx)
	if err != nil {
		return err
	}
	endpoints := make([]int64, 0, len(all))
	for _, s := range all {
		for _, e := range s.all {
			endpoints = append(endpoints, e.number(numbers))
		}
	}
	rows, err := lockHot(ctx, tx, all[0].dialect, endpoints)
	if err != nil {
		return err
	}
	var inserts []reportRow
	grown := map[int64]hot{}
	for _, s := range all {
		for i, e := range s.all {
			number := e.number(numbers)
			row, known := rows[number]
			if !known {
				s.stored[i] = Stored{Err: noEndpoint()}
				continue
			}
			for _, r := range e.Reports {
				if r.Seq > row.pruned {
					inserts = append(inserts, reportRow{endpoint: number, received: micros(s.now), Report: r})
				}
				if r.Seq > row.reported {
					row.reported = r.Seq
					grown[number] = hot{endpoint: number, reported: r.Seq}
				}
			}
			rows[number] = row
			s.stored[i] = Stored{Highest: row.reported}
		}
	}
	if err := insertReports(ctx, tx, inserts); err != nil {
		return err
	}
	return raiseHot(ctx, tx, values(grown))
}

// numbers looks up the numbers of endpoints whose callers do not know them.
func (all sendings) numbers(ctx context.Context, tx *sql.Tx) (map[fleet.EndpointID]int64, error) {
	var ids []fleet.EndpointID
	for _, s := range all {
		for _, e := range s.all {
			if e.Number == 0 {
				ids = append(ids, e.Endpoint)
			}
		}
	}
	return numbersOf(ctx, tx, ids)
}

// number is the endpoint's number, if the caller said it or it was found; else 0, which no endpoint has.
func (e EndpointReports) number(found map[fleet.EndpointID]int64) int64 {
	if e.Number != 0 {
		return e.Number
	}
	return found[e.Endpoint]
}

func insertReports(ctx context.Context, tx *sql.Tx, all []reportRow) error {
	bind := func(args []any, r reportRow) []any {
		return append(args, r.endpoint, r.Seq, r.received, string(r.Data))
	}
	return inRows(all, `(?, ?, ?, 0, ?)`, bind, func(rows string, args []any) error {
		const into = `INSERT INTO reports (endpoint, seq, received, taken, data) VALUES `
		_, err := tx.ExecContext(ctx, into+rows+` ON CONFLICT (endpoint, seq) DO NOTHING`, args...)
		return err
	})
}

func scanReport(r row) (Report, error) {
	var v Report
	err := r.Scan(&v.Arrival, &v.Endpoint, &v.Seq, timeColumn{&v.Received}, rawColumn{&v.Data})
	return v, err
}

// UntakenReports lists at most limit reports that the engine has not taken in, in the order of arrival, beginning after the one
// that arrived as number after. A limit of 0 means all. Where several replicas write at a time a report may appear below one that was seen
// already, so who wants all of them begins at 0 again.
func (s *Store) UntakenReports(ctx context.Context, after int64, limit int) ([]Report, error) {
	all, err := list(ctx, s.reader, scanReport, `SELECT r.arrival, e.id, r.seq, r.received, r.data
		FROM reports r JOIN endpoints e ON e.number = r.endpoint
		WHERE r.taken = 0 AND r.arrival > $1 ORDER BY r.arrival LIMIT $2`, after, atMost(limit))
	return all, s.fail(err, "list reports to take in")
}

// ReportsOf lists at most limit reports of an endpoint that are kept, newest first.
func (s *Store) ReportsOf(ctx context.Context, endpoint fleet.EndpointID, limit int) ([]Report, error) {
	all, err := list(ctx, s.reader, scanReport, `SELECT r.arrival, e.id, r.seq, r.received, r.data
		FROM reports r JOIN endpoints e ON e.number = r.endpoint WHERE e.id = $1 ORDER BY r.seq DESC LIMIT $2`, endpoint, atMost(limit))
	return all, s.fail(err, "list reports of endpoint "+string(endpoint))
}

// MarkTaken marks a report as taken in that belongs to no rollout; for the others [Store.Commit] does it. Marking it again
// changes nothing.
func (s *Store) MarkTaken(ctx context.Context, key ReportKey) error {
	return s.write(ctx, "take in "+key.String(), func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(ctx, tx, `UPDATE reports SET taken = 1
			WHERE endpoint = (SELECT number FROM endpoints WHERE id = $1) AND seq = $2`, key.Endpoint, key.Seq)
		if err == nil && n == 0 {
			err = none("no such report")
		}
		return err
	})
}

// takeReports marks reports as taken in, each once: taking one in again would count it twice.
func takeReports(ctx context.Context, tx *sql.Tx, keys []ReportKey) error {
	ids := make([]fleet.EndpointID, len(keys))
	for i, key := range keys {
		ids[i] = key.Endpoint
	}
	numbers, err := numbersOf(ctx, tx, ids)
	if err != nil {
		return err
	}
	type report struct{ endpoint, seq int64 }
	left := make(map[report]bool, len(keys))
	scan := func(r row) (v report, err error) { return v, r.Scan(&v.endpoint, &v.seq) }
	bind := func(args []any, k ReportKey) []any { return append(args, numbers[k.Endpoint], k.Seq) }
	err = inRows(keys, `(CAST(? AS BIGINT), CAST(? AS BIGINT))`, bind, func(rows string, args []any) error {
		part, failed := list(ctx, tx, scan, `UPDATE reports SET taken = 1 WHERE taken = 0 AND (endpoint, seq) IN (VALUES `+rows+`)
			RETURNING endpoint, seq`, args...)
		for _, v := range part {
			left[v] = true
		}
		return failed
	})
	if err != nil || len(left) == len(keys) {
		return err
	}
	for _, key := range keys {
		v := report{numbers[key.Endpoint], key.Seq}
		if !left[v] {
			return whyNotTaken(ctx, tx, key)
		}
		delete(left, v) // so that the same one a second time is not
	}
	return nil
}

// whyNotTaken tells why a report could not be taken in.
func whyNotTaken(ctx context.Context, tx *sql.Tx, key ReportKey) error {
	_, err := one(ctx, tx, scalar[int64], none("take in %s: no such report", key),
		`SELECT r.taken FROM reports r JOIN endpoints e ON e.number = r.endpoint WHERE e.id = $1 AND r.seq = $2`, key.Endpoint, key.Seq)
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "%s was taken in before", key)
}

// pruneStep is how many reports one transaction of [Store.Prune] looks at.
const pruneStep = 1000

// Prune deletes reports that were received before a time and were taken in, and tells how many; and hearings that nobody deleted because
// nobody writes any. It goes in small steps that hold up nobody: after an error some may be deleted, and it can be called
// again. The numbers of deleted reports stay known: one that comes again is ignored, and the highest number stays.
func (s *Store) Prune(ctx context.Context, before time.Time) (int64, error) {
	const what = "prune reports"
	var pruned, after int64
	for {
		page, err := list(ctx, s.reader, scanPrunable, `SELECT arrival, endpoint, seq, received, taken FROM reports
			WHERE arrival > $1 ORDER BY arrival LIMIT $2`, after, pruneStep)
		if err != nil {
			return pruned, s.fail(err, what)
		}
		var gone []prunable
		younger := true
		for _, r := range page {
			after = r.arrival
			if r.received < micros(before) {
				younger = false
				if r.taken == 1 {
					gone = append(gone, r)
				}
			}
		}
		if younger {
			break // what arrived later was received later
		}
		if len(gone) == 0 {
			continue
		}
		err = s.writeLater(ctx, "", what, len(gone), func(ctx context.Context, tx *sql.Tx) error { return prune(ctx, tx, gone) })
		if err != nil {
			return pruned, err
		}
		pruned += int64(len(gone))
	}
	return pruned, s.writeLater(ctx, "", "prune hearings", 1, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := take(ctx, tx, hearingCounter, 0); err != nil {
			return err
		}
		return s.forgetHearings(ctx, tx)
	})
}

// prunable is a report as Prune looks at it.
type prunable struct{ arrival, endpoint, seq, received, taken int64 }

func scanPrunable(r row) (prunable, error) {
	var v prunable
	err := r.Scan(&v.arrival, &v.endpoint, &v.seq, &v.received, &v.taken)
	return v, err
}

// prune deletes reports, all of which were taken in, and remembers up to which number.
func prune(ctx context.Context, tx *sql.Tx, gone []prunable) error {
	highest := map[int64]hot{}
	for _, r := range gone {
		highest[r.endpoint] = hot{endpoint: r.endpoint, pruned: max(highest[r.endpoint].pruned, r.seq)}
	}
	if err := raiseHot(ctx, tx, values(highest)); err != nil { // first: it locks out who adds reports of these endpoints
		return err
	}
	bind := func(args []any, r prunable) []any { return append(args, r.arrival) }
	return inRows(gone, `(CAST(? AS BIGINT))`, bind, func(rows string, args []any) error {
		const those = `DELETE FROM reports WHERE taken = 1 AND arrival IN `
		_, err := tx.ExecContext(ctx, those+`(VALUES `+rows+`)`, args...)
		return err
	})
}

// String names the report for people.
func (k ReportKey) String() string { return fmt.Sprintf("report %d of endpoint %s", k.Seq, k.Endpoint) }
