package store

import (
	"context"
)

// EndpointsBetween lists the endpoints, however they ended, with a number above after and at most upTo, in the order of numbers: in which they lie, so that a
// whole fleet is read fastest so.
func (s *Store) EndpointsBetween(ctx context.Context, after, upTo int64) ([]Endpoint, error) {
	all, err := list(ctx, s.reader, s.scanEndpoint,
		selectEndpoints+`WHERE e.number > $1 AND e.number <= $2 ORDER BY e.number`, after, upTo)
	return all, s.fail(err, "list endpoints")
}

// LastEndpoint is the highest number of an endpoint, 0 if there is none.
func (s *Store) LastEndpoint(ctx context.Context) (int64, error) {
	last, err := one(ctx, s.reader, scalar[int64], nil, `SELECT COALESCE(MAX(number), 0) FROM endpoints`)
	return last, s.fail(err, "find the last endpoint")
}

// LastChange is the number of the newest change of an endpoint, for [Store.ChangedEndpoints].
func (s *Store) LastChange(ctx context.Context) (int64, error) {
	last, err := one(ctx, s.reader, scalar[int64], none("the database has no row for it"), `SELECT value FROM counters WHERE name = 'change'`)
	return last, s.fail(err, "find the last change of an endpoint")
}
