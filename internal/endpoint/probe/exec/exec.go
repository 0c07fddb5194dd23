// Package exec probes with a command of the host that must exit with 0.
package exec

import (
	"context"
	"time"

	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// Probe runs a command.
type Probe struct {
	Argv    []string
	Timeout time.Duration
}

// Check runs the command. One that cannot be started at all tells nothing (fault.Unavailable); one that hangs is bad.
func (p Probe) Check(ctx context.Context) error {
	_, err := process.Run(ctx, process.Command{Argv: p.Argv, Timeout: p.Timeout})
	return err
}
