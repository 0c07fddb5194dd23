package agent

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/consumer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe"
)

// trial is one examination of a release: its probes, and what the consumer looked like when it began.
type trial struct {
	probes     []probe.Probe
	supervisor *consumer.Supervisor // may be nil
	restarts   int                  // before
	unit       *unit
	since      time.Time // exits that were noted from then on count
}

// finding is what one round of probes found.
type finding struct {
	well    bool
	bad     bool // neither well nor bad: it could not be judged
	crashed bool // bad, and the consumer died
	why     string
	crash   *install.Crash // how, if that is known
}

// newTrial begins a trial of the slot. Call it before the switch: restarts count from here on. A component that was taken away has
// nothing that could be loaded.
func (u *unit) newTrial(ctx context.Context, slot install.Slot) (trial, error) {
	f := u.file
	site := probe.Site{FS: u.fs, Dir: filepath.Join(u.dir, "slots", string(slot))}
	t := trial{supervisor: u.supervisor, unit: u, since: u.clock.Now()}
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
	if u.own != nil {
		t.probes = append(t.probes, u.own)
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
	if exit := t.died(found.bad); exit != nil {
		found.well, found.bad, found.crashed, found.crash = false, true, true, crash(exit)
		if found.why == "" {
			found.why = "the consumer died"
		}
		found.why += lastWords(exit)
	}
	return found
}

// lastWords tells how the consumer died, for the end of a sentence: how it ended, the line that says most, and the signature that equal
// crashes share on all hosts.
func lastWords(e *consumer.Exit) string {
	return fmt.Sprintf("; it ended with %s: %s (signature %s)", e.Message, e.Headline, e.Signature)
}

// died is how the consumer died since the trial began; nil if it did not. One that the agent supervises may be restarted as often as its
// probes say; of one that systemd runs, only bad ends are noted at all.
func (t trial) died(bad bool) *consumer.Exit {
	if bad && t.supervisor != nil && t.supervisor.Restarts() > t.restarts {
		return t.supervisor.Stats().Last
	}
	if ends := t.unit.exits.Since(t.since, t.unit.file.Component, t.unit.file.Consumer.Unit); len(ends) > 0 {
		return &ends[len(ends)-1]
	}
	return nil
}

// proving notes from when on bad ends of the consumer count against what is current, for an agent that is started later in this boot.
func (a *Agent) proving(ctx context.Context, u *unit, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.memory.Switched[u.file.Component]
	s.Proving = since.UTC().Round(0)
	a.memory.Switched[u.file.Component] = s
	if err := a.save(); err != nil {
		a.Log.ErrorContext(ctx, "the journal cannot be written", slog.Any("error", err))
	}
}

// diedUnseen is how a consumer that systemd runs died while what is current was being proved and no agent ran; nil if it did not. What was
// noted in another boot does not count: consumers may end badly when their host is shut down.
func (a *Agent) diedUnseen(u *unit) *consumer.Exit {
	a.mu.Lock()
	s := a.memory.Switched[u.file.Component]
	a.mu.Unlock()
	since := s.Proving
	if since.IsZero() && u.linked && u.file.Consumer.Tell.Unit == "" { // nothing that the agent did since the switch ends a consumer
		since = s.At
	}
	if since.IsZero() || s.Boot != a.Boot {
		return nil
	}
	return trial{unit: u, since: since}.died(false)
}

func crash(e *consumer.Exit) *install.Crash {
	return &install.Crash{Signal: e.Signal, Status: e.Status, Signature: e.Signature, Headline: e.Headline}
}
