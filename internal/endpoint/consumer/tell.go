package consumer

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// Teller tells consumers of a new release.
type Teller struct {
	FS        disk.FS
	Systemctl string // program; "" means systemctl, found in PATH
}

// Tell tells the consumer in the way that its component file names, or does nothing if it names none. The supervisor is the one that
// runs the consumer, nil if the agent does not. The file's placeholders must have been resolved.
func (t Teller) Tell(ctx context.Context, c component.Consumer, s *Supervisor) error {
	timeout := time.Duration(c.Tell.Timeout)
	if timeout <= 0 {
		timeout = time.Duration(component.DefaultTellTimeout)
	}
	switch {
	case c.Tell.Unit != "":
		return t.unit(ctx, c, timeout)
	case c.Tell.Command != nil:
		return run(ctx, c.Tell.Command, timeout)
	case c.Tell.PIDFile != "":
		return t.signalFile(c.Tell)
	case c.Tell.Signal != "" || c.Tell.Restart:
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return supervised(limited, c.Tell, s)
	default:
		return nil
	}
}

// unit tells a unit. One that is down, because the release before killed it, cannot be reloaded; it is started, however often systemd had to
// start it before.
func (t Teller) unit(ctx context.Context, c component.Consumer, timeout time.Duration) error {
	systemctl := t.Systemctl
	if systemctl == "" {
		systemctl = "systemctl"
	}
	verb := c.Tell.Unit
	if verb == "reload" && t.down(ctx, systemctl, c.Unit, timeout) {
		verb = "restart"
	}
	if verb == "restart" {
		_ = run(ctx, []string{systemctl, "reset-failed", c.Unit}, timeout) // best effort: the restart tells what is wrong
	}
	return run(ctx, []string{systemctl, verb, c.Unit}, timeout)
}

// down tells whether systemd says that a unit does not run.
func (Teller) down(ctx context.Context, systemctl, unit string, timeout time.Duration) bool {
	err := run(ctx, []string{systemctl, "is-active", "--quiet", unit}, timeout)
	return err != nil && fault.KindOf(err) == fault.Conflict
}

func run(ctx context.Context, argv []string, timeout time.Duration) error {
	if _, err := process.Run(ctx, process.Command{Argv: argv, Timeout: timeout}); err != nil {
		return fault.New(fault.KindOf(err), "tell the consumer: %w", err)
	}
	return nil
}

// supervised tells a process that the agent runs. One that is down starts at once: it will find the new release.
func supervised(ctx context.Context, t component.Tell, s *Supervisor) error {
	if s == nil {
		return fault.New(fault.Internal, "tell the consumer: the agent does not run it")
	}
	var err error
	if t.Signal != "" {
		err = s.Signal(t.Signal)
	}
	if t.Restart || errors.Is(err, ErrNotRunning) {
		err = s.Restart(ctx)
	}
	switch {
	case err == nil:
		return nil
	case fault.KindOf(err) == fault.Conflict: // it cannot be started, which is the release's doing if it is its program
		return fault.New(fault.Conflict, "tell the consumer: %w", err)
	default:
		return fault.New(fault.Unavailable, "tell the consumer: %w", err)
	}
}

// signalFile sends a signal to the process whose number is in a file.
func (t Teller) signalFile(tell component.Tell) error {
	const limit = 64
	data, err := disk.ReadFile(t.FS, tell.PIDFile, limit)
	if err != nil {
		return fault.New(fault.Unavailable, "tell the consumer: %w", err).Hint("start the consumer, or mend pid_file in the component file")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return fault.New(fault.Conflict, "tell the consumer: %s holds %q, which is no process to signal", tell.PIDFile, data)
	}
	if err := process.Signal(pid, tell.Signal); err != nil {
		return fault.New(fault.Unavailable, "tell the consumer: signal %s to process %d: %w", tell.Signal, pid, err)
	}
	return nil
}
