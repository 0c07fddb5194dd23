//go:build unix

package torture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
)

// torture lets everything happen, and then looks what is left.
func (w *world) torture(length time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	defer cancel()
	w.begun = now()
	var hosts, others sync.WaitGroup
	for _, h := range w.hosts {
		hosts.Go(func() { h.run(ctx) })
	}
	busy, enough := context.WithTimeout(ctx, length)
	defer enough()
	others.Go(func() { w.operate(busy) })
	others.Go(func() { w.supervise(busy) })
	w.stage("things break")
	w.inflict(busy)
	others.Wait()
	w.stage("all is mended")
	w.settle()
	w.stage("clocks are set, and nothing else")
	w.stepClocks(length / 6)
	w.stage("the rest is told")
	w.settle()
	cancel()
	hosts.Wait()
	w.stage("audit")
	w.close()
	w.audit()
	w.tell(length)
}

// stage says what comes next.
func (w *world) stage(what string) {
	w.t.Helper()
	w.t.Logf("after %v: %s", now().Sub(w.begun).Round(100*time.Millisecond), what)
}

// supervise starts planes again that ended by themselves, as those do that find no database when they start.
func (w *world) supervise(ctx context.Context) {
	for (clock.Wall{}).Sleep(ctx, time.Second) == nil {
		for _, p := range w.planes {
			if !p.gone() {
				continue
			}
			w.count("planes that ended by themselves")
			if err := p.start(); err != nil {
				w.violated("goes on", "start %s: %v", p.told.Replica, err)
			}
		}
	}
}

// settle mends everything, and waits until the hosts have told the rest.
func (w *world) settle() {
	w.t.Helper()
	w.become(settling)
	err := w.within(patience, func() error {
		for _, p := range w.planes {
			if err := p.start(); err != nil { // whatever ended is started again
				return err
			}
		}
		for _, c := range w.clients {
			if _, err := c.PutFreezes(w.t.Context(), api.Freezes{Freezes: []api.Freeze{}}); err != nil { // only a leader can
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.violated("goes on", "no fault is left, and not every plane carries out a command: %v", err)
	}
	w.hear()
}

// hear waits until every host had an answer, and nothing is told any more.
func (w *world) hear() {
	mended, sent, quiet := now().UnixNano(), int64(-1), 0
	err := w.within(2*patience, func() error {
		silent := 0
		for _, h := range w.hosts {
			if h.heard.Load() < mended {
				silent++
			}
		}
		if silent > 0 {
			return fmt.Errorf("%d hosts had no answer", silent)
		}
		<-after(w.poll)
		if news := w.counted("reports acknowledged"); news != sent {
			sent, quiet = news, 0
		}
		if quiet++; quiet < 4 {
			return errors.New("hosts have reports that are not acknowledged")
		}
		return nil
	})
	if err != nil {
		w.violated("goes on", "no fault is left: %v", err)
	}
}

func (w *world) counted(what string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[what]
}

// close ends the planes in good order.
func (w *world) close() {
	w.t.Helper()
	for _, p := range w.planes {
		if !p.stop(30 * time.Second) {
			w.violated("goes on", "%s did not end within 30 s of SIGTERM", p.told.Replica)
		}
		for _, what := range misfortunes.FindAllString(p.log.String(), 3) {
			w.violated("goes on", "%s said: %s", p.told.Replica, what)
		}
	}
	for i, h := range w.hosts {
		if !h.joined() {
			w.violated("goes on", "host %d could not join after all faults were over", i)
		}
		if len(h.waiting) > 0 {
			w.violated("goes on", "%s has %d reports that were not acknowledged after all faults were over", h.record.Endpoint, len(h.waiting))
		}
	}
}

// tell prints the figures, and fails the test if anything is there that must not be.
func (w *world) tell(length time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var out strings.Builder
	fmt.Fprintf(&out, "%v, %d plane(s), seed %d\n", length, len(w.planes), w.seed)
	operations := w.counts["check-ins"] + w.counts["joins"] + w.counts["reports acknowledged"] + w.counts["leases"]
	var faults int64
	for _, n := range w.faults {
		faults += n
	}
	fmt.Fprintf(&out, "%d endpoints, %d operations (%d check-ins, %d joins, %d reports, %d leases), %d faults, %d terms, %d violations\n\n", w.counts["hosts"],
		operations, w.counts["check-ins"], w.counts["joins"], w.counts["reports acknowledged"], w.counts["leases"], faults, w.counts["terms"], len(w.violations))
	for _, table := range []map[string]int64{w.counts, w.faults} {
		var names []string
		for name := range table {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(&out, "  %-45s %8d\n", name, table[name])
		}
		fmt.Fprintln(&out)
	}
	fmt.Fprintf(&out, "  %-45s %8d\n", "violations", len(w.violations))
	w.t.Log(out.String())
	if len(w.violations) == 0 {
		return
	}
	w.t.Errorf("with -seed %d:\n%s\nthe schedule was:\n%s", w.seed, strings.Join(w.violations, "\n"), strings.Join(w.schedule, "\n"))
}
