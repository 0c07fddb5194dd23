package agent

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/consumer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe"
)

// trial is one examination of a release: its probes, and what the consumer looked like when it began.
type trial struct {
	probes     []probe.Probe
	supervisor *consumer.Supervisor // may be nil
	restarts   int                  // before
}

// finding is what one round of probes found.
type finding struct {
	well    bool
	bad     bool // neither well nor bad: it could not be judged
	crashed bool // bad, and the consumer died
	why     string
}

// newTrial begins a trial of the slot. Call it before the switch: restarts count from here on. A component that was taken away has
// nothing that could be loaded.
func (u *unit) newTrial(ctx context.Context, slot install.Slot) (trial, error) {
	f := u.file
	site := probe.Site{FS: u.fs, Dir: filepath.Join(u.dir, "slots", string(slot))}
	t := trial{supervisor: u.supervisor}
	if u.supervisor != nil {
		site.Supervised, t.restarts = u.supervisor, u.supervisor.Restarts()
	}
	if slot == "" {
		kept := f.Probes[:0:0]
		for _, p := range f.Probes {
			if p.Loaded == nil {
				kept = append(kept, p)
			}
		}
		f.Probes = kept
	}
	var err error
	if t.probes, err = probe.Build(ctx, f, site); err != nil {
		return trial{}, fmt.Errorf("prepare the probes of %s: %w", f.Component, err)
	}
	return t, nil
}

// round asks every probe once. Bad beats inconclusive, and a dead consumer beats all.
func (t trial) round(ctx context.Context) finding {
	found := finding{well: true}
	for _, p := range t.probes {
		err := p.Check(ctx)
		switch {
		case err == nil:
		case probe.Inconclusive(ctx, err):
			found.well = false
			if found.why == "" {
				found.why = err.Error()
			}
		case !found.bad:
			found = finding{bad: true, why: p.Name() + ": " + err.Error()}
		}
	}
	if found.bad && t.supervisor != nil && t.supervisor.Restarts() > t.restarts {
		found.crashed = true
		found.why += lastExit(t.supervisor)
	}
	return found
}

// lastExit tells how the consumer died: how it ended, its last words that say most, and the signature that equal crashes share on all
// hosts.
func lastExit(s *consumer.Supervisor) string {
	exit := s.Stats().Last
	if exit == nil {
		return ""
	}
	return fmt.Sprintf("; it ended with %s: %s (signature %s)", exit.Message, exit.Headline, exit.Signature)
}
