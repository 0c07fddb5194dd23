// Package server is the operators' HTTP port: JSON under /api/v1 and the TUF files under /tuf, behind bearer tokens, and the console.
//
// It decides nothing. A handler reads the request strictly, asks the store, the engine or the repository through a small interface
// declared here, and writes what they say in the words of package api. Errors become RFC 9457 problems in one place, problem.go.
// The agents' port is package ingest's.
package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Tokens keeps credentials. *store.Store is one.
type Tokens interface {
	PutToken(ctx context.Context, t store.Token) error
	// TokenByHash returns fault.NotFound if nobody has that token.
	TokenByHash(ctx context.Context, hash []byte) (store.Token, error)
	Tokens(ctx context.Context) ([]store.Token, error)
	RevokeToken(ctx context.Context, id string, at time.Time) error
}

// Fleet knows the endpoints. *store.Store is one.
type Fleet interface {
	Endpoint(ctx context.Context, id fleet.EndpointID) (store.Endpoint, error)
	// Endpoints lists at most limit endpoints with larger ids than after, in order.
	Endpoints(ctx context.Context, after fleet.EndpointID, limit int) ([]store.Endpoint, error)
	LeasesOfEndpoint(ctx context.Context, id fleet.EndpointID) ([]store.Lease, error)
}

// Live knows what endpoints said last, before it is written behind. *registry.Registry is one.
type Live interface {
	Get(id fleet.EndpointID) (registry.Endpoint, bool)
	// Profile counts the hosts that have a component, or all, by what they are, and how many of each sort were heard since a time.
	Profile(component string, since time.Time, most int) []api.FleetGroup
}

// Components keeps the registered components. *store.Store is one.
type Components interface {
	PutComponent(ctx context.Context, c store.Component) error
	Component(ctx context.Context, name string) (store.Component, error)
	Components(ctx context.Context) ([]store.Component, error)
}

// Plans keeps plans by name. *store.Store is one.
type Plans interface {
	PutPlan(ctx context.Context, p plan.Plan, at time.Time) error
	Plan(ctx context.Context, name string) (store.PlanRow, error)
	Plans(ctx context.Context) ([]store.PlanRow, error)
}

// Releases knows what was published and what was recalled. *store.Store is one.
type Releases interface {
	Release(ctx context.Context, component, version string) (release.Published, error)
	// Releases lists those of a component, or all if component is empty.
	Releases(ctx context.Context, component string) ([]release.Published, error)
	Recalls(ctx context.Context, component string) ([]store.Recall, error)
}

// Records has what happened in rollouts. *store.Store is one.
type Records interface {
	// Events lists at most limit events with larger revisions than after, in order.
	Events(ctx context.Context, id rollout.ID, after int64, limit int) ([]store.Event, error)
	Leases(ctx context.Context, id rollout.ID) ([]store.Lease, error)
	Incidents(ctx context.Context) ([]store.Incident, error)
	Incident(ctx context.Context, id string) (store.Incident, error)
}

// Engine runs rollouts.
type Engine interface {
	Start(ctx context.Context, start api.StartRollout, actor string) (api.Rollout, error)
	// Act carries out a command; its time is the engine's.
	Act(ctx context.Context, id string, command rollout.OperatorActed) (api.Rollout, error)
	Rollout(ctx context.Context, id string) (api.Rollout, error)
	// Rollouts lists those of a component, or all if component is empty; newest first.
	Rollouts(ctx context.Context, component string) ([]api.Rollout, error)
}

// Freezes keeps the installation's freezes. *engine.Engine does.
type Freezes interface {
	Freezes() calendar.Calendar
	SetFreezes(ctx context.Context, freezes calendar.Calendar, actor string) error
}

// Repository keeps the TUF metadata.
type Repository interface {
	Online(ctx context.Context) (api.OnlineKeys, error)
	Pending(ctx context.Context) ([]api.PendingMetadata, error)
	Submit(ctx context.Context, role string, metadata []byte) (api.Submission, error)
	// Discard forgets pending metadata of a role.
	Discard(ctx context.Context, role string) error
	// File returns fault.NotFound if there is no file of that name.
	File(ctx context.Context, name string) ([]byte, error)
}

// Blobs keeps artifacts by digest.
type Blobs interface {
	Put(ctx context.Context, want release.Digest, size int64, r io.Reader) error
	Open(ctx context.Context, digest release.Digest) (io.ReadSeekCloser, int64, error)
	Remove(ctx context.Context, digest release.Digest) error
}

// Options are what a server needs. All are required, except Live and Web.
type Options struct {
	Tokens     Tokens
	Fleet      Fleet
	Components Components
	Plans      Plans
	Releases   Releases
	Records    Records
	Engine     Engine
	Freezes    Freezes
	Repository Repository
	Blobs      Blobs

	Live   Live                                          // the fleet as it is now: newer words of endpoints than the store's; may be nil
	About  func(ctx context.Context) (api.Status, error) // what this installation is
	Web    http.Handler                                  // the console; answers everything outside the API, without a token
	Random io.Reader                                     // crypto/rand.Reader outside tests: secrets of new tokens
	Clock  clock.Clock
	Log    *slog.Logger
}

// server answers requests. It has no state of its own and starts no goroutines.
type server struct {
	Options
	freezing sync.Mutex // from looking at the freezes until they are replaced
}

// New makes the handler of the operators' port. The caller serves it, with timeouts, and owns everything in the options.
func New(o Options) http.Handler {
	s := &server{Options: o}
	return s.observe(s.route())
}
