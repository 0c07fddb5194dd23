package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// before tells whether the version was published already or waits for signatures: the same content is found, other content is a Conflict.
func (p *Publisher) before(ctx context.Context, v *trust.View, m release.Manifest) (Published, bool, error) {
	r, err := v.Release(m.Component, m.Version)
	if fault.KindOf(err) == fault.NotFound {
		return p.waiting(ctx, v, m)
	}
	if err != nil {
		return Published{}, false, err
	}
	was, err := p.manifest(ctx, r)
	if err != nil {
		return Published{}, false, err
	}
	if problems := differences(was, m); len(problems) > 0 {
		conflict := fault.New(fault.Conflict, "publish %s %s: the version was published with different content", m.Component, m.Version).
			Hint("A version is published once. Choose a new version.")
		conflict.Problems = problems
		return Published{}, false, conflict
	}
	done := api.Submission{Role: m.Component, State: api.SubmissionPublished}
	return Published{Manifest: was, Digest: r.Digest, Submission: done, Before: true}, true, nil
}

// waiting looks among the releases that wait for signatures: the same is found, any other is a Conflict, because the two would be the
// same version of the component's metadata, of which only one can ever be published.
func (p *Publisher) waiting(ctx context.Context, v *trust.View, m release.Manifest) (Published, bool, error) {
	pending, err := p.pending(ctx, m.Component)
	if fault.KindOf(err) == fault.NotFound {
		return Published{}, false, nil
	}
	if err != nil {
		return Published{}, false, err
	}
	fresh, err := Waiting(v.Files()[m.Component+".json"], pending)
	if err != nil || len(fresh) == 0 {
		return Published{}, false, err
	}
	r := fresh[len(fresh)-1]
	was, err := p.manifest(ctx, r)
	if err != nil {
		return Published{}, false, err
	}
	if r.Version == m.Version && len(differences(was, m)) == 0 {
		submission := api.Submission{
			Role: m.Component, Version: pending.Version, State: api.SubmissionPending,
			Signatures: len(pending.SignedBy), Threshold: pending.Threshold,
		}
		return Published{Manifest: was, Digest: r.Digest, Submission: submission, Before: true}, true, nil
	}
	return Published{}, false, fault.New(fault.Conflict, "publish %s %s: version %s waits for %d more signatures", m.Component, m.Version, r.Version,
		max(0, pending.Threshold-len(pending.SignedBy))).
		Hint("Its other owners sign it with 'firebreak key sign %s', or forget it with 'firebreak key discard %s'.", m.Component, m.Component)
}

// Waiting lists the releases that pending metadata of a component would add to the published metadata, which may be nil. Metadata that
// another version has overtaken adds nothing.
func Waiting(published []byte, pending api.PendingMetadata) ([]trust.Release, error) {
	meta, err := trust.DecodeTargets(pending.Role, pending.Metadata)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	if published != nil {
		now, errNow := trust.DecodeTargets(pending.Role, published)
		if errNow != nil {
			return nil, errNow
		}
		if now.Signed.Version >= meta.Signed.Version {
			return nil, nil
		}
		for path := range now.Signed.Targets {
			known[path] = true
		}
	}
	all, err := trust.ReleasesIn(pending.Role, meta)
	return slices.DeleteFunc(all, func(r trust.Release) bool {
		return known[trust.TargetPath(pending.Role, r.Version, trust.ManifestName)]
	}), err
}

// restore uploads the artifacts that the server lost or damaged, and names them.
func (p *Publisher) restore(ctx context.Context, packed []Packed) ([]string, error) {
	var names []string
	for _, artifact := range packed {
		sent, err := p.sendPacked(ctx, artifact)
		if err != nil {
			return names, err
		}
		if sent {
			names = append(names, artifact.Name)
		}
	}
	return names, nil
}

// differences lists what differs in two manifests of one version, but for what differs each time: times, serial, floor, the words of
// validators, and the names of archives, which come from the directories that they were packed from.
func differences(was, is release.Manifest) []fault.Problem {
	is.Serial, is.Floor, is.Created, is.Verdicts = was.Serial, was.Floor, was.Created, was.Verdicts
	is.Artifacts, was.Artifacts = unnamed(is.Artifacts), unnamed(was.Artifacts)
	var problems []fault.Problem
	compare("", tree(was), tree(is), func(path, before, now string) {
		problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf("was published as %s, is now %s", before, now)})
	})
	return problems
}

func unnamed(artifacts []release.Artifact) []release.Artifact {
	all := slices.Clone(artifacts)
	for i := range all {
		if all[i].Format == release.Tar {
			all[i].Name = ""
		}
	}
	return all
}

// tree is a value as JSON has it.
func tree(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var t any
	_ = json.Unmarshal(data, &t) // what was encoded just now
	return t
}

// compare reports the innermost paths at which two trees differ.
func compare(path string, a, b any, report func(path, a, b string)) {
	x, mapA := a.(map[string]any)
	y, mapB := b.(map[string]any)
	if mapA && mapB {
		names := maps.Clone(x)
		maps.Copy(names, y)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			inner := name
			if path != "" {
				inner = path + "." + name
			}
			compare(inner, x[name], y[name], report)
		}
		return
	}
	k, listA := a.([]any)
	l, listB := b.([]any)
	if listA && listB && len(k) == len(l) {
		for i := range k {
			compare(fmt.Sprintf("%s[%d]", path, i), k[i], l[i], report)
		}
		return
	}
	if was, is := leaf(a), leaf(b); was != is {
		report(path, was, is)
	}
}

func leaf(v any) string {
	if v == nil {
		return "nothing"
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
