package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/firebreak-dev/firebreak/api"
)

// Status tells what the installation is.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return get[api.Status](ctx, c, "/api/v1/status")
}

// Tokens lists all tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) ([]api.Token, error) {
	return list[api.Token](ctx, c, "/api/v1/tokens", nil)
}

// CreateToken makes a token. The answer is the only one that has its secret.
func (c *Client) CreateToken(ctx context.Context, wanted api.NewToken) (api.Token, error) {
	var t api.Token
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/tokens", send: wanted}, &t)
	return t, err
}

// RevokeToken ends a token for good.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/tokens/" + segment(id), repeat: true}, nil)
}

// Components lists the registered components.
func (c *Client) Components(ctx context.Context) ([]api.ComponentSpec, error) {
	return list[api.ComponentSpec](ctx, c, "/api/v1/components", nil)
}

// Component returns one component.
func (c *Client) Component(ctx context.Context, name string) (api.ComponentSpec, error) {
	return get[api.ComponentSpec](ctx, c, "/api/v1/components/"+segment(name))
}

// PutComponent registers a component, or changes its registration.
func (c *Client) PutComponent(ctx context.Context, spec api.ComponentSpec) (api.ComponentSpec, error) {
	var stored api.ComponentSpec
	err := c.do(ctx, call{method: http.MethodPut, path: "/api/v1/components/" + segment(spec.Name), send: spec, repeat: true}, &stored)
	return stored, err
}

// Plans lists the stored plans.
func (c *Client) Plans(ctx context.Context) ([]api.StoredPlan, error) {
	return list[api.StoredPlan](ctx, c, "/api/v1/plans", nil)
}

// Plan returns one stored plan.
func (c *Client) Plan(ctx context.Context, name string) (api.StoredPlan, error) {
	return get[api.StoredPlan](ctx, c, "/api/v1/plans/"+segment(name))
}

// PutPlan stores a plan, given as a YAML or JSON document, under its name.
func (c *Client) PutPlan(ctx context.Context, name string, document []byte) (api.StoredPlan, error) {
	var stored api.StoredPlan
	err := c.do(ctx, call{method: http.MethodPut, path: "/api/v1/plans/" + segment(name), send: document, repeat: true}, &stored)
	return stored, err
}

// CheckPlan says what is wrong with a plan's document, or which harm it is bounded to. Nothing is stored.
func (c *Client) CheckPlan(ctx context.Context, document []byte) (api.PlanCheck, error) {
	var check api.PlanCheck
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/plans/check", send: document, repeat: true}, &check)
	return check, err
}

// Releases lists the releases of a component, or of all if component is empty.
func (c *Client) Releases(ctx context.Context, component string) ([]api.Release, error) {
	return list[api.Release](ctx, c, "/api/v1/releases", of(component))
}

// Release returns one release with its manifest.
func (c *Client) Release(ctx context.Context, component, version string) (api.Release, error) {
	return get[api.Release](ctx, c, "/api/v1/releases/"+segment(component)+"/"+segment(version))
}

// StartRollout pairs a release with a plan and begins. It is never sent twice.
func (c *Client) StartRollout(ctx context.Context, start api.StartRollout) (api.Rollout, error) {
	var r api.Rollout
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/rollouts", send: start}, &r)
	return r, err
}

// Rollouts lists the rollouts of a component, or of all if component is empty; newest first.
func (c *Client) Rollouts(ctx context.Context, component string) ([]api.Rollout, error) {
	return list[api.Rollout](ctx, c, "/api/v1/rollouts", of(component))
}

// Rollout returns one rollout.
func (c *Client) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	return get[api.Rollout](ctx, c, "/api/v1/rollouts/"+segment(id))
}

// Pause stops exposing until [Client.Resume].
func (c *Client) Pause(ctx context.Context, id, reason string) (api.Rollout, error) {
	return c.act(ctx, id, "pause", reason)
}

// Resume goes on with a paused rollout.
func (c *Client) Resume(ctx context.Context, id, reason string) (api.Rollout, error) {
	return c.act(ctx, id, "resume", reason)
}

// Halt stops exposing for good; exposed hosts keep the release.
func (c *Client) Halt(ctx context.Context, id, reason string) (api.Rollout, error) {
	return c.act(ctx, id, "halt", reason)
}

// RollBack stops exposing for good, puts exposed hosts back and recalls the release.
func (c *Client) RollBack(ctx context.Context, id, reason string) (api.Rollout, error) {
	return c.act(ctx, id, "rollback", reason)
}

// Approve agrees to a proposed rollout. Whoever asked for it, and whoever agreed before, cannot agree again.
func (c *Client) Approve(ctx context.Context, id, reason string) (api.Rollout, error) {
	return c.act(ctx, id, "approve", reason)
}

// Hold keeps the release from the hosts that match every key of the selector; those that have it go back. It needs a reason.
func (c *Client) Hold(ctx context.Context, id string, selects map[string][]string, reason string) (api.Rollout, error) {
	return c.actOn(ctx, id, "hold", api.Act{Reason: reason, Select: selects})
}

// Unhold lifts the hold of the same selector, an operator's or the breaker's.
func (c *Client) Unhold(ctx context.Context, id string, selects map[string][]string, reason string) (api.Rollout, error) {
	return c.actOn(ctx, id, "unhold", api.Act{Reason: reason, Select: selects})
}

func (c *Client) act(ctx context.Context, id, action, reason string) (api.Rollout, error) {
	return c.actOn(ctx, id, action, api.Act{Reason: reason})
}

// actOn may repeat what ends a rollout: when it was carried out already, it changes nothing.
func (c *Client) actOn(ctx context.Context, id, action string, act api.Act) (api.Rollout, error) {
	var r api.Rollout
	path := "/api/v1/rollouts/" + segment(id) + "/" + action
	err := c.do(ctx, call{method: http.MethodPost, path: path, send: act, repeat: action == "halt" || action == "rollback"}, &r)
	return r, err
}

// Freezes returns the installation's freezes, with the tag that names this list.
func (c *Client) Freezes(ctx context.Context) (api.Freezes, error) {
	return get[api.Freezes](ctx, c, "/api/v1/freezes")
}

// PutFreezes replaces the installation's freezes. With the tag of a list that somebody else has replaced meanwhile it is a Conflict.
func (c *Client) PutFreezes(ctx context.Context, freezes api.Freezes) (api.Freezes, error) {
	var stored api.Freezes
	err := c.do(ctx, call{method: http.MethodPut, path: "/api/v1/freezes", send: freezes}, &stored)
	return stored, err
}

// FleetProfile counts the hosts that have a component, or all if it is empty, by what they are.
func (c *Client) FleetProfile(ctx context.Context, component string) (api.FleetProfile, error) {
	var profile api.FleetProfile
	err := c.do(ctx, call{method: http.MethodGet, path: "/api/v1/fleet/profile", query: of(component), repeat: true}, &profile)
	return profile, err
}

// Events goes through the stored decisions of a rollout with larger revisions than after, in order. It ends at the first error,
// which comes with a zero Decision.
func (c *Client) Events(ctx context.Context, id string, after int64) iter.Seq2[api.Decision, error] {
	return pages[api.Decision](ctx, c, "/api/v1/rollouts/"+segment(id)+"/events", strconv.FormatInt(after, 10))
}

// Leases lists the leases of a rollout.
func (c *Client) Leases(ctx context.Context, id string) ([]api.LeaseStatus, error) {
	return list[api.LeaseStatus](ctx, c, "/api/v1/rollouts/"+segment(id)+"/leases", nil)
}

// Endpoints goes through the fleet in the order of ids. It ends at the first error, which comes with a zero Endpoint.
func (c *Client) Endpoints(ctx context.Context) iter.Seq2[api.Endpoint, error] {
	return pages[api.Endpoint](ctx, c, "/api/v1/endpoints", "")
}

// Endpoint returns one endpoint with its leases.
func (c *Client) Endpoint(ctx context.Context, id string) (api.Endpoint, error) {
	return get[api.Endpoint](ctx, c, "/api/v1/endpoints/"+segment(id))
}

// Incidents lists all incidents.
func (c *Client) Incidents(ctx context.Context) ([]api.Incident, error) {
	return list[api.Incident](ctx, c, "/api/v1/incidents", nil)
}

// Incident returns one incident with harmed hosts and timeline.
func (c *Client) Incident(ctx context.Context, id string) (api.Incident, error) {
	return get[api.Incident](ctx, c, "/api/v1/incidents/"+segment(id))
}

// pageSize is how many items are asked for at once.
const pageSize = "500"

// pages goes through a long list.
func pages[T any](ctx context.Context, c *Client, path, after string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			query := url.Values{"limit": {pageSize}}
			if after != "" {
				query.Set("after", after)
			}
			var page api.Page[T]
			if err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, repeat: true}, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.Next == "" || page.Next == after {
				return
			}
			after = page.Next
		}
	}
}

func of(component string) url.Values {
	if component == "" {
		return nil
	}
	return url.Values{"component": {component}}
}
