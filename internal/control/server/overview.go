package server

import "net/http"

// overview says what is going on, from memory as far as it can.
func (s *server) overview(w http.ResponseWriter, r *http.Request) error {
	answer, err := s.Overview(r.Context())
	if err != nil {
		return err
	}
	return writeOK(w, answer)
}
