package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/consumer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/fetch"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// unit is one component at work: its installer, its consumer, its probes, and the jobs that run for it.
type unit struct {
	file       component.File
	dir        string // state of the component
	fs         disk.FS
	clock      clock.Clock
	installer  installer.Installer
	linked     bool                 // see craft
	supervisor *consumer.Supervisor // nil if the agent does not run the consumer
	exits      consumer.Exits       // of a consumer that systemd runs
	own        probe.Probe          // of the agent itself; nil for all other components

	switched time.Time // of current, since the agent started; only jobs touch it, and they run one at a time
	unwell   bool      // the probes said no before the swap; likewise

	// Guarded by the agent's lock.
	prepared release.Manifest
	watched  release.Digest // what the vigil is for
	job      slot           // prepare, swap, prove or restore
	vigil    slot           // looks for late harm
}

// reserve is what must stay free on the file system beside a download.
const reserve = 16 << 20

func newUnit(o Options, f component.File) (*unit, error) {
	dir := filepath.Join(o.StateDir, "components", f.Component)
	u := &unit{dir: dir, fs: o.FS, clock: o.Clock, exits: consumer.Exits{FS: o.FS, Dir: filepath.Join(o.StateDir, ExitsDir)}}
	if f.Kind == release.Agent && o.Notify == nil {
		return nil, fault.New(fault.Conflict, "this agent has no launcher, which would start another one").Hint("start it with 'firebreak-guard launch'")
	}
	err := u.make()
	if err == nil {
		u.installer, u.linked, err = openInstaller(o, f, dir)
	}
	if err != nil {
		return nil, err
	}
	f = f.Resolve(currentOf(dir))
	u.file = f
	if len(f.Consumer.Run) > 0 {
		u.supervisor = consumer.NewSupervisor(consumer.Options{
			Argv: f.Consumer.Run, FS: o.FS, PIDFile: filepath.Join(dir, "consumer.pid"), Clock: o.Clock, Log: o.Log, Output: os.Stderr,
		})
	}
	return u, nil
}

// ExitsDir is the directory below the agent's state in which bad ends of consumers are noted.
const ExitsDir = "exits"

// make makes the component's directories if need be: somebody may have removed them under the running agent.
func (u *unit) make() error {
	err := disk.MkdirAll(u.fs, filepath.Join(u.dir, "download"), 0o755)
	if err == nil {
		err = slots.Dir{FS: u.fs, Path: u.dir}.Make()
	}
	return disk.Explain(err, "make the directory of component %s", filepath.Base(u.dir))
}

// downloadWithin bounds one attempt, so that a server that stalls does not hold it for ever. The next one goes on where it stopped.
const downloadWithin = 10 * time.Minute

// download fetches an artifact into a file of the component's own. What the found slots hold need not be moved again.
func (u *unit) download(ctx context.Context, o fetch.Options, url, path string, artifact release.Artifact, found installer.Inspection) error {
	ctx, cancel := context.WithTimeout(ctx, downloadWithin)
	defer cancel()
	o.FS, o.Reserve = u.fs, reserve
	r := fetch.Request{URL: url, Digest: artifact.Digest, Size: artifact.Size, Path: path, Format: artifact.Format}
	for _, s := range []installer.Slot{found.Current, found.Previous} {
		if slices.Contains(found.Slots, s) {
			r.Bases = append(r.Bases, slots.Dir{FS: u.fs, Path: u.dir}.Slot(s))
		}
	}
	return fetch.New(o).Fetch(ctx, r)
}

// isUnwell tells whether the probes say no of what runs now. Nothing, or what cannot be judged, is not unwell.
func (u *unit) isUnwell(ctx context.Context, current install.Slot) bool {
	if current == "" {
		return false
	}
	t, err := u.newTrial(ctx, current)
	return err == nil && t.round(ctx).bad
}

// canProve tells whether this host can say "confirmed" before the lease's deadline. If it cannot it would count as silent, and a good
// release would be halted for it.
func (u *unit) canProve(l api.Lease) error {
	need := time.Duration(u.file.Grace + u.file.Soak + 2*u.file.Interval)
	if have := l.Deadline.Sub(l.Issued); have < need {
		return fault.New(fault.Unavailable, "use lease %s: its deadline is %s after its grant, and this host takes %s to prove a release", l.ID, have, need).
			Hint("make the plan's lease.deadline longer, or the component file's soak shorter")
	}
	return nil
}

// youngest is the age below which a process may not have set up its signal handlers yet.
const youngest = 500 * time.Millisecond

// tell tells the consumer of what is current now. A supervised process that was started after the switch found it already.
func (u *unit) tell(ctx context.Context) error {
	if u.supervisor != nil {
		stats := u.supervisor.Stats()
		if stats.Running && stats.Since.After(u.switched) {
			return nil
		}
		if err := u.clock.Sleep(ctx, max(0, youngest-u.clock.Now().Sub(stats.Since))); err != nil {
			return err
		}
	}
	return consumer.Teller{FS: u.fs}.Tell(ctx, u.file.Consumer, u.supervisor)
}

// slot runs one goroutine at a time: a new one starts when the one before has ended.
type slot struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin cancels what runs in the slot and starts job after it. The wait group waits for it; it ends when its context does.
func (s *slot) begin(ctx context.Context, jobs *sync.WaitGroup, job func(context.Context)) {
	s.stop()
	ctx, s.cancel = context.WithCancel(ctx)
	before, done := s.done, make(chan struct{})
	s.done = done
	cancel := s.cancel
	jobs.Go(func() {
		defer close(done)
		defer cancel()
		if before != nil {
			<-before
		}
		if ctx.Err() == nil {
			job(ctx)
		}
	})
}

func (s *slot) stop() {
	if s.cancel != nil {
		s.cancel()
	}
}

func (u *unit) stop() {
	u.job.stop()
	u.vigil.stop()
}
