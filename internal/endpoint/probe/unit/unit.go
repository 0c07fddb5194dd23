// Package unit probes a systemd unit: it must be active, and not have been restarted.
package unit

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// Options set up a probe.
type Options struct {
	Unit      string
	Timeout   time.Duration
	Systemctl string // program; "" means systemctl, found in PATH
}

// Probe asks systemd. It is safe for concurrent use.
type Probe struct {
	Options
	mu     sync.Mutex
	known  bool
	before int // restarts that are not held against the release
}

// New makes a probe that holds against the release whatever restarts systemd makes from now on. If systemd cannot be asked now, then from
// the first check that can.
func New(ctx context.Context, o Options) *Probe {
	if o.Systemctl == "" {
		o.Systemctl = "systemctl"
	}
	p := &Probe{Options: o}
	if _, restarts, err := p.ask(ctx); err == nil {
		p.known, p.before = true, restarts
	}
	return p
}

// Check asks. A systemd that cannot be asked tells nothing (fault.Unavailable), and neither does a unit that is on its way up.
func (p *Probe) Check(ctx context.Context) error {
	state, restarts, err := p.ask(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known || restarts < p.before { // an explicit restart sets systemd's counter to 0
		p.known, p.before = true, restarts
	}
	switch {
	case restarts > p.before:
		return fault.New(fault.Conflict, "unit %s: was restarted %d times since the activation", p.Unit, restarts-p.before)
	case state == "activating" || state == "reloading":
		return fault.New(fault.Unavailable, "unit %s: is %s", p.Unit, state)
	case state != "active":
		return fault.New(fault.Conflict, "unit %s: is %s, not active", p.Unit, state)
	}
	return nil
}

// ask reads the unit's state and systemd's own count of its automatic restarts.
func (p *Probe) ask(ctx context.Context) (state string, restarts int, err error) {
	argv := []string{p.Systemctl, "show", "--property=ActiveState", "--property=NRestarts", "--", p.Unit}
	out, err := process.Run(ctx, process.Command{Argv: argv, Timeout: p.Timeout})
	if err != nil {
		return "", 0, fault.New(fault.Unavailable, "ask for unit %s: %w", p.Unit, err)
	}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ActiveState":
			state = value
		case "NRestarts":
			if restarts, err = strconv.Atoi(value); err != nil {
				return "", 0, fault.New(fault.Unavailable, "ask for unit %s: %w", p.Unit, err)
			}
		}
	}
	if state == "" {
		return "", 0, fault.New(fault.Unavailable, "ask for unit %s: %w", p.Unit, errors.New("systemctl did not tell its state"))
	}
	return state, restarts, nil
}
