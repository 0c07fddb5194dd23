package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

// RolloutFilter picks rollouts that have everything it asks for. Zero fields ask for nothing.
type RolloutFilter struct {
	Component string
	Active    bool     // that have not ended: proposed, running and paused
	Phases    []string // that are in one of these phases
}

// FindRollouts goes through the rollouts that a filter picks, newest first. It ends at the first error.
func (c *Client) FindRollouts(ctx context.Context, f RolloutFilter) iter.Seq2[api.Rollout, error] {
	query := url.Values{"phase": f.Phases}
	if f.Component != "" {
		query.Set("component", f.Component)
	}
	if f.Active {
		query.Set("active", "true")
	}
	return pages[api.Rollout](ctx, c, "/api/v1/rollouts", query, "")
}

// Series returns a rollout's course in so many points at most; 0 is as many as the server thinks fit.
func (c *Client) Series(ctx context.Context, id string, points int) (api.RolloutSeries, error) {
	var query url.Values
	if points > 0 {
		query = url.Values{"points": {strconv.Itoa(points)}}
	}
	var series api.RolloutSeries
	err := c.do(ctx, call{method: http.MethodGet, path: "/api/v1/rollouts/" + segment(id) + "/series", query: query}, &series)
	return series, err
}

// Timeline goes through the decisions of a rollout that matter, newest first. It ends at the first error.
func (c *Client) Timeline(ctx context.Context, id string) iter.Seq2[api.Decision, error] {
	return pages[api.Decision](ctx, c, "/api/v1/rollouts/"+segment(id)+"/timeline", nil, "")
}

// FleetState counts the fleet as it is now: the hosts that have the component, or all if it is empty.
func (c *Client) FleetState(ctx context.Context, component string) (api.FleetState, error) {
	var state api.FleetState
	err := c.do(ctx, call{method: http.MethodGet, path: "/api/v1/fleet/state", query: of(component)}, &state)
	return state, err
}

// FleetHistory tells how the fleet was since a time, or how many hosts ran each version of the component if it is not empty. The zero time
// stands for a day ago.
func (c *Client) FleetHistory(ctx context.Context, component string, since time.Time) (api.FleetHistory, error) {
	query := url.Values{}
	if component != "" {
		query.Set("component", component)
	}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	var history api.FleetHistory
	err := c.do(ctx, call{method: http.MethodGet, path: "/api/v1/fleet/history", query: query}, &history)
	return history, err
}
