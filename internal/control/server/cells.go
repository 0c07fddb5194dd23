package server

import (
	"net/http"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
)

// cellState tells a peer how a release stands here. While nobody decides here it tells nothing: what is stored may be old.
func (s *server) cellState(w http.ResponseWriter, r *http.Request) error {
	ctx, component, manifest := r.Context(), r.PathValue("component"), r.PathValue("manifest")
	if s.Leads != nil {
		if err := s.Leads(ctx); err != nil {
			return err
		}
	}
	answer := api.CellState{Cell: s.Cell}
	rollouts, err := s.Engine.Rollouts(ctx, component)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(rollouts, func(r api.Rollout) bool { return r.Manifest == manifest }); i >= 0 {
		newest := rollouts[i]
		answer.Rollout, answer.Phase, answer.Alarm, answer.Reason, answer.Ended = newest.ID, newest.Phase, newest.Alarm, newest.Reason, newest.Ended
	}
	recalls, err := s.Releases.Recalls(ctx, component)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(recalls, func(r store.Recall) bool { return string(r.Manifest) == manifest }); i >= 0 {
		answer.Recalled, answer.Reason = true, recalls[i].Reason
	}
	return writeOK(w, answer)
}
