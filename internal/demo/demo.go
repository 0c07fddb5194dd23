// Package demo plays the main job on real processes: a control plane, a fleet of agents each with its own identity, and a consumer that
// each of them supervises. A good release reaches everybody, a defective one stops at the first hosts and heals, a mended one follows.
//
// It uses what a user would: the binaries, their command lines and the operator API. What it reports at the end comes from the stores.
package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Options say how to play it.
type Options struct {
	Exit    bool   // end after the table; otherwise keep everything running until the context ends
	JSON    string // file for the result; empty for none
	Agents  int
	Bin     string   // directory of the binaries firebreak, firebreak-agent and sensor
	Example string   // directory of examples/sensor, for the content
	Environ []string // of the operator's commands
	Out     io.Writer
	Clock   clock.Clock
}

// Result is what the stores say at the end.
type Result struct {
	Fleet     int       `json:"fleet"`
	Good      Good      `json:"good"`
	Bad       Bad       `json:"bad"`
	Latecomer Latecomer `json:"latecomer"`
	Mended    Good      `json:"mended"`
}

// Good is a release that everybody got.
type Good struct {
	Confirmed int `json:"confirmed"`
}

// Bad is the defective release.
type Bad struct {
	Leased        int     `json:"leased"`
	Harmed        int     `json:"harmed"`
	Recovered     int     `json:"recovered"` // harmed hosts that run the good release again
	NeverExposed  int     `json:"never_exposed"`
	SecondsToHalt float64 `json:"seconds_to_halt"` // from the first report of harm to the halt
	Incident      string  `json:"incident"`

	recovery float64 // seconds from the first report of harm to the last recovery
}

// Latecomer is the host that joined after the halt.
type Latecomer struct {
	ActivatedBad bool `json:"activated_bad"`
}

const component = "sensor-content"

// Limits of patience, generous for slow machines. The whole demo takes much less.
const (
	patience = 2 * time.Minute
	look     = 150 * time.Millisecond
)

// show is one run of the demo.
type show struct {
	Options
	dir     string
	fleet   fleet
	api     *client.Client
	env     []string // of the operator's commands
	started time.Time
}

// Run plays the demo. It stops every process it started before it returns.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp("", "firebreak-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	s := &show{Options: o, dir: dir, started: o.Clock.Now()}
	s.fleet.dir, s.fleet.bin = dir, o.Bin
	defer func() {
		s.fleet.stop()
		if err == nil {
			err = os.RemoveAll(dir)
			return
		}
		s.say("the logs are kept in %s", dir)
	}()
	result, err := s.play(ctx)
	if err != nil {
		return err
	}
	s.table(result)
	if err := s.write(result); err != nil {
		return err
	}
	if o.Exit {
		return nil
	}
	s.say("\nConsole: %s   token: %s\nEverything keeps running; end it with Ctrl-C.", s.fleet.control.url, s.fleet.control.token)
	<-ctx.Done()
	return nil
}

func (s *show) play(ctx context.Context) (Result, error) {
	if err := s.setUp(ctx); err != nil {
		return Result{}, err
	}
	s.title("1. Content v1 goes through the rings")
	good, err := s.rollOut(ctx, "v1", "--validator", s.validator())
	if err != nil {
		return Result{}, err
	}
	if good.Phase != "complete" {
		return Result{}, fault.New(fault.Internal, "play the demo: v1 ended as %s: %s", good.Phase, good.Reason)
	}
	s.title("2. Content v2 is defective: it names a 21st input, and its validator is told to trust it")
	bad, err := s.rollOut(ctx, "v2", "--validator", strings.Replace(s.validator(), "{dir}", "--trust-definition {dir}", 1))
	if err != nil {
		return Result{}, err
	}
	if err = s.awaitRecovery(ctx, bad.ID); err != nil {
		return Result{}, err
	}
	latecomer, err := s.latecomer(ctx)
	if err != nil {
		return Result{}, err
	}
	s.title("3. Content v3 is mended")
	mended, err := s.rollOut(ctx, "v3", "--validator", s.validator())
	if err != nil {
		return Result{}, err
	}
	return s.result(ctx, good.ID, bad.ID, mended.ID, latecomer)
}

// setUp starts the control plane and the fleet and registers component, plan and keys.
func (s *show) setUp(ctx context.Context) error {
	s.title("Setting up %d agents, each with its own identity and its own consumer", s.Agents)
	if err := s.fleet.startControl(ctx); err != nil {
		return err
	}
	control := s.fleet.control
	s.env = append(slices.Clone(s.Environ), "FIREBREAK_SERVER="+control.url, "FIREBREAK_TOKEN="+control.token, "FIREBREAK_KEYS="+filepath.Join(s.dir, "keys"))
	var err error
	if s.api, err = client.New(control.url, control.token); err != nil {
		return err
	}
	s.say("control plane at %s, agents over mutual TLS at %s", control.url, control.agents)
	if err := os.WriteFile(filepath.Join(s.dir, "demo.yaml"), fmt.Appendf(nil, resources, early(s.Agents)), 0o600); err != nil {
		return err
	}
	for _, command := range [][]string{{"apply", "-f", filepath.Join(s.dir, "demo.yaml")}, {"key", "init", component}} {
		if err := s.command(ctx, command...); err != nil {
			return err
		}
	}
	for i := range s.Agents {
		if err := s.fleet.startAgent(ctx, i+1); err != nil {
			return err
		}
	}
	return s.await(ctx, fmt.Sprintf("all %d agents to check in", s.Agents), func() (bool, error) {
		ready, err := s.running(ctx, "")
		return ready == s.Agents, err
	})
}

// rollOut publishes a version and rolls it out, telling what happens, until nothing more will.
func (s *show) rollOut(ctx context.Context, version string, publish ...string) (api.Rollout, error) {
	content := filepath.Join(s.Example, "content", version)
	if err := s.command(ctx, append([]string{"release", "publish", component, version, content, "--plan", "demo"}, publish...)...); err != nil {
		return api.Rollout{}, err
	}
	if err := s.command(ctx, "rollout", "start", component, version); err != nil {
		return api.Rollout{}, err
	}
	rollouts, err := s.api.Rollouts(ctx, component)
	if err != nil {
		return api.Rollout{}, err
	}
	var last api.Rollout
	told := ""
	err = s.await(ctx, "the rollout of "+version+" to end", func() (bool, error) {
		now, failed := s.api.Rollout(ctx, rollouts[0].ID)
		if failed != nil {
			return false, failed
		}
		if line := progress(now); line != told {
			told = line
			s.say("%s", line)
		}
		last = now
		return now.Phase != "running", nil
	})
	if err == nil {
		s.say("%s: %s", last.Phase, last.Reason)
	}
	return last, err
}

func progress(r api.Rollout) string {
	ring := r.Rings[r.Ring]
	line := fmt.Sprintf("%-8s %-7s leased %2d  confirmed %2d  harmed %d  E %.3g", r.Version, ring.Name, r.Exposed, r.Confirmed, r.Harmed, r.Evidence)
	if r.Alarm != "quiet" {
		line += "  " + r.Alarm
	}
	return line
}

// awaitRecovery waits until every harmed host says that it runs the good release again.
func (s *show) awaitRecovery(ctx context.Context, id string) error {
	recovered := int64(-1)
	return s.await(ctx, "the harmed hosts to recover by themselves", func() (bool, error) {
		r, err := s.api.Rollout(ctx, id)
		if err == nil && r.Recovered != recovered {
			recovered = r.Recovered
			s.say("recovered %d of %d harmed hosts; nobody touched them", r.Recovered, r.Harmed)
		}
		return err == nil && r.Harmed > 0 && r.Recovered >= r.Harmed, err
	})
}

// latecomer lets one more host join after the halt, and waits for the release that it takes.
func (s *show) latecomer(ctx context.Context) (endpoint string, err error) {
	s.say("a latecomer joins")
	before, err := s.endpoints(ctx)
	if err != nil {
		return "", err
	}
	if err = s.fleet.startAgent(ctx, s.Agents+1); err != nil {
		return "", err
	}
	err = s.await(ctx, "the latecomer to run v1", func() (bool, error) {
		now, failed := s.endpoints(ctx)
		for id, e := range now {
			if _, old := before[id]; !old {
				endpoint = id
				return e.Components[component].Version == "v1" && e.Components[component].Phase == "idle", failed
			}
		}
		return false, failed
	})
	if err == nil {
		s.say("the latecomer %s runs v1; v2 was never offered to it", endpoint)
	}
	return endpoint, err
}

func (s *show) endpoints(ctx context.Context) (map[string]api.Endpoint, error) {
	all := map[string]api.Endpoint{}
	for e, err := range s.api.Endpoints(ctx) {
		if err != nil {
			return nil, err
		}
		all[e.ID] = e
	}
	return all, nil
}

// running counts the endpoints that run a version of the component, and are done with it.
func (s *show) running(ctx context.Context, version string) (int, error) {
	all, err := s.endpoints(ctx)
	n := 0
	for _, e := range all {
		if c, has := e.Components[component]; has && c.Version == version && c.Phase == "idle" {
			n++
		}
	}
	return n, err
}

func (s *show) await(ctx context.Context, what string, done func() (bool, error)) error {
	end := s.Clock.Now().Add(patience)
	for {
		ok, err := done()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if s.Clock.Now().After(end) {
			return fault.New(fault.Unavailable, "wait for %s: it did not happen within %s", what, patience)
		}
		if err := s.Clock.Sleep(ctx, look); err != nil {
			return err
		}
	}
}

func (s *show) write(r Result) error {
	if s.JSON == "" {
		return nil
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(s.JSON, append(data, '\n'), 0o644) //nolint:gosec // meant to be read by others
}
