package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// States of a release.
const (
	statePublished = "published"
	stateRecalled  = "recalled"
)

func (s *server) listReleases(w http.ResponseWriter, r *http.Request) error {
	component, err := s.componentAsked(r)
	if err != nil {
		return err
	}
	var of string
	var serial int64
	if err = behind(r, &of, &serial); err != nil {
		return err
	}
	recalled, err := s.recalled(r, component)
	if err != nil {
		return err
	}
	ctx := r.Context()
	fetch := func(limit int) ([]release.Published, error) {
		return s.Releases.ReleasesPage(ctx, component, of, serial, limit)
	}
	return page(w, r, fetch, func(p release.Published) place { return place{p.Manifest.Component, p.Manifest.Serial} },
		sure(func(p release.Published) api.Release { return releaseWire(p, recalled[p.Digest]) }))
}

func (s *server) getRelease(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Releases.Release(r.Context(), r.PathValue("component"), r.PathValue("version"))
	if err != nil {
		return err
	}
	recalls, err := s.Releases.Recalls(r.Context(), p.Manifest.Component)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(recalls, func(c store.Recall) bool { return c.Manifest == p.Digest })
	answer := releaseWire(p, i >= 0)
	if i >= 0 {
		answer.Recalled = &api.ReleaseRecall{At: recalls[i].At, Reason: recalls[i].Reason, Rollout: string(recalls[i].Rollout)}
	}
	if err = s.describeRelease(r.Context(), p, &answer); err != nil {
		return err
	}
	if answer.Document, err = json.Marshal(p.Manifest); err != nil {
		return fmt.Errorf("encode manifest of %s %s: %w", p.Manifest.Component, p.Manifest.Version, err)
	}
	return writeOK(w, answer)
}

// mostRollouts is how many rollouts of a release are named.
const mostRollouts = 50

// describeRelease fills in who vouched for a release, where it was rolled out, and who runs it.
func (s *server) describeRelease(ctx context.Context, p release.Published, answer *api.Release) error {
	signatures, err := s.Repository.Signatures(ctx, p.Manifest.Component)
	if err != nil {
		return err
	}
	answer.Signatures, answer.Verdicts = signatures, each(p.Manifest.Verdicts, verdictWire)
	rollouts, err := s.Engine.Rollouts(ctx, store.RolloutQuery{Component: p.Manifest.Component, Version: p.Manifest.Version, Limit: mostRollouts})
	if err != nil {
		return err
	}
	answer.Rollouts = each(rollouts, func(r api.Rollout) string { return r.ID })
	if s.Live == nil {
		return nil
	}
	state, _, err := s.countedFleet(p.Manifest.Component)
	crew := state.Versions[registry.Running{Component: p.Manifest.Component, Version: p.Manifest.Version}]
	answer.Hosts, answer.Heard = crew.Hosts, crew.Heard
	return err
}

func verdictWire(v release.Verdict) api.Verdict {
	return api.Verdict{Validator: v.Validator, Artifact: string(v.Artifact), Passed: v.Passed, At: optional(v.At), Detail: v.Detail}
}

// recalled is the set of recalled manifests of a component, or of all.
func (s *server) recalled(r *http.Request, component string) (map[release.Digest]bool, error) {
	recalls, err := s.Releases.Recalls(r.Context(), component)
	if err != nil {
		return nil, err
	}
	set := make(map[release.Digest]bool, len(recalls))
	for _, c := range recalls {
		set[c.Manifest] = true
	}
	return set, nil
}

func releaseWire(p release.Published, recalled bool) api.Release {
	answer := api.Release{
		Component: p.Manifest.Component, Version: p.Manifest.Version, Serial: p.Manifest.Serial, Manifest: string(p.Digest),
		Created: p.Manifest.Created, State: statePublished, Validated: p.Manifest.Validated(),
	}
	if recalled {
		answer.State = stateRecalled
	}
	return answer
}

func (s *server) onlineKeys(w http.ResponseWriter, r *http.Request) error {
	keys, err := s.Repository.Online(r.Context())
	if err != nil {
		return err
	}
	return writeOK(w, keys)
}

func (s *server) pendingMetadata(w http.ResponseWriter, r *http.Request) error {
	pending, err := s.Repository.Pending(r.Context())
	if err != nil {
		return err
	}
	return writeAll(w, pending)
}

func (s *server) submitMetadata(w http.ResponseWriter, r *http.Request) error {
	data, err := whole(r)
	if err != nil {
		return err
	}
	role, err := roleOf(r)
	if err != nil {
		return err
	}
	answer, err := s.Repository.Submit(r.Context(), role, data)
	if err != nil {
		return err
	}
	s.layOut(r.Context(), answer)
	return writeOK(w, answer)
}

func (s *server) discardMetadata(w http.ResponseWriter, r *http.Request) error {
	role, err := roleOf(r)
	if err != nil {
		return err
	}
	if err := s.Repository.Discard(r.Context(), role); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// roleOf is the role that the path names.
func roleOf(r *http.Request) (string, error) {
	role := r.PathValue("role")
	if !plan.Name(role) {
		return "", fault.New(fault.Invalid, "read role %q: must be 1 to 63 lower-case letters, digits and dashes", shorten(role))
	}
	return role, nil
}

func (s *server) metadataFile(w http.ResponseWriter, r *http.Request) error {
	data, err := s.Repository.File(r.Context(), r.PathValue("file"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) //nolint:gosec // signed metadata, served as JSON that nobody sniffs
	return nil
}

// shorten keeps what a stranger sent readable in a message.
func shorten(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
