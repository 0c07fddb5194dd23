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
// Seq and Data of a report are looked at.
func (s *Store) AddReports(ctx context.Context, endpoint fleet.EndpointID, now time.Time, reports []Report) (int64, error) {
	var highest int64
	err := s.write(ctx, "store reports of endpoint "+string(endpoint), func(ctx context.Context, tx *sql.Tx) error {
		stored, err := one(ctx, tx, scalar[int64], none("no endpoint of this name has joined"),
			`SELECT report_seq FROM endpoints WHERE id = $1 `+s.dialect.ForUpdate, endpoint)
		if err != nil {
			return err
		}
		highest = stored
		for _, r := range reports {
			if r.Seq <= 0 {
				return fault.New(fault.Invalid, "report numbers begin at 1, one is %d", r.Seq)
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO reports (endpoint, seq, received, taken, data) VALUES ($1, $2, $3, 0, $4)
				ON CONFLICT (endpoint, seq) DO NOTHING`, endpoint, r.Seq, micros(now), string(r.Data))
			if err != nil {
				return err
			}
			highest = max(highest, r.Seq)
		}
		if highest == stored {
			return nil
		}
		_, err = tx.ExecContext(ctx, `UPDATE endpoints SET report_seq = $2 WHERE id = $1`, endpoint, highest)
		return err
	})
	if err != nil {
		return 0, err
	}
	return highest, nil
}

func scanReport(r row) (Report, error) {
	var v Report
	err := r.Scan(&v.Arrival, &v.Endpoint, &v.Seq, timeColumn{&v.Received}, rawColumn{&v.Data})
	return v, err
}

// UntakenReports lists at most limit reports that the engine has not taken in, in the order of arrival, beginning after the one
// that arrived as number after. A limit of 0 means all.
func (s *Store) UntakenReports(ctx context.Context, after int64, limit int) ([]Report, error) {
	all, err := list(ctx, s.reader, scanReport, `SELECT arrival, endpoint, seq, received, data FROM reports
		WHERE taken = 0 AND arrival > $1 ORDER BY arrival LIMIT $2`, after, atMost(limit))
	return all, s.fail(err, "list reports to take in")
}

// MarkTaken marks a report as taken in that belongs to no rollout; for the others [Store.Commit] does it. Marking it again
// changes nothing.
func (s *Store) MarkTaken(ctx context.Context, key ReportKey) error {
	return s.write(ctx, "take in "+key.String(), func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(ctx, tx, `UPDATE reports SET taken = 1 WHERE endpoint = $1 AND seq = $2`, key.Endpoint, key.Seq)
		if err == nil && n == 0 {
			err = none("no such report")
		}
		return err
	})
}

// takeReport marks a report as taken in, once: taking it in again would count it twice.
func takeReport(ctx context.Context, tx *sql.Tx, key ReportKey) error {
	n, err := changed(ctx, tx, `UPDATE reports SET taken = 1 WHERE endpoint = $1 AND seq = $2 AND taken = 0`, key.Endpoint, key.Seq)
	if err != nil || n == 1 {
		return err
	}
	_, err = one(ctx, tx, scalar[int64], none("take in %s: no such report", key),
		`SELECT taken FROM reports WHERE endpoint = $1 AND seq = $2`, key.Endpoint, key.Seq)
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "%s was taken in before", key)
}

// String names the report for people.
func (k ReportKey) String() string { return fmt.Sprintf("report %d of endpoint %s", k.Seq, k.Endpoint) }
