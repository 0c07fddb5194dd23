package launcher

import (
	"context"
	"errors"
	"os/exec"

	"github.com/firebreak-dev/firebreak/internal/domain/launch"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// The exit statuses of an agent's check.
const (
	checkNothing  = 0  // it asked, and there is nothing to do
	checkSwitched = 10 // the component's link leads to another agent now
	checkFailed   = -1 // whatever else: the control plane may be away, or the check is no good
)

// update lets the good agent look for a better one before another is run; true means that the links have changed. A control plane that is
// away, or a check that is no good, changes nothing.
func (l *launcher) update(ctx context.Context) bool {
	if !l.hasIdentity() {
		return false // it has not joined: there is nobody to ask
	}
	since := l.Clock.Now().Sub(l.checked)
	if l.swapped && since >= 0 && since < l.Times.CheckEvery {
		return false
	}
	return l.check(ctx) == checkSwitched
}

// check runs the good agent's check, and kills it when its time is over.
func (l *launcher) check(ctx context.Context) (status int) {
	const grace = 5 // of its time, the fifth part more
	limit := l.Times.CheckWithin
	path := l.path(launch.Asker(l.State, l.look()))
	_, err := process.Run(ctx, process.Command{
		Argv:    []string{path, "check", "--state", l.AgentState, "--guard", l.GuardDir, "--timeout", limit.String()},
		Timeout: limit + limit/grace, Env: []string{l.quarantined()},
	})
	l.checked = l.Clock.Now()
	if err == nil {
		return checkNothing
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == checkSwitched {
		l.Log("the good agent switched to another one")
		return checkSwitched
	}
	l.Log("going on without a check: %v", err)
	return checkFailed
}
