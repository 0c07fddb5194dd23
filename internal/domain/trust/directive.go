package trust

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// DirectiveWanted is what a directive must be to be believed.
type DirectiveWanted struct {
	Component string
	Newest    int64     // sequence of the newest directive of the component ever accepted; 0 for none
	Now       time.Time // see [LowerBound]
}

// SealDirective signs a directive.
func SealDirective(d api.Directive, signers ...*Signer) ([]byte, error) {
	return seal(api.DirectiveType, d, signers)
}

// OpenDirective verifies a directive. The newest one may be opened again; an older one is a replay and Denied, an expired one is
// Unavailable.
//
// A directive issued ahead of this host's clock is believed, because it may bring a recall and its sequence protects from replays;
// [Newest] sees to it that the time in it is not.
func OpenDirective(envelope []byte, keys Keys, want DirectiveWanted) (api.Directive, error) {
	what := "directive of " + want.Component
	var d api.Directive
	if err := unsealEnvelope(what, api.DirectiveType, envelope, keys, &d); err != nil {
		return api.Directive{}, err
	}
	if err := judgeDirective(what, d, want); err != nil {
		return api.Directive{}, err
	}
	return d, nil
}

func judgeDirective(what string, d api.Directive, want DirectiveWanted) error {
	if d.Component != want.Component {
		return fault.New(fault.Denied, "open %s: it is for component %q", what, d.Component)
	}
	if err := fault.Problems("open "+what, checkDirective(d)); err != nil {
		return err
	}
	if d.Sequence < want.Newest {
		return fault.New(fault.Denied, "open %s: it is a replay: sequence %d is older than %d, which was already seen", what, d.Sequence, want.Newest)
	}
	if !want.Now.Before(d.Expires) {
		return fault.New(fault.Unavailable, "open %s: sequence %d expired at %s, it is now %s", what, d.Sequence, stamp(d.Expires), stamp(want.Now)).
			Hint("Fetch the newest directive; if this is the newest, check this host's clock and that the control plane is running.")
	}
	return nil
}

func checkDirective(d api.Directive) []fault.Problem {
	var problems []fault.Problem
	require := func(ok bool, path, format string, args ...any) {
		if !ok {
			problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
		}
	}
	target := func(path string, t *api.Target) {
		if t != nil {
			require(release.VersionName(t.Version), path+".version", "is not a version: %q", t.Version)
			require(release.Digest(t.Manifest).Valid(), path+".manifest", "is not a digest: %q", t.Manifest)
			problems = append(problems, checkHolds(path+".holds", t.Holds)...)
		}
	}
	require(d.Sequence > 0, "sequence", "must be above 0, is %d", d.Sequence)
	require(!d.Issued.IsZero() && d.Issued.Before(d.Expires), "expires", "must be after issued")
	target("stable", d.Stable)
	target("candidate", d.Candidate)
	for i, r := range d.Recalls {
		path := at("recalls", i)
		require(release.Digest(r.Manifest).Valid(), path+".manifest", "is not a digest: %q", r.Manifest)
		for j, a := range r.Artifacts {
			require(release.Digest(a).Valid(), at(path+".artifacts", j), "is not a digest: %q", a)
		}
	}
	return problems
}

// maxHolds bounds the holds of one target. They are looked at on every check-in.
const maxHolds = 1000

// checkHolds lists what is wrong with holds. A key that is not known here is not wrong: it may be newer than this version, and the
// endpoint counts as picked by it.
func checkHolds(path string, holds []api.Hold) []fault.Problem {
	if len(holds) > maxHolds {
		return []fault.Problem{{Path: path, Message: fmt.Sprintf("are %d; %d is the most", len(holds), maxHolds)}}
	}
	var problems []fault.Problem
	for i, h := range holds {
		for _, key := range slices.Sorted(maps.Keys(h.Select)) {
			if len(h.Select[key]) == 0 {
				problems = append(problems, fault.Problem{Path: at(path, i) + ".select." + key, Message: "has no values, so it holds nobody"})
			}
		}
	}
	return problems
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
