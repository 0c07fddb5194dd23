package server

import (
	"net/http"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// mux serves every route of the table, the console and the OCI paths. All but the console and what is open need an operator's token.
func (s *server) mux() http.Handler {
	mux := http.NewServeMux()
	for _, route := range s.routes() {
		mux.Handle(route.method+" "+route.path, s.serve(route))
	}
	if s.OCI != nil {
		mux.Handle("/v2/", s.registry())
	}
	return s.orElse(mux)
}

// serve puts round a route what its traits ask for.
func (s *server) serve(t route) http.Handler {
	answer := s.reply(t.handle)
	if t.traits.is(keyed) {
		answer = s.once(answer)
	}
	if t.request != nil && !t.traits.is(stream) {
		answer = s.receive(t, answer)
	}
	answer = s.record(t, s.fromHere(t, answer))
	if t.traits.is(open) {
		return answer
	}
	return s.authenticate(s.pace(answer))
}

// urgent tells whether a request ends harm. Such a request is never refused for what others do, nor for how much its sender does.
func urgent(r *http.Request) bool {
	act := r.PathValue("act")
	return r.Method == http.MethodPost && (act == "halt" || act == "rollback" || r.URL.Path == haltPath)
}

// noSuchPath answers what no route matches.
func noSuchPath(_ http.ResponseWriter, r *http.Request) error {
	return fault.New(fault.NotFound, "%s %s: there is no such path", r.Method, shorten(r.URL.Path))
}
