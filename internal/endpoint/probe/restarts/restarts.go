// Package restarts probes whether a supervised consumer keeps being restarted.
package restarts

import (
	"context"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Supervised is a process that somebody keeps running.
type Supervised interface {
	// Restarts counts the restarts after an end that nobody asked for.
	Restarts() int
	// Running tells whether the process runs now.
	Running() bool
}

// Probe compares the restarts with those before.
type Probe struct {
	process Supervised
	before  int
	most    int
}

// New makes a probe that holds against the release whatever restarts come from now on, beyond most.
func New(p Supervised, most int) *Probe { return &Probe{process: p, before: p.Restarts(), most: most} }

// Check counts. A process that is down at the moment, but not too often, tells nothing yet (fault.Unavailable).
func (p *Probe) Check(context.Context) error {
	if n := p.process.Restarts() - p.before; n > p.most {
		return fault.New(fault.Conflict, "the consumer ended %d times since the activation; %d is the most", n, p.most)
	}
	if !p.process.Running() {
		return fault.New(fault.Unavailable, "the consumer is not running at the moment")
	}
	return nil
}
