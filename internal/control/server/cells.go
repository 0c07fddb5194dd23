package server

import (
	"context"
	"net/http"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
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
	newest, err := s.newestOf(ctx, component, manifest)
	if err != nil {
		return err
	}
	if newest != nil {
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

// newestOf is the newest rollout of a component's release, nil if there is none.
func (s *server) newestOf(ctx context.Context, component, manifest string) (*api.Rollout, error) {
	p, err := s.Releases.ReleaseByManifest(ctx, release.Digest(manifest))
	if fault.KindOf(err) == fault.NotFound || err == nil && p.Manifest.Component != component {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rollouts, err := s.Engine.Rollouts(ctx, store.RolloutQuery{Component: component, Version: p.Manifest.Version, Limit: 1})
	if err != nil || len(rollouts) == 0 {
		return nil, err
	}
	return &rollouts[0], nil
}
