package browser

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/publisher"
	"github.com/firebreak-dev/firebreak/internal/publisher/publishertest"
)

var components = []string{"sensor-content", "edge-config"}

func kindOf(component string) string {
	if component == "edge-config" {
		return "config"
	}
	return "content"
}

// world is a control plane, its hosts, and its publisher.
type world struct {
	*plane
	begun     time.Time
	plan      plan.Plan
	client    *client.Client
	publisher *publisher.Publisher
	director  trust.Keys
	hosts     []*host

	mu  sync.Mutex
	bad map[string]string // by component and version: the version of the system whose hosts it harms, or "all"
}

// quick is a plan with small rings that bake for a moment: a good release takes it some twenty seconds.
func quick() plan.Plan {
	bake := evidence.Requirement{Confirmed: 0.9, Resolved: 0.9, Bake: evidence.Duration(1500 * time.Millisecond)}
	return plan.Plan{
		Name: "quick", Window: plan.Window{Start: 2, Growth: 2, Max: 12},
		Lease: plan.Lease{Expires: plan.Duration(10 * time.Second), Deadline: plan.Duration(30 * time.Second)},
		Rings: []plan.Ring{
			{Name: "canary", Hosts: 4, Evidence: bake},
			{Name: "early", Hosts: 12, Evidence: bake},
			{Name: "half", Share: 0.5, Evidence: bake},
			{Name: "rest", Share: 1, Evidence: bake},
		},
	}.Defaulted()
}

// newWorld is a control plane with a fleet of n hosts that run nothing yet.
func newWorld(t *testing.T, n int) *world {
	t.Helper()
	w := &world{plane: newPlane(t), begun: now().Add(-time.Minute), plan: quick(), bad: map[string]string{}}
	must(t, w.found(t))
	w.hosts = make([]*host, n)
	var joining errgroup.Group
	joining.SetLimit(8)
	for i := range n {
		joining.Go(func() (err error) {
			w.hosts[i], err = w.newHost(i)
			return err
		})
	}
	must(t, joining.Wait())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var living sync.WaitGroup
	for _, h := range w.hosts {
		living.Go(func() { h.run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		living.Wait()
	})
	return w
}

// found makes components, plans and keys.
func (w *world) found(t *testing.T) (err error) {
	t.Helper()
	ctx := t.Context()
	if w.client, err = client.New("http://"+w.operators, w.token); err != nil {
		return err
	}
	document, err := json.Marshal(w.plan)
	if err != nil {
		return err
	}
	if _, err = w.client.PutPlan(ctx, w.plan.Name, document); err != nil {
		return err
	}
	parts := map[string]publisher.RoleKeys{}
	for _, name := range components {
		if _, err = w.client.PutComponent(ctx, api.ComponentSpec{Name: name, Kind: kindOf(name), Validation: "required", Plan: w.plan.Name}); err != nil {
			return err
		}
		parts[name] = publisher.RoleKeys{}
	}
	ring, err := publisher.OpenKeyring(filepath.Join(t.TempDir(), "keyring"))
	if err != nil {
		return err
	}
	if w.publisher, err = publisher.New(publisher.Options{Keyring: ring, Server: publishertest.Wire{Client: w.client}, Clock: clock.Wall{}, Random: rand.Reader}); err != nil {
		return err
	}
	if _, err = w.publisher.Init(ctx, publisher.InitOptions{Components: parts}); err != nil {
		return err
	}
	keys, err := w.client.OnlineKeys(ctx)
	w.director = trust.NewKeys(1, keys.Director.Public)
	return err
}

// publish signs and uploads a release. It harms the hosts with a version of the system, "all" of them, or none if harms is empty.
func (w *world) publish(ctx context.Context, component, version, harms string) error {
	w.mu.Lock()
	w.bad[component+" "+version] = harms
	w.mu.Unlock()
	dir, err := os.MkdirTemp(w.dir, "release")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "detections.json")
	if err = os.WriteFile(path, []byte(`{"version": "`+version+`"}`), 0o600); err != nil {
		return err
	}
	_, err = w.publisher.Publish(ctx, publisher.PublishOptions{
		Component: component, Version: version, Kind: release.Kind(kindOf(component)), Sources: []publisher.Source{{Path: path}}, Plan: w.plan,
		Validator: []string{"test", "-d", "{dir}"}, Contract: map[string]string{"format": "2"},
	})
	return err
}

func (w *world) harms(component, version string, h *host) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	whom := w.bad[component+" "+version]
	return whom == "all" || whom == h.attributes.Version
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
