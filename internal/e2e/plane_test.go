package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/app"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
	"github.com/firebreak-dev/firebreak/internal/publisher"
	"github.com/firebreak-dev/firebreak/internal/publisher/publishertest"
)

// TestMain lets the test's own binary be a control plane that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "control-plane" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		o := planeOptions(os.Args[2], clock.Wall{}, os.Stdout)
		o.Operators, o.Agents, o.Log = os.Args[3], os.Args[4], slog.New(slog.NewTextHandler(os.Stderr, nil))
		if err := app.Run(ctx, o); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if !fulltest.Asked() { // under the race detector they work rather than wait for polls and soaks
		if err := fulltest.Crowd(4); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(programDir()) // most runs make none
	os.Exit(code)
}

func planeOptions(dir string, c clock.Clock, out io.Writer) app.Options {
	return app.Options{
		Data: dir, Operators: "127.0.0.1:0", Agents: "127.0.0.1:0", PollIdle: 150 * time.Millisecond, PollActive: 50 * time.Millisecond, Grace: 500 * time.Millisecond,
		Version: "test", Out: out, Log: slog.New(slog.DiscardHandler), Clock: c,
	}
}

// movable is the machine's clock, wrong by as much as a test wants; it can be stopped.
type movable struct {
	clock.Wall
	mu      sync.Mutex
	off     time.Duration
	stopped time.Time
	hasty   bool // waits for nothing longer than a moment: agents that were turned away often come back at once
}

func (m *movable) Sleep(ctx context.Context, d time.Duration) error {
	if m.hasty {
		d = min(d, 400*time.Millisecond)
	}
	return m.Wall.Sleep(ctx, d)
}

func (m *movable) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stopped.IsZero() {
		return m.stopped
	}
	return m.Wall.Now().Add(m.off)
}

func (m *movable) move(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off += by
}

func (m *movable) stop() {
	now := m.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = now
}

func (m *movable) goOn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = time.Time{}
}

// plane is a control plane and its publisher.
type plane struct {
	t              *testing.T
	dir            string
	clock          *movable
	poll           [2]time.Duration // idle and active; 0 means what is good for a few hosts
	addresses      [2]string        // operators, agents
	url, agents    string
	operator, join string // tokens
	fingerprint    string
	client         *client.Client
	publisher      *publisher.Publisher
	outside        bool // a process of its own
	process        *exec.Cmd
	stopInside     func()
	change         func(*app.Options) // of a control plane in this process; may be nil
}

const sensor = "sensor-content"

// steps is a plan of three rings.
func steps() plan.Plan {
	return plan.Plan{
		Name: "steps", Window: plan.Window{Start: 2, Max: 8},
		Lease: plan.Lease{Expires: plan.Duration(20 * time.Second), Deadline: plan.Duration(40 * time.Second)},
		Rings: []plan.Ring{{Name: "first", Hosts: 2}, {Name: "early", Hosts: 3}, {Name: "rest", Share: 1}},
	}.Defaulted()
}

// atOnce is a plan that lets everybody go first, and a breaker that never trips: for tests of hosts.
func atOnce() plan.Plan {
	p := steps()
	p.Name, p.Window = "at-once", plan.Window{Start: 1000, Growth: 1, Max: 1000}
	p.Lease = plan.Lease{Expires: plan.Duration(10 * time.Minute), Deadline: plan.Duration(20 * time.Minute)}
	p.Breaker = breaker.Params{Ceiling: 0.2, Alpha: 1e-200, Amber: 1e199}
	p.Rings = []plan.Ring{{Name: "all", Hosts: 1000}, {Name: "rest", Share: 1}}
	return p.Defaulted()
}

// newPlane starts a control plane in this process, with a component that needs no validation, and a publisher with its keys.
func newPlane(t *testing.T, poll ...time.Duration) *plane {
	t.Helper()
	p := &plane{t: t, dir: filepath.Join(t.TempDir(), "control"), clock: &movable{}, addresses: [2]string{"127.0.0.1:0", "127.0.0.1:0"}}
	copy(p.poll[:], poll)
	p.start()
	p.found()
	return p
}

// newProcess starts a control plane in a process of its own.
func newProcess(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, dir: filepath.Join(t.TempDir(), "control"), clock: &movable{}, outside: true}
	for i := range p.addresses {
		var config net.ListenConfig
		l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p.addresses[i] = l.Addr().String()
		_ = l.Close()
	}
	p.start()
	p.found()
	return p
}

// found makes the component and the keys.
func (p *plane) found() {
	p.t.Helper()
	var err error
	if p.client, err = client.New(p.url, p.operator); err != nil {
		p.t.Fatal(err)
	}
	p.client.Attempts = 1
	ctx := p.t.Context()
	if _, err := p.client.PutComponent(ctx, api.ComponentSpec{Name: sensor, Kind: "content", Validation: "none"}); err != nil {
		p.t.Fatal(err)
	}
	p.publisher = p.owner(filepath.Join(p.dir, "..", "keyring"))
	p.init(publisher.InitOptions{Components: map[string]publisher.RoleKeys{sensor: {}}})
}

func (p *plane) owner(dir string) *publisher.Publisher {
	p.t.Helper()
	ring, err := publisher.OpenKeyring(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	owner, err := publisher.New(publisher.Options{Keyring: ring, Server: publishertest.Wire{Client: p.client}, Clock: clock.Wall{}, Random: rand.Reader})
	if err != nil {
		p.t.Fatal(err)
	}
	return owner
}

func (p *plane) init(o publisher.InitOptions) {
	p.t.Helper()
	if _, err := p.publisher.Init(p.t.Context(), o); err != nil {
		p.t.Fatal(err)
	}
}

var (
	serverLine = regexp.MustCompile(`FIREBREAK_SERVER=(\S+)`)
	tokenLine  = regexp.MustCompile(`FIREBREAK_TOKEN=(\S+)`)
	joinLine   = regexp.MustCompile(`--server (\S+) --token (\S+) --ca-fingerprint (\S+)`)
)

// start starts the control plane, or starts it again.
func (p *plane) start() {
	p.t.Helper()
	out := &words{}
	if p.outside {
		p.startOutside(out)
	} else {
		p.startInside(out)
	}
	if p.operator != "" {
		return // it greets once
	}
	eventually(p.t, "the control plane's greeting", func() error {
		text := out.String()
		if !strings.Contains(text, "Console:") {
			return fmt.Errorf("got %q", text)
		}
		p.url, p.operator = serverLine.FindStringSubmatch(text)[1], tokenLine.FindStringSubmatch(text)[1]
		m := joinLine.FindStringSubmatch(text)
		p.agents, p.join, p.fingerprint = m[1], m[2], m[3]
		return nil
	})
	p.addresses = [2]string{strings.TrimPrefix(p.url, "http://"), strings.TrimPrefix(p.agents, "https://")}
}

func (p *plane) startInside(out io.Writer) {
	p.t.Helper()
	o := planeOptions(p.dir, p.clock, out)
	o.Operators, o.Agents = p.addresses[0], p.addresses[1]
	if p.poll[0] > 0 {
		o.PollIdle, o.PollActive = p.poll[0], p.poll[1]
	}
	if p.change != nil {
		p.change(&o)
	}
	var a *app.App
	eventually(p.t, "the control plane to start", func() (err error) {
		a, err = app.New(p.t.Context(), o)
		return err
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	done := make(chan error, 1)
	go func() { done <- errors.Join(a.Run(ctx), a.Close()) }()
	p.stopInside = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			p.t.Errorf("the control plane ended: %v", err)
		}
	})
	p.t.Cleanup(p.stopInside)
}

func (p *plane) startOutside(out io.Writer) {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	c := exec.Command(self, "control-plane", p.dir, p.addresses[0], p.addresses[1]) //nolint:noctx // this very test; kill ends it
	log := &words{}
	c.Stdout, c.Stderr = out, log
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.process = c
	p.t.Cleanup(func() {
		if c.ProcessState == nil && p.t.Failed() {
			_ = c.Process.Signal(syscall.SIGQUIT) // it says where it is
			_ = c.Wait()
			p.t.Logf("the control plane says:\n%s", log)
		}
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}

// stop ends the control plane in good order.
func (p *plane) stop() { p.stopInside() }

// kill ends it as a power cut would, as far as processes go.
func (p *plane) kill() {
	_ = p.process.Process.Kill()
	_ = p.process.Wait()
}

// words is what a program prints.
type words struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *words) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(data)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// patience is far longer than anything here takes on a busy machine.
const patience = 90 * time.Second

// eventually waits until check is content.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		if (clock.Wall{}).Sleep(ctx, 20*time.Millisecond) != nil {
			t.Fatalf("wait for %s: %v", what, err)
		}
	}
}

// content is a release that is good or bad for consumers, packed from one file.
func content(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// publish signs and uploads a release of one file with that text.
func (p *plane) publish(version, text string, of plan.Plan) publisher.Published {
	p.t.Helper()
	published, err := p.publisher.Publish(p.t.Context(), publisher.PublishOptions{
		Component: sensor, Version: version, Kind: release.Content, Sources: []publisher.Source{{Path: content(p.t, text)}}, Plan: of,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return published
}

// roll publishes a release and starts its rollout.
func (p *plane) roll(version, text string, of plan.Plan) (id string) {
	p.t.Helper()
	p.publish(version, text, of)
	return p.begin(version)
}

func (p *plane) begin(version string) (id string) {
	p.t.Helper()
	r, err := p.client.StartRollout(p.t.Context(), api.StartRollout{Component: sensor, Version: version})
	if err != nil {
		p.t.Fatal(err)
	}
	return r.ID
}

// await waits until a rollout is as wanted.
func (p *plane) await(id, what string, wanted func(api.Rollout) bool) api.Rollout {
	p.t.Helper()
	var r api.Rollout
	eventually(p.t, what, func() (err error) {
		if r, err = p.client.Rollout(p.t.Context(), id); err == nil && !wanted(r) {
			err = fmt.Errorf("rollout is %s (%s), exposed %d, confirmed %d, harmed %d, recovered %d, unconfirmed %d; waiting: %s", r.Phase,
				r.Reason, r.Exposed, r.Confirmed, r.Harmed, r.Recovered, r.Unconfirmed, r.Waiting.Text)
		}
		return err
	})
	return r
}

func complete(r api.Rollout) bool { return r.Phase == "complete" && r.Unconfirmed == 0 }

// lease finds the lease of a host in a rollout.
func (p *plane) lease(id, endpoint string) api.LeaseStatus {
	p.t.Helper()
	all, err := p.client.Leases(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, l := range all {
		if l.Endpoint == endpoint {
			return l
		}
	}
	return api.LeaseStatus{}
}
