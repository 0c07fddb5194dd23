package server

import (
	"net/http"
)

// handler answers a request or returns an error, having written nothing.
type handler func(w http.ResponseWriter, r *http.Request) error

// route has every route of the port. All but the console and the health check need an operator's token.
func (s *server) route() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /api/v1/status": s.status,

		"GET /api/v1/tokens":         s.listTokens,
		"POST /api/v1/tokens":        s.createToken,
		"DELETE /api/v1/tokens/{id}": s.revokeToken,

		"GET /api/v1/components":        s.listComponents,
		"GET /api/v1/components/{name}": s.getComponent,
		"PUT /api/v1/components/{name}": s.putComponent,

		"GET /api/v1/plans":        s.listPlans,
		"GET /api/v1/plans/{name}": s.getPlan,
		"PUT /api/v1/plans/{name}": s.putPlan,
		"POST /api/v1/plans/check": s.checkPlan,

		"GET /api/v1/releases":                       s.listReleases,
		"GET /api/v1/releases/{component}/{version}": s.getRelease,

		"GET /api/v1/trust/online":            s.onlineKeys,
		"GET /api/v1/trust/pending":           s.pendingMetadata,
		"DELETE /api/v1/trust/pending/{role}": s.discardMetadata,
		"POST /api/v1/trust/metadata/{role}":  s.submitMetadata,
		"GET /tuf/{file}":                     s.metadataFile,

		"GET /api/v1/blobs/{digest}": s.getBlob, // and HEAD
		"PUT /api/v1/blobs/{digest}": s.putBlob,

		"GET /api/v1/rollouts":             s.listRollouts,
		"POST /api/v1/rollouts":            s.startRollout,
		"GET /api/v1/rollouts/{id}":        s.getRollout,
		"POST /api/v1/rollouts/{id}/{act}": s.actOnRollout,
		"GET /api/v1/rollouts/{id}/events": s.listEvents,
		"GET /api/v1/rollouts/{id}/leases": s.listLeases,
		"GET /api/v1/freezes":              s.getFreezes,
		"PUT /api/v1/freezes":              s.putFreezes,
		"GET /api/v1/fleet/profile":        s.fleetProfile,
		"GET /api/v1/endpoints":            s.listEndpoints,
		"GET /api/v1/endpoints/{id}":       s.getEndpoint,
		"GET /api/v1/incidents":            s.listIncidents,
		"GET /api/v1/incidents/{id}":       s.getIncident,
	} {
		mux.Handle(pattern, s.authenticate(s.reply(h)))
	}
	mux.Handle("GET /healthz", s.reply(healthy))
	if s.Web != nil {
		mux.Handle("GET /{$}", s.Web)
		mux.Handle("GET /console/", s.Web)
	}
	return s.orElse(mux)
}

func healthy(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte("ok\n"))
	return err
}
