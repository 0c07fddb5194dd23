package cli

import (
	"context"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

// stateWaiting is the state of a release that lacks signatures. The control plane does not know it as a release yet.
const stateWaiting = "waiting"

// waitingRelease is a release that lacks signatures.
type waitingRelease struct {
	api.Release
	lacks int
}

// waitingReleases lists the releases of a component, or of all, that wait for signatures and are not among those published.
func waitingReleases(ctx context.Context, c *client.Client, component string, published []api.Release) ([]waitingRelease, error) {
	pending, err := c.PendingMetadata(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, r := range published {
		known[r.Component+" "+r.Version] = true
	}
	var all []waitingRelease
	for _, m := range pending {
		if trust.Reserved(m.Role) || m.Role == trust.RoleRoot || component != "" && m.Role != component {
			continue
		}
		found, err := publisher.Waiting(nil, m)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if !known[m.Role+" "+r.Version] {
				all = append(all, waitingRelease{api.Release{
					Component: m.Role, Version: r.Version, Serial: r.Serial, Manifest: string(r.Digest),
					State: stateWaiting,
				}, max(0, m.Threshold-len(m.SignedBy))})
			}
		}
	}
	return all, nil
}

// unlessWaiting words the error about a release that is not there anew if it waits for signatures.
func unlessWaiting(ctx context.Context, c *client.Client, err error, component, version string) error {
	if client.KindOf(err) != client.NotFound {
		return err
	}
	waiting, errWaiting := waitingReleases(ctx, c, component, nil)
	if errWaiting != nil {
		return err // the first error says more
	}
	for _, r := range waiting {
		if r.Version == version {
			return fault.New(fault.NotFound, "find release %s of %s: it is not published yet, it waits for %s", version, component, signatures(r.lacks)).
				Hint("Its other owners run: firebreak key sign %s.", component)
		}
	}
	return err
}

func signatures(n int) string { return plural(int64(n), "more signature") }
