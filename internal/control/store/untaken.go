package store

import (
	"context"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// UntakenEndpoints lists the endpoints that have reports which the leader has not taken in, in no order.
func (s *Store) UntakenEndpoints(ctx context.Context) ([]fleet.EndpointID, error) {
	all, err := list(ctx, s.reader, scalar[fleet.EndpointID],
		`SELECT DISTINCT e.id FROM reports r JOIN endpoints e ON e.number = r.endpoint WHERE r.taken = 0`)
	return all, s.fail(err, "list endpoints with reports to take in")
}
