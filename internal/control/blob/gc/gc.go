// Package gc removes blobs that nothing needs.
//
// What is needed is said by roots, which are asked twice: once to find candidates, and again after a pause, just before they go. A blob
// that was put, or touched because somebody is about to name it, within the age of [Options] is never removed, and the store looks at
// that in the same moment in which it removes. So whoever touches a blob and then names it within that age never loses it.
package gc

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Timings.
const (
	DefaultAge  = 7 * 24 * time.Hour // that a blob reaches before it may go
	DefaultWait = 10 * time.Second   // between the first look and the second
	recheck     = time.Minute        // of removing, after which the roots are asked again
)

// Roots say what is needed.
type Roots interface {
	// Needed calls name for every blob that must stay, with the reason in a few words for people. It may name a blob more than once, and
	// blobs that are not there. An error means that it does not know, and then nothing is removed.
	Needed(ctx context.Context, name func(d release.Digest, why string)) error
}

// Blobs is the part of a store of blobs that a collection needs.
type Blobs interface {
	List(ctx context.Context) iter.Seq2[blob.Info, error]
	// RemoveOlder removes a blob unless it was put or touched since before, and tells whether it did.
	RemoveOlder(ctx context.Context, d release.Digest, before time.Time) (bool, error)
}

// Options are what a collection needs to know.
type Options struct {
	Roots Roots
	Blobs Blobs
	Clock clock.Clock
	Age   time.Duration // 0 means DefaultAge
	Wait  time.Duration // 0 means DefaultWait
	Dry   bool          // only look: remove nothing and do not wait
}

// Kept is a blob that stays.
type Kept struct {
	blob.Info
	Why string // the first reason that was given
}

// Report is what a collection did, or would have done.
type Report struct {
	Removed []blob.Info // by digest
	Kept    []Kept      // by digest
	Missing []Kept      // needed, and not there, by digest; Info has the digest only
}

// Young is the reason for which a blob is kept that nothing needs yet.
const Young = "young: somebody may be about to publish it"

// Collect removes what nothing needs. After an error the report says what was removed until then.
func Collect(ctx context.Context, o Options) (Report, error) {
	if o.Age <= 0 {
		o.Age = DefaultAge
	}
	if o.Wait <= 0 {
		o.Wait = DefaultWait
	}
	before := o.Clock.Now().Add(-o.Age)
	report, candidates, err := mark(ctx, o, before)
	if err != nil {
		return Report{}, err
	}
	if o.Dry {
		report.Removed = candidates
		return report, nil
	}
	if len(candidates) == 0 {
		return report, nil
	}
	if err = o.Clock.Sleep(ctx, o.Wait); err != nil {
		return report, fault.New(fault.Unavailable, "collect garbage: %w", err)
	}
	err = report.sweep(ctx, o, candidates, before)
	report.sort()
	return report, err
}

// mark finds what is needed and what may go.
func mark(ctx context.Context, o Options, before time.Time) (Report, []blob.Info, error) {
	needed, err := needs(ctx, o.Roots)
	if err != nil {
		return Report{}, nil, err
	}
	var report Report
	var candidates []blob.Info
	there := map[release.Digest]bool{}
	for info, err := range o.Blobs.List(ctx) {
		if err != nil {
			return Report{}, nil, fmt.Errorf("collect garbage: %w", err)
		}
		there[info.Digest] = true
		why, ok := needed[info.Digest]
		switch {
		case ok:
			report.Kept = append(report.Kept, Kept{info, why})
		case !info.Put.Before(before):
			report.Kept = append(report.Kept, Kept{info, Young})
		default:
			candidates = append(candidates, info)
		}
	}
	for d, why := range needed {
		if !there[d] {
			report.Missing = append(report.Missing, Kept{blob.Info{Digest: d}, why})
		}
	}
	slices.SortFunc(candidates, byDigest)
	report.sort()
	return report, candidates, nil
}

func needs(ctx context.Context, roots Roots) (map[release.Digest]string, error) {
	needed := map[release.Digest]string{}
	err := roots.Needed(ctx, func(d release.Digest, why string) {
		if _, known := needed[d]; !known {
			needed[d] = why
		}
	})
	if err != nil {
		return nil, fmt.Errorf("collect garbage: ask what is needed: %w", err)
	}
	return needed, nil
}

// sweep removes the candidates that still nothing needs and nobody touched.
func (r *Report) sweep(ctx context.Context, o Options, candidates []blob.Info, before time.Time) error {
	var needed map[release.Digest]string
	var asked time.Time
	for i, c := range candidates {
		if now := o.Clock.Now(); i == 0 || now.Sub(asked) >= recheck {
			var err error
			if needed, err = needs(ctx, o.Roots); err != nil {
				return err
			}
			asked = now
		}
		if why, ok := needed[c.Digest]; ok {
			r.Kept = append(r.Kept, Kept{c, why})
			continue
		}
		removed, err := o.Blobs.RemoveOlder(ctx, c.Digest, before)
		switch {
		case err != nil:
			return fmt.Errorf("collect garbage: %w", err)
		case removed:
			r.Removed = append(r.Removed, c)
		default:
			r.Kept = append(r.Kept, Kept{c, Young})
		}
	}
	return nil
}

func (r *Report) sort() {
	for _, list := range [][]Kept{r.Kept, r.Missing} {
		slices.SortFunc(list, func(a, b Kept) int { return byDigest(a.Info, b.Info) })
	}
}

func byDigest(a, b blob.Info) int { return strings.Compare(string(a.Digest), string(b.Digest)) }
