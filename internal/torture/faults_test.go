//go:build unix

package torture

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
)

// harm is one thing that can be done to an installation. What it is done to is free while nothing else is done to it.
type harm struct {
	name   string
	target string
	most   time.Duration // how long it may last
	do     func()
	undo   func()
}

// bout is how long harm is done before there is a pause, in which hosts have some polls: thousands of them poll seldom, and would hardly get
// a lease else.
const bout = 20 * time.Second

// inflict does harm, again and again, until ctx ends; then everything is mended.
func (w *world) inflict(ctx context.Context) {
	random := w.randomOf(3)
	var under sync.WaitGroup
	var mu sync.Mutex
	taken := map[string]bool{}
	all := w.harms() //nolint:contextcheck // what is begun is undone, whatever ended
	for pause := now().Add(bout); (clock.Wall{}).Sleep(ctx, time.Duration(300+random.IntN(2200))*time.Millisecond) == nil; {
		if now().After(pause) {
			_ = clock.Wall{}.Sleep(ctx, 3*w.poll)
			pause = now().Add(bout)
		}
		h := all[random.IntN(len(all))]
		lasts := time.Duration(random.Int64N(int64(h.most)))
		mu.Lock()
		free := !taken[h.target]
		taken[h.target] = true
		mu.Unlock()
		if !free {
			continue
		}
		w.happened(h, lasts)
		under.Go(func() {
			h.do()
			_ = clock.Wall{}.Sleep(ctx, lasts)
			h.undo()
			mu.Lock()
			defer mu.Unlock()
			taken[h.target] = false
		})
	}
	under.Wait()
}

func (w *world) happened(h harm, lasts time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[h.name]++
	at := now().Sub(w.begun).Round(time.Millisecond)
	w.schedule = append(w.schedule, fmt.Sprintf("%10v  %s: %s for %v", at, h.target, h.name, lasts.Round(time.Millisecond)))
}

func (w *world) harms() []harm {
	var all []harm
	for _, p := range w.planes {
		start := func() {
			if err := p.start(); err != nil {
				w.violated("goes on", "start %s: %v", p.told.Replica, err)
			}
		}
		name := p.told.Replica
		kill := harm{"kill -9 of a replica", name, 2 * time.Second, p.kill, start}
		stop := harm{
			"SIGSTOP of a replica", name, 3 * p.told.Life, func() { p.signal(syscall.SIGSTOP) }, func() { p.signal(syscall.SIGCONT) },
		}
		orderly := harm{"SIGTERM of a replica", name, time.Second, func() {
			if !p.stop(40 * time.Second) {
				w.violated("goes on", "%s did not end within 40 s of SIGTERM:\n%s", name, tail(p.log.String()))
			}
		}, start}
		all = append(all, kill, kill, stop, stop, orderly)
		all = append(all, w.clocks(p)...)
		all = append(all, weathers("hosts of "+name, "hosts' line", p.agents)...)
		if p.database != nil {
			all = append(all, weathers("database of "+name, "database line", p.database)...)
		}
	}
	if w.small != "" {
		free, target := func() {}, "disk"
		if w.server != nil {
			target = "postgres" // which cannot start on a full disk, whoever restarts it
		}
		full := harm{"full disk", target, 8 * time.Second, func() { free = w.fill() }, func() { free() }}
		all = append(all, slices.Repeat([]harm{full}, len(w.planes))...)
	}
	if w.server != nil {
		restart := func() { w.server.Start(w.t) }
		all = append(all, slices.Repeat([]harm{
			{"kill of PostgreSQL", "postgres", 2 * time.Second, func() { w.server.Kill(w.t) }, restart},
			{"stop of PostgreSQL", "postgres", 2 * time.Second, func() { w.server.Stop(w.t) }, restart},
			{"SIGSTOP of PostgreSQL", "postgres", 5 * time.Second, func() { w.server.Pause(w.t) }, func() { w.server.Resume(w.t) }},
		}, 2)...)
	}
	return all
}

func weathers(target, what string, l *line) []harm {
	var all []harm
	for _, bad := range []weather{cut, stalled, slow} {
		all = append(all, harm{what + " " + string(bad), target, 5 * time.Second, func() { l.set(bad) }, func() { l.set(fair) }})
	}
	return all
}
