// Package roots says which blobs the control plane needs, and why, for garbage collection.
//
// Needed is what belongs to a release that any stored rollout is about, in whatever phase; that a directive names; that an endpoint
// runs or would go back to; that was published and not recalled, with no newer one of its component rolled out yet; or that waits for
// signatures. Also deltas that lead to such a release's artifacts, uploads in progress, and pins.
package roots

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Store is where it is written down what is needed. *store.Store is one.
type Store interface {
	Releases(ctx context.Context, component string) ([]release.Published, error)
	Recalls(ctx context.Context, component string) ([]store.Recall, error)
	Rollouts(ctx context.Context, component string, limit int) ([]store.Rollout, error)
	Directives(ctx context.Context) ([]store.Directive, error)
	Endpoints(ctx context.Context, after fleet.EndpointID, limit int) ([]store.Endpoint, error)
	Deltas(ctx context.Context, artifact release.Digest) ([]store.Delta, error)
}

// Roots knows what is needed. It implements gc.Roots. Store is required; the rest may be nil.
type Roots struct {
	Store   Store
	Pending func(ctx context.Context) ([]api.PendingMetadata, error) // metadata that waits for signatures
	Uploads func() []release.Digest                                  // in progress
	Pins    func(ctx context.Context) ([]release.Digest, error)      // that people want kept
	// Derived lists blobs that were made for a release beside its own.
	Derived func(ctx context.Context, p release.Published) ([]release.Digest, error)
}

// pageSize is how many endpoints are read at a time.
const pageSize = 5000

// survey is what one look found out.
type survey struct {
	Roots
	name     func(release.Digest, string)
	releases []release.Published
	byDigest map[release.Digest]int // manifest -> index of releases
	byName   map[string]int         // component and version -> index of releases
	why      map[int]string         // releases that are needed
	rolled   map[string]int64       // component -> largest serial that a rollout was about
	artifact map[release.Digest]string
}

// Needed calls name for every blob that must stay, with the reason. An error means that it does not know.
func (r Roots) Needed(ctx context.Context, name func(d release.Digest, why string)) error {
	s := &survey{
		Roots: r, byDigest: map[release.Digest]int{}, byName: map[string]int{}, why: map[int]string{}, rolled: map[string]int64{},
		artifact: map[release.Digest]string{},
	}
	s.name = func(d release.Digest, why string) {
		if d.Valid() {
			name(d, why)
		}
	}
	for _, look := range []func(context.Context) error{
		s.published, s.rollouts, s.directives, s.endpoints, s.waiting, s.pending, s.loose, s.tell, s.deltas,
	} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	return nil
}

func named(component, version string) string { return component + " " + version }

func (s *survey) published(ctx context.Context) error {
	var err error
	if s.releases, err = s.Store.Releases(ctx, ""); err != nil {
		return err
	}
	for i, p := range s.releases {
		s.byDigest[p.Digest], s.byName[named(p.Manifest.Component, p.Manifest.Version)] = i, i
	}
	return nil
}

// need notes that a release is needed. The first reason is kept.
func (s *survey) need(i int, known bool, why string) {
	if known && s.why[i] == "" {
		s.why[i] = why
	}
}

func (s *survey) manifest(d release.Digest, why string) {
	i, known := s.byDigest[d]
	s.need(i, known, why)
	s.name(d, why) // also if the release is not stored here
}

func (s *survey) rollouts(ctx context.Context) error {
	all, err := s.Store.Rollouts(ctx, "", 0)
	if err != nil {
		return err
	}
	for _, r := range all {
		is := r.State.Release
		s.manifest(is.Manifest, fmt.Sprintf("rollout %s (%s)", r.State.ID, r.State.Phase))
		s.rolled[is.Component] = max(s.rolled[is.Component], is.Serial)
	}
	return nil
}

// directives reads what our own store has, without judging signatures.
func (s *survey) directives(ctx context.Context) error {
	all, err := s.Store.Directives(ctx)
	if err != nil {
		return err
	}
	for _, stored := range all {
		var envelope struct{ Payload []byte }
		var d api.Directive
		if err := json.Unmarshal(stored.Envelope, &envelope); err != nil {
			return fmt.Errorf("read the directive of %s: %w", stored.Component, err)
		}
		if err := json.Unmarshal(envelope.Payload, &d); err != nil {
			return fmt.Errorf("read the directive of %s: %w", stored.Component, err)
		}
		for what, target := range map[string]*api.Target{"stable": d.Stable, "candidate": d.Candidate} {
			if target != nil {
				s.manifest(release.Digest(target.Manifest), what+" of "+stored.Component)
			}
		}
	}
	return nil
}

func (s *survey) endpoints(ctx context.Context) error {
	for after := fleet.EndpointID(""); ; {
		page, err := s.Store.Endpoints(ctx, after, pageSize)
		if err != nil {
			return err
		}
		for _, e := range page {
			var components map[string]api.Component
			if len(e.Components) > 0 {
				if err := json.Unmarshal(e.Components, &components); err != nil {
					return fmt.Errorf("read what endpoint %s runs: %w", e.ID, err)
				}
			}
			for name, c := range components {
				s.runs(e.ID, name, c)
			}
		}
		if len(page) < pageSize {
			return nil
		}
		after = page[len(page)-1].ID
	}
}

func (s *survey) runs(id fleet.EndpointID, component string, c api.Component) {
	if i, known := s.byName[named(component, c.Version)]; known && s.why[i] == "" {
		s.why[i] = fmt.Sprintf("endpoint %s runs it", id)
	}
	if i, known := s.byName[named(component, c.Previous)]; known && s.why[i] == "" {
		s.why[i] = fmt.Sprintf("endpoint %s would go back to it", id)
	}
	if d := release.Digest(c.Artifact); d.Valid() && s.artifact[d] == "" {
		s.artifact[d] = fmt.Sprintf("endpoint %s runs it", id)
		s.name(d, s.artifact[d])
	}
}

// waiting keeps what may be rolled out yet.
func (s *survey) waiting(ctx context.Context) error {
	recalls, err := s.Store.Recalls(ctx, "")
	if err != nil {
		return err
	}
	recalled := map[release.Digest]bool{}
	for _, r := range recalls {
		recalled[r.Manifest] = true
	}
	for i, p := range s.releases {
		s.need(i, !recalled[p.Digest] && p.Manifest.Serial > s.rolled[p.Manifest.Component], "published, and no newer release was rolled out")
	}
	return nil
}

func (s *survey) pending(ctx context.Context) error {
	if s.Pending == nil {
		return nil
	}
	all, err := s.Pending(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Role == trust.RoleRoot {
			continue // names no artifacts
		}
		meta, err := trust.DecodeTargets(p.Role, p.Metadata)
		if err != nil {
			return fmt.Errorf("read the pending metadata of %s: %w", p.Role, err)
		}
		for path, file := range meta.Signed.Targets {
			d := release.Digest("sha256:" + hex.EncodeToString(file.Hashes["sha256"]))
			if component, version, _, ok := trust.SplitTarget(path); ok {
				if _, published := s.byName[named(component, version)]; published {
					continue // not what waits
				}
			}
			s.name(d, "waits for signatures of "+p.Role)
		}
	}
	return nil
}

// loose names what belongs to no release.
func (s *survey) loose(ctx context.Context) error {
	if s.Uploads != nil {
		for _, d := range s.Uploads() {
			s.name(d, "is being uploaded")
		}
	}
	if s.Pins == nil {
		return nil
	}
	pins, err := s.Pins(ctx)
	for _, d := range pins {
		i, known := s.byDigest[d]
		s.need(i, known, "pinned")
		s.name(d, "pinned")
	}
	return err
}

// tell names everything that belongs to the releases that are needed.
func (s *survey) tell(ctx context.Context) error {
	for i, why := range s.why {
		p := s.releases[i]
		why = fmt.Sprintf("%s %s: %s", p.Manifest.Component, p.Manifest.Version, why)
		s.name(p.Digest, why)
		for _, d := range p.Manifest.Digests() {
			s.artifact[d] = why
			s.name(d, why)
		}
		if s.Derived == nil {
			continue
		}
		derived, err := s.Derived(ctx, p)
		if err != nil {
			return err
		}
		for _, d := range derived {
			s.name(d, why)
		}
	}
	return nil
}

// deltas names those that lead to what is needed.
func (s *survey) deltas(ctx context.Context) error {
	all, err := s.Store.Deltas(ctx, "")
	for _, d := range all {
		if why := s.artifact[d.Artifact]; why != "" {
			s.name(d.Blob, "delta: "+why)
		}
	}
	return err
}
