package server

import (
	"net/http"

	"github.com/firebreak-dev/firebreak/api"
)

// watchRoutes are for whoever looks at what goes on, in the console or elsewhere.
func (s *server) watchRoutes() []route {
	const one = "/api/v1/rollouts/{id}"
	since := param{name: "since", about: "not before", schema: object{"type": "string", "format": "date-time"}}
	return []route{
		{method: "GET", path: "/api/v1/overview", name: "getOverview", summary: "Tells what is going on", answer: api.Overview{}, handle: s.given(s.Overview != nil, s.overview)},
		{
			method: "GET", path: "/api/v1/stream", name: "watch",
			summary: "Sends a snapshot of each topic and then what changes, as server-sent events whose data is a StreamEvent",
			params:  []param{{name: "topic", about: "overview, rollout:ID or timeline:ID", many: true, schema: text()}},
			answer:  eventStream, handle: s.given(s.Watch != nil, s.watch),
		},
		{
			method: "GET", path: one + "/series", name: "getSeries", summary: "Gives a rollout's course: exposure, harm and evidence over time",
			params: []param{{name: "points", about: "at most", schema: object{"type": "integer", "minimum": 2, "maximum": maxPoints, "default": defaultPoints}}},
			answer: api.RolloutSeries{}, handle: s.series,
		},
		{
			method: "GET", path: one + "/timeline", name: "getTimeline", summary: "Lists the decisions that matter, newest first: not every lease and outcome",
			params: paged(), answer: api.Page[api.Decision]{}, handle: s.timelinePage,
		},
		{
			method: "GET", path: "/api/v1/plans/{name}/forecast", name: "getForecast",
			summary: "Plays bad releases under a plan on a fleet like this one, and tells what they would cost",
			params:  []param{ofComponent()}, answer: api.Forecast{}, handle: s.given(s.Forecast != nil, s.forecast),
		},
		{
			method: "GET", path: one + "/forecast", name: "getRolloutForecast",
			summary: "Plays bad releases under the plan that is frozen into a rollout, on the hosts that have its component",
			answer:  api.Forecast{}, handle: s.given(s.Forecast != nil, s.forecastOfRollout),
		},
		{
			method: "GET", path: "/api/v1/fleet/state", name: "getFleetState", summary: "Counts the fleet as it is now: versions, silent hosts, hosts at risk",
			params: []param{ofComponent()}, answer: api.FleetState{}, handle: s.fleetState,
		},
		{
			method: "GET", path: "/api/v1/fleet/history", name: "getFleetHistory", summary: "Tells how the fleet was: its hosts, or how many ran each version of a component, over time",
			params: []param{ofComponent(), since}, answer: api.FleetHistory{}, handle: s.fleetHistory,
		},
	}
}

// peopleRoutes are about people and what they did.
func (s *server) peopleRoutes() []route {
	return []route{
		{
			method: "POST", path: "/api/v1/session", name: "signIn", about: "session", summary: "Signs a person in: the answer sets a cookie that stands for the token",
			request: api.NewSession{}, answer: api.Session{}, status: http.StatusCreated, traits: open, limit: maxSignIn, handle: s.signIn,
		},
		{method: "GET", path: "/api/v1/session", name: "getSession", summary: "Tells who is signed in", answer: api.Session{}, handle: s.getSession},
		{method: "DELETE", path: "/api/v1/session", name: "signOut", about: "session", summary: "Ends the session", handle: s.signOut},
		{
			method: "POST", path: "/api/v1/halt", name: "halt", about: "rollouts",
			summary: "Halts rollouts, or all of them, and says within a second what was stopped and what is still in flight",
			request: api.HaltRollouts{}, optional: true, answer: api.Halted{}, handle: s.halt,
		},
		{
			method: "POST", path: "/api/v1/incidents/{id}/close", name: "closeIncident", about: "incident {id}", summary: "Notes that people are done with an incident",
			request: api.CloseIncident{}, optional: true, answer: api.Incident{}, traits: keyed, handle: s.closeIncident,
		},
		{
			method: "GET", path: "/api/v1/incidents/{id}/report", name: "getPostMortem",
			summary: "Writes an incident down: facts filled in, questions left open; as JSON, as Markdown, or as a zip of both with pictures",
			params:  []param{{name: "format", about: "of the answer", schema: object{"type": "string", "enum": reportFormats(), "default": "json"}}},
			answer:  api.PostMortem{}, also: []string{"text/markdown", "application/zip"}, handle: s.postMortem,
		},
		{
			method: "GET", path: "/api/v1/audit", name: "listAudit", summary: "Lists what people did, newest first",
			params: paged(
				param{name: "actor", about: "only what contains this in its actor", schema: text()},
				param{name: "act", about: "only this operation", schema: text()},
				param{name: "target", about: "only what contains this in its target", schema: text()}),
			answer: api.Page[api.AuditEntry]{}, handle: s.listAudit,
		},
	}
}
