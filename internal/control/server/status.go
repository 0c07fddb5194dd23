package server

import (
	"encoding/json"
	"net/http"
)

func (s *server) status(w http.ResponseWriter, r *http.Request) error {
	status, err := s.About(r.Context())
	if err != nil {
		return err
	}
	return writeOK(w, status)
}

// describe gives the OpenAPI document of this very port.
func (s *server) describe(w http.ResponseWriter, r *http.Request) error {
	return writeTagged(w, r, http.StatusOK, json.RawMessage(s.description))
}
