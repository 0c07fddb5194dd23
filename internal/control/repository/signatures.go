package repository

import (
	"context"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Signatures are those that vouch for a component's releases: of the metadata that names them all, by the keys that may sign it, each verified
// again. None if nothing of it was published.
func (r *Repository) Signatures(ctx context.Context, component string) ([]api.Signature, error) {
	s, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	keys, named := s.keys(component)
	if !named || trust.Reserved(component) {
		return nil, nil
	}
	data, err := r.role(ctx, s, component)
	if err != nil || data == nil {
		return nil, err
	}
	signed, err := trust.Tally(component, data, keys)
	if err != nil {
		return nil, stored(err)
	}
	var all []api.Signature
	for _, key := range signed {
		all = append(all, api.Signature{Role: component, Key: key})
	}
	return all, nil
}
