// Package probe asks whether a consumer is well with the release that it was given. Each kind of probe has a package below; [Build] is
// the list of them.
//
// An answer is one of three: well (nil), bad (an error), or inconclusive (an error of kind fault.Unavailable, see [Inconclusive]).
// Evidence is positive: an inconclusive probe confirms nothing, but it is no reason to revert either.
package probe

import (
	"context"
	"path/filepath"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe/exec"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe/http"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe/loaded"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe/restarts"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe/tcp"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe/unit"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// Probe is one question.
type Probe interface {
	// Name names the probe within its component, for people.
	Name() string
	// Check asks once, within the probe's own timeout. It returns nil if all is well.
	Check(ctx context.Context) error
}

// Inconclusive tells whether a probe could not judge: its error says that it cannot be asked at the moment, or it was interrupted.
func Inconclusive(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || fault.KindOf(err) == fault.Unavailable)
}

// Site is what probes need to know of the host.
type Site struct {
	FS         disk.FS
	Dir        string              // of the slot in use, links resolved
	Supervised restarts.Supervised // the consumer's supervisor; nil if the agent does not run it
	Systemctl  string              // program; "" means systemctl, found in PATH
}

// Build makes the probes of a resolved component file. Call it before the activation: probes that count restarts count from then on.
// After a restart of the agent the count begins anew.
func Build(ctx context.Context, f component.File, s Site) ([]Probe, error) {
	probes := make([]Probe, 0, len(f.Probes))
	for _, p := range f.Probes {
		c, err := build(ctx, p, s)
		if err != nil {
			return nil, err
		}
		probes = append(probes, named{p.Name, c})
	}
	return probes, nil
}

type checker interface {
	Check(ctx context.Context) error
}

type named struct {
	name string
	checker
}

func (n named) Name() string { return n.name }

// build is the list of kinds.
func build(ctx context.Context, p component.Probe, s Site) (checker, error) {
	timeout := time.Duration(p.Timeout)
	if timeout <= 0 {
		timeout = time.Duration(component.DefaultTimeout)
	}
	switch {
	case p.Exec != nil:
		return exec.Probe{Argv: p.Exec, Timeout: timeout}, nil
	case p.HTTP != nil:
		return http.Probe{HTTP: *p.HTTP, FS: s.FS, Timeout: timeout}, nil
	case p.TCP != "":
		return tcp.Probe{Address: p.TCP, Timeout: timeout}, nil
	case p.Unit != "":
		return unit.New(ctx, unit.Options{Unit: p.Unit, Timeout: timeout, Systemctl: s.Systemctl}), nil
	case p.Restarts != nil && s.Supervised != nil:
		return restarts.New(s.Supervised, p.Restarts.Max), nil
	case p.Loaded != nil:
		return loaded.Probe{FS: s.FS, Path: filepath.Join(s.Dir, filepath.FromSlash(p.Loaded.File)), Ask: ask(*p.Loaded, s, timeout)}, nil
	default:
		return nil, fault.New(fault.Internal, "build probe %q: is of no kind that fits this component", p.Name)
	}
}

// ask tells how the consumer says what it loaded.
func ask(l component.Loaded, s Site, timeout time.Duration) func(context.Context) ([]byte, error) {
	switch {
	case l.HTTP != nil:
		return http.Probe{HTTP: *l.HTTP, FS: s.FS, Timeout: timeout}.Get
	case l.Exec != nil:
		return func(ctx context.Context) ([]byte, error) {
			out, err := process.Run(ctx, process.Command{Argv: l.Exec, Timeout: timeout})
			return []byte(out), err
		}
	default:
		return func(context.Context) ([]byte, error) {
			said, err := disk.ReadFile(s.FS, l.Path, http.MaxBody)
			if err != nil {
				return nil, fault.New(fault.Conflict, "read what the consumer wrote: %w", err)
			}
			return said, nil
		}
	}
}
