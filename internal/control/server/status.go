package server

import (
	"net/http"
)

func (s *server) status(w http.ResponseWriter, r *http.Request) error {
	status, err := s.About(r.Context())
	if err != nil {
		return err
	}
	return writeOK(w, status)
}
