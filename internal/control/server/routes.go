package server

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// handler answers a request or returns an error, having written nothing.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is one route of the port: what serves it and what the OpenAPI document says of it.
type route struct {
	method, path string // as the mux has them; GET serves HEAD too
	name         string // operationId
	summary      string
	params       []param  // of the query, and those of the path of which there is more to say than their name
	request      any      // a value of the type of the body; nil: there is none
	optional     bool     // the body may be left out
	answer       any      // a value of the type of a good answer; nil: it has no body; a media type as text: it is no JSON
	also         []string // media types of other forms of it that can be asked for
	status       int      // of a good answer; 0 means 200
	traits       trait
	limit        int64  // bytes of the body; 0 means maxDocument
	about        string // what a request is written down to be about, with {names} of the path and of the document; empty: it is not written down
	handle       handler
}

// trait is what routes have in common.
type trait uint8

const (
	open   trait = 1 << iota // it needs no token
	tagged                   // its answers have an ETag, and it heeds the preconditions of its method
	keyed                    // it heeds Idempotency-Key
	stream                   // its body is bytes that are not kept in memory
)

func (t trait) is(one trait) bool { return t&one != 0 }

// param is a parameter of a path or a query.
type param struct {
	name, about string
	many        bool
	schema      object
}

// routes is every route of the API, in the order in which the document lists them.
func (s *server) routes() []route {
	return slices.Concat(s.aboutRoutes(), s.catalogueRoutes(), s.trustRoutes(), s.artifactRoutes(), s.rolloutRoutes(), s.fleetRoutes(),
		s.watchRoutes(), s.peopleRoutes())
}

func paged(more ...param) []param {
	return append(more,
		param{name: "limit", about: "items at most", schema: object{"type": "integer", "minimum": 1, "maximum": maxPage, "default": defaultPage}},
		param{name: "after", about: "go on behind this place: next of the page before; opaque, but where it is said", schema: text()})
}

func ofComponent() param {
	return param{name: "component", about: "only of this component", schema: text()}
}

func boolean(name, about string) param {
	return param{name: name, about: about, schema: object{"type": "boolean", "default": false}}
}

func text() object { return object{"type": "string"} }

func (s *server) aboutRoutes() []route {
	return []route{
		{
			method: "GET", path: "/healthz", name: "health", summary: "Tells that the port is served", answer: "text/plain", traits: open,
			handle: healthy,
		},
		{
			method: "GET", path: "/api/v1/openapi.json", name: "getDescription", summary: "Gives this document",
			answer: json.RawMessage{}, traits: open | tagged, handle: s.describe,
		},
		{method: "GET", path: "/api/v1/status", name: "getStatus", summary: "Tells what this installation is", answer: api.Status{}, handle: s.status},
		{
			method: "GET", path: "/api/v1/tokens", name: "listTokens", summary: "Lists tokens in the order of their creation, without secrets",
			params: paged(), answer: api.Page[api.Token]{}, handle: s.listTokens,
		},
		{
			method: "POST", path: "/api/v1/tokens", name: "createToken", about: "{kind} token", summary: "Makes a token; the answer alone has its secret",
			request: api.NewToken{}, answer: api.Token{}, status: http.StatusCreated, traits: keyed, handle: s.createToken,
		},
		{method: "DELETE", path: "/api/v1/tokens/{id}", name: "revokeToken", about: "token {id}", summary: "Ends a token for good", handle: s.revokeToken},
	}
}

func (s *server) catalogueRoutes() []route {
	return []route{
		{
			method: "GET", path: "/api/v1/components", name: "listComponents", summary: "Lists components by name",
			params: paged(), answer: api.Page[api.ComponentSpec]{}, handle: s.listComponents,
		},
		{
			method: "GET", path: "/api/v1/components/{name}", name: "getComponent", summary: "Shows a component",
			answer: api.ComponentSpec{}, traits: tagged, handle: s.getComponent,
		},
		{
			method: "PUT", path: "/api/v1/components/{name}", name: "putComponent", about: "component {name}", summary: "Registers a component, or changes its registration",
			request: api.ComponentSpec{}, answer: api.ComponentSpec{}, traits: tagged | keyed, handle: s.putComponent,
		},
		{
			method: "GET", path: "/api/v1/plans", name: "listPlans", summary: "Lists plans by name",
			params: paged(), answer: api.Page[api.StoredPlan]{}, handle: s.listPlans,
		},
		{
			method: "GET", path: "/api/v1/plans/{name}", name: "getPlan", summary: "Shows a plan",
			answer: api.StoredPlan{}, traits: tagged, handle: s.getPlan,
		},
		{
			method: "PUT", path: "/api/v1/plans/{name}", name: "putPlan", about: "plan {name}", summary: "Stores a plan, written as JSON or YAML",
			request: json.RawMessage{}, answer: api.StoredPlan{}, traits: tagged | keyed, handle: s.putPlan,
		},
		{
			method: "POST", path: "/api/v1/plans/check", name: "checkPlan", summary: "Says what is wrong with a plan, or what harm it is bounded to",
			request: json.RawMessage{}, answer: api.PlanCheck{}, handle: s.checkPlan,
		},
		{
			method: "GET", path: "/api/v1/releases", name: "listReleases", summary: "Lists releases by component, newest first",
			params: paged(ofComponent()), answer: api.Page[api.Release]{}, handle: s.listReleases,
		},
		{
			method: "GET", path: "/api/v1/releases/{component}/{version}", name: "getRelease", summary: "Shows a release with its manifest",
			answer: api.Release{}, handle: s.getRelease,
		},
	}
}

func (s *server) trustRoutes() []route {
	return []route{
		{
			method: "GET", path: "/api/v1/trust/online", name: "getOnlineKeys", summary: "Shows the public keys that the control plane signs with",
			answer: api.OnlineKeys{}, handle: s.onlineKeys,
		},
		{
			method: "GET", path: "/api/v1/trust/pending", name: "listPendingMetadata", summary: "Lists submitted metadata that lacks signatures",
			answer: api.Page[api.PendingMetadata]{}, handle: s.pendingMetadata,
		},
		{
			method: "DELETE", path: "/api/v1/trust/pending/{role}", name: "discardMetadata", about: "pending metadata of {role}", summary: "Forgets pending metadata of a role",
			handle: s.discardMetadata,
		},
		{
			method: "POST", path: "/api/v1/trust/metadata/{role}", name: "submitMetadata", about: "metadata of {role}", summary: "Takes in signed metadata of a role",
			request: json.RawMessage{}, answer: api.Submission{}, traits: keyed, limit: trust.MaxMetadata, handle: s.submitMetadata,
		},
		{
			method: "GET", path: "/tuf/{file}", name: "getMetadataFile", summary: "Gives a file of the signed repository",
			answer: json.RawMessage{}, handle: s.metadataFile,
		},
	}
}

// artifactRoutes has those of what an installation may do without, too: without it they answer that there is no such path.
func (s *server) artifactRoutes() []route {
	const bytes = "application/octet-stream"
	return []route{
		{method: "GET", path: "/api/v1/blobs/{digest}", name: "getBlob", summary: "Gives a blob, or ranges of it", answer: bytes, handle: s.getBlob},
		{
			method: "PUT", path: "/api/v1/blobs/{digest}", name: "putBlob", about: "blob {digest}", summary: "Stores a blob under its digest", request: bytes,
			status: http.StatusNoContent, traits: stream, handle: s.putBlob,
		},
		{
			method: "GET", path: "/api/v1/deltas/{digest}", name: "listDeltas", summary: "Lists what leads to an artifact from others",
			answer: api.Page[api.Delta]{}, handle: s.listDeltas,
		},
		{
			method: "PUT", path: "/api/v1/deltas/{digest}", name: "putDelta", about: "delta to {digest}", summary: "Announces a delta that leads to an artifact",
			request: api.Delta{}, status: http.StatusNoContent, traits: keyed, handle: s.putDelta,
		},
		{
			method: "POST", path: "/api/v1/uploads", name: "beginUpload", summary: "Begins an upload in pieces, or finds it again",
			request: api.NewUpload{}, answer: api.Upload{}, traits: keyed, handle: s.given(s.Uploads != nil, s.beginUpload),
		},
		{
			method: "GET", path: "/api/v1/uploads/{id}", name: "getUpload", summary: "Tells where an upload stands",
			answer: api.Upload{}, handle: s.given(s.Uploads != nil, s.getUpload),
		},
		{
			method: "PATCH", path: "/api/v1/uploads/{id}", name: "patchUpload", about: "upload {id}", summary: "Sends the piece of an upload that Content-Range names",
			request: bytes, answer: api.Upload{}, traits: stream, handle: s.given(s.Uploads != nil, s.patchUpload),
		},
		{
			method: "DELETE", path: "/api/v1/uploads/{id}", name: "cancelUpload", summary: "Gives an upload up",
			handle: s.given(s.Uploads != nil, s.cancelUpload),
		},
		{
			method: "POST", path: "/api/v1/gc", name: "collectGarbage", about: "artifacts that nothing needs", summary: "Removes the blobs that nothing needs",
			request: api.CollectGarbage{}, optional: true, answer: api.Garbage{}, traits: keyed, handle: s.given(s.Garbage != nil, s.collectGarbage),
		},
	}
}

func (s *server) rolloutRoutes() []route {
	const one = "/api/v1/rollouts/{id}"
	return []route{
		{
			method: "GET", path: "/api/v1/rollouts", name: "listRollouts", summary: "Lists rollouts, newest first",
			params: paged(ofComponent(), boolean("active", "only those that have not ended: proposed, running and paused"),
				param{name: "phase", about: "only those in this phase, or in one of several", many: true, schema: object{"type": "string", "enum": phases()}}),
			answer: api.Page[api.Rollout]{}, handle: s.listRollouts,
		},
		{
			method: "POST", path: "/api/v1/rollouts", name: "startRollout", about: "release {component} {version}", summary: "Pairs a release with a plan and begins",
			request: api.StartRollout{}, answer: api.Rollout{}, status: http.StatusCreated, traits: keyed | tagged, handle: s.startRollout,
		},
		{
			method: "GET", path: one, name: "getRollout", summary: "Shows a rollout; the ETag begins with its revision",
			answer: api.Rollout{}, traits: tagged, handle: s.getRollout,
		},
		{
			method: "POST", path: one + "/{act}", name: "actOnRollout", about: "rollout {id}",
			summary: "Carries out a command; If-Match and phase make sure that nothing was decided meanwhile",
			params:  []param{{name: "act", about: "the command", schema: object{"type": "string", "enum": actions()}}},
			request: api.Act{}, optional: true, answer: api.Rollout{}, traits: keyed | tagged, handle: s.actOnRollout,
		},
		{
			method: "GET", path: one + "/events", name: "listEvents", summary: "Lists decisions in their order; after is a revision, too",
			params: paged(), answer: api.Page[api.Decision]{}, handle: s.listEvents,
		},
		{
			method: "GET", path: one + "/leases", name: "listLeases", summary: "Lists leases in the order of endpoints",
			params: paged(param{name: "outcome", about: "only those with this outcome; harmed: with one that harms", schema: object{"type": "string", "enum": append(outcomes(), harmedHosts)}}),
			answer: api.Page[api.LeaseStatus]{}, handle: s.listLeases,
		},
		{
			method: "GET", path: api.CellPath + "{component}/{manifest}", name: "getCellState",
			summary: "Tells another control plane how a release stands in this cell; a peer's token opens it", answer: api.CellState{}, handle: s.cellState,
		},
		{
			method: "GET", path: "/api/v1/incidents", name: "listIncidents", summary: "Lists incidents, newest first",
			params: paged(), answer: api.Page[api.Incident]{}, handle: s.listIncidents,
		},
		{
			method: "GET", path: "/api/v1/incidents/{id}", name: "getIncident", summary: "Shows an incident with harmed hosts and timeline",
			answer: api.Incident{}, handle: s.getIncident,
		},
		{
			method: "GET", path: "/api/v1/freezes", name: "getFreezes", summary: "Shows the installation's freezes",
			answer: api.Freezes{}, traits: tagged, handle: s.getFreezes,
		},
		{
			method: "PUT", path: "/api/v1/freezes", name: "putFreezes", about: "freezes", summary: "Replaces the installation's freezes",
			request: api.Freezes{}, answer: api.Freezes{}, traits: tagged | keyed, handle: s.putFreezes,
		},
	}
}

// actions are the commands on a rollout.
func actions() []string {
	var names []string
	for _, a := range []rollout.Action{
		rollout.Approve, rollout.Pause, rollout.Resume, rollout.HoldBack, rollout.Unhold, rollout.Halt, rollout.RollBack,
	} {
		names = append(names, string(a))
	}
	return names
}

func (s *server) fleetRoutes() []route {
	return []route{
		{
			method: "GET", path: "/api/v1/endpoints", name: "listEndpoints",
			summary: "Lists endpoints by id; those of a filter in the order in which they joined, with their count on the first page",
			params: paged(
				param{name: "select", about: "key=value as in a hold, such as site=graz or label.role=web; values of one key are alternatives", many: true, schema: text()},
				param{name: "component", about: "that have this component", schema: text()},
				param{name: "version", about: "whose component runs this version", schema: text()},
				param{name: "silent_since", about: "that were not heard since", schema: object{"type": "string", "format": "date-time"}},
				param{name: "prefix", about: "whose id begins so", schema: text()},
				param{name: "lacks", about: "that miss this word of posture, or one of several", many: true, schema: object{"type": "string", "enum": fleet.Posture(0).Missing()}},
				boolean("refusing", "that keep a release in quarantine; of the component, if one is named"),
				boolean("at_risk", "that do not come back by themselves from a panic in every boot")),
			answer: api.EndpointPage{}, handle: s.listEndpoints,
		},
		{
			method: "GET", path: "/api/v1/endpoints/{id}", name: "getEndpoint", summary: "Shows an endpoint with its leases",
			answer: api.Endpoint{}, handle: s.getEndpoint,
		},
		{
			method: "POST", path: "/api/v1/endpoints/{id}/revoke", name: "revokeEndpoint", about: "endpoint {id}",
			summary: "Ends an endpoint's identity: its key is refused from now on, and its open leases end with a goodbye",
			request: api.EndEndpoint{}, answer: api.Endpoint{}, traits: keyed, handle: s.given(s.Identities != nil, s.revokeEndpoint),
		},
		{
			method: "DELETE", path: "/api/v1/endpoints/{id}", name: "removeEndpoint", about: "endpoint {id}",
			summary: "Forgets an endpoint that is not managed any more; it may join again", handle: s.given(s.Identities != nil, s.removeEndpoint),
		},
		{
			method: "GET", path: "/api/v1/fleet/profile", name: "getFleetProfile", summary: "Counts the fleet by what its hosts are",
			params: []param{ofComponent()}, answer: api.FleetProfile{}, handle: s.fleetProfile,
		},
	}
}

// given serves a route only if what it needs was given.
func (s *server) given(there bool, h handler) handler {
	if there {
		return h
	}
	return noSuchPath
}

func healthy(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte("ok\n"))
	return err
}
