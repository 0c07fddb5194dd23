package client

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

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
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/tokens/" + segment(id)}, nil)
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
	err := c.do(ctx, call{method: http.MethodPut, path: "/api/v1/components/" + segment(spec.Name), send: spec}, &stored)
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
	err := c.do(ctx, call{method: http.MethodPut, path: "/api/v1/plans/" + segment(name), send: document}, &stored)
	return stored, err
}

// CheckPlan says what is wrong with a plan's document, or which harm it is bounded to. Nothing is stored.
func (c *Client) CheckPlan(ctx context.Context, document []byte) (api.PlanCheck, error) {
	var check api.PlanCheck
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/plans/check", send: document}, &check)
	return check, err
}

// Releases lists the releases of a component, or of all if component is empty.
func (c *Client) Releases(ctx context.Context, component string) ([]api.Release, error) {
	return list[api.Release](ctx, c, "/api/v1/releases", of(component))
}

// EachRelease goes through the releases of a component, or of all, newest first within a component. It ends at the first error.
func (c *Client) EachRelease(ctx context.Context, component string) iter.Seq2[api.Release, error] {
	return pages[api.Release](ctx, c, "/api/v1/releases", of(component), "")
}

// Release returns one release with its manifest.
func (c *Client) Release(ctx context.Context, component, version string) (api.Release, error) {
	return get[api.Release](ctx, c, "/api/v1/releases/"+segment(component)+"/"+segment(version))
}

// StartRollout pairs a release with a plan and begins.
func (c *Client) StartRollout(ctx context.Context, start api.StartRollout) (api.Rollout, error) {
	var r api.Rollout
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/rollouts", send: start}, &r)
	return r, err
}

// Rollouts lists the rollouts of a component, or of all if component is empty; newest first.
func (c *Client) Rollouts(ctx context.Context, component string) ([]api.Rollout, error) {
	return list[api.Rollout](ctx, c, "/api/v1/rollouts", of(component))
}

// EachRollout goes through the rollouts of a component, or all of them, newest first. It ends at the first error.
func (c *Client) EachRollout(ctx context.Context, component string) iter.Seq2[api.Rollout, error] {
	return pages[api.Rollout](ctx, c, "/api/v1/rollouts", of(component), "")
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

// HaltAll halts the rollouts that are named, or all that are proposed, running or paused if none is, and tells what became of each. The
// control plane answers within a second, whatever its database does, and it is safe to ask again. An error means that nothing is known to have
// been halted; look at the State of each rollout otherwise.
func (c *Client) HaltAll(ctx context.Context, want api.HaltRollouts) (api.Halted, error) {
	var h api.Halted
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/halt", send: want}, &h)
	return h, err
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

// Act carries out a command in full: with [api.Act.Phase] only if the rollout is still in that phase. Otherwise the [*Error] has status 412
// and says what happened instead.
func (c *Client) Act(ctx context.Context, id, action string, act api.Act) (api.Rollout, error) {
	return c.actOn(ctx, id, segment(action), act)
}

func (c *Client) act(ctx context.Context, id, action, reason string) (api.Rollout, error) {
	return c.actOn(ctx, id, action, api.Act{Reason: reason})
}

func (c *Client) actOn(ctx context.Context, id, action string, act api.Act) (api.Rollout, error) {
	var r api.Rollout
	path := "/api/v1/rollouts/" + segment(id) + "/" + action
	err := c.do(ctx, call{method: http.MethodPost, path: path, send: act}, &r)
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
	err := c.do(ctx, call{method: http.MethodGet, path: "/api/v1/fleet/profile", query: of(component)}, &profile)
	return profile, err
}

// Events goes through the stored decisions of a rollout with larger revisions than after, in order. It ends at the first error,
// which comes with a zero Decision.
func (c *Client) Events(ctx context.Context, id string, after int64) iter.Seq2[api.Decision, error] {
	return pages[api.Decision](ctx, c, "/api/v1/rollouts/"+segment(id)+"/events", nil, strconv.FormatInt(after, 10))
}

// Leases lists the leases of a rollout. There is one for each exposed host: [Client.EachLease] keeps them not all in memory.
func (c *Client) Leases(ctx context.Context, id string) ([]api.LeaseStatus, error) {
	return list[api.LeaseStatus](ctx, c, leasesOf(id), nil)
}

// EachLease goes through the leases of a rollout in the order of endpoints. It ends at the first error.
func (c *Client) EachLease(ctx context.Context, id string) iter.Seq2[api.LeaseStatus, error] {
	return pages[api.LeaseStatus](ctx, c, leasesOf(id), nil, "")
}

func leasesOf(id string) string { return "/api/v1/rollouts/" + segment(id) + "/leases" }

// Endpoints goes through the fleet in the order of ids. It ends at the first error, which comes with a zero Endpoint.
func (c *Client) Endpoints(ctx context.Context) iter.Seq2[api.Endpoint, error] {
	return pages[api.Endpoint](ctx, c, "/api/v1/endpoints", nil, "")
}

// EndpointFilter picks endpoints that have everything it asks for. Zero fields ask for nothing.
type EndpointFilter struct {
	Select      map[string][]string // as in a hold: every key must have one of its values
	Component   string              // that have it
	Version     string              // whose component runs it
	SilentSince time.Time           // that were not heard since
	Prefix      string              // of the id
	Lacks       []string            // that miss one of these words of posture
	Refusing    bool                // that keep a release in quarantine; one of Component if that is set
	AtRisk      bool                // that do not come back by themselves from a panic in every boot
}

func (f EndpointFilter) query() url.Values {
	query := url.Values{}
	for name, asked := range map[string]bool{"refusing": f.Refusing, "at_risk": f.AtRisk} {
		if asked {
			query.Set(name, "true")
		}
	}
	if len(f.Lacks) > 0 {
		query["lacks"] = f.Lacks
	}
	for key, values := range f.Select {
		for _, value := range values {
			query.Add("select", key+"="+value)
		}
	}
	for name, value := range map[string]string{"component": f.Component, "version": f.Version, "prefix": f.Prefix} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if !f.SilentSince.IsZero() {
		query.Set("silent_since", f.SilentSince.UTC().Format(time.RFC3339Nano))
	}
	return query
}

// FindEndpoints goes through the endpoints that a filter picks, in the order in which they joined; with an empty filter in that of ids. It
// ends at the first error.
func (c *Client) FindEndpoints(ctx context.Context, f EndpointFilter) iter.Seq2[api.Endpoint, error] {
	return pages[api.Endpoint](ctx, c, "/api/v1/endpoints", f.query(), "")
}

// CountEndpoints tells how many endpoints a filter picks, which must not be empty. Of a very large fleet it is an estimate, and says so.
func (c *Client) CountEndpoints(ctx context.Context, f EndpointFilter) (n int64, estimated bool, err error) {
	query := f.query()
	query.Set("limit", "1")
	var page api.EndpointPage
	if err := c.do(ctx, call{method: http.MethodGet, path: "/api/v1/endpoints", query: query}, &page); err != nil {
		return 0, false, err
	}
	if page.Count == nil {
		return 0, false, &Error{Kind: Invalid, Message: "count endpoints: the filter is empty", Next: "Status has the number of all endpoints."}
	}
	return *page.Count, page.Estimated, nil
}

// Endpoint returns one endpoint with its leases.
func (c *Client) Endpoint(ctx context.Context, id string) (api.Endpoint, error) {
	return get[api.Endpoint](ctx, c, "/api/v1/endpoints/"+segment(id))
}

// RevokeEndpoint ends an endpoint's identity: its key is refused from now on, and its open leases end with a goodbye.
func (c *Client) RevokeEndpoint(ctx context.Context, id, reason string) (api.Endpoint, error) {
	var e api.Endpoint
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/endpoints/" + segment(id) + "/revoke", send: api.EndEndpoint{Reason: reason}}, &e)
	return e, err
}

// RemoveEndpoint forgets an endpoint that is not managed any more. It may join again.
func (c *Client) RemoveEndpoint(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/endpoints/" + segment(id)}, nil)
}

// Incidents lists all incidents.
func (c *Client) Incidents(ctx context.Context) ([]api.Incident, error) {
	return list[api.Incident](ctx, c, "/api/v1/incidents", nil)
}

// EachIncident goes through the incidents, newest first. It ends at the first error.
func (c *Client) EachIncident(ctx context.Context) iter.Seq2[api.Incident, error] {
	return pages[api.Incident](ctx, c, "/api/v1/incidents", nil, "")
}

// Incident returns one incident with harmed hosts and timeline.
func (c *Client) Incident(ctx context.Context, id string) (api.Incident, error) {
	return get[api.Incident](ctx, c, "/api/v1/incidents/"+segment(id))
}

// PostMortem returns an incident written down: facts filled in, questions left open.
func (c *Client) PostMortem(ctx context.Context, id string) (api.PostMortem, error) {
	return get[api.PostMortem](ctx, c, reportOf(id))
}

// IncidentReport returns the same as a file: "json", "markdown", or "zip" for both with pictures.
func (c *Client) IncidentReport(ctx context.Context, id, format string) ([]byte, error) {
	var file []byte
	err := c.do(ctx, call{method: http.MethodGet, path: reportOf(id), query: url.Values{"format": {format}}}, &file)
	return file, err
}

func reportOf(id string) string { return "/api/v1/incidents/" + segment(id) + "/report" }

// Forecast plays what bad releases would cost under a stored plan on the hosts that have a component, or on all if it is empty.
func (c *Client) Forecast(ctx context.Context, plan, component string) (api.Forecast, error) {
	var f api.Forecast
	err := c.do(ctx, call{method: http.MethodGet, path: "/api/v1/plans/" + segment(plan) + "/forecast", query: of(component)}, &f)
	return f, err
}

// RolloutForecast is [Client.Forecast] under the plan that is frozen into a rollout, on the hosts that have its component.
func (c *Client) RolloutForecast(ctx context.Context, id string) (api.Forecast, error) {
	return get[api.Forecast](ctx, c, "/api/v1/rollouts/"+segment(id)+"/forecast")
}

// CloseIncident notes that people are done with an incident. Of one that is closed it changes nothing, and shows who closed it.
func (c *Client) CloseIncident(ctx context.Context, id, note string) (api.Incident, error) {
	var i api.Incident
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/incidents/" + segment(id) + "/close", send: api.CloseIncident{Note: note}}, &i)
	return i, err
}

// AuditFilter picks entries of the audit that have everything it asks for. Empty fields ask for nothing.
type AuditFilter struct {
	Actor  string // is contained in the actor
	Act    string // is the operation, as in openapi.json
	Target string // is contained in what it was done to
}

// EachAudit goes through what people did, newest first. It ends at the first error.
func (c *Client) EachAudit(ctx context.Context, f AuditFilter) iter.Seq2[api.AuditEntry, error] {
	query := url.Values{}
	for name, value := range map[string]string{"actor": f.Actor, "act": f.Act, "target": f.Target} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return pages[api.AuditEntry](ctx, c, "/api/v1/audit", query, "")
}

// pageSize is how many items are asked for at once.
const pageSize = "500"

// pages goes through a long list.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values, after string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		place, asked := after, url.Values{"limit": {pageSize}}
		maps.Copy(asked, query)
		for {
			if place != "" {
				asked.Set("after", place)
			}
			var page api.Page[T]
			if err := c.do(ctx, call{method: http.MethodGet, path: path, query: asked}, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.Next == "" || page.Next == place {
				return
			}
			place = page.Next
		}
	}
}

func of(component string) url.Values {
	if component == "" {
		return nil
	}
	return url.Values{"component": {component}}
}
