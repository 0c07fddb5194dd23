// Package server is the operators' HTTP port: JSON under /api/v1 and the TUF files under /tuf, behind bearer tokens, and the console.
//
// It decides nothing. A handler reads the request strictly, asks the store, the engine or the repository through a small interface
// declared here, and writes what they say in the words of package api. Errors become RFC 9457 problems in one place, problem.go.
// The agents' port is package ingest's.
package server

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/gc"
	"github.com/firebreak-dev/firebreak/internal/control/blob/upload"
	"github.com/firebreak-dev/firebreak/internal/control/live"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Tokens keeps credentials, and what those who have them were answered. *store.Store is one.
type Tokens interface {
	Answers
	Sessions
	Audit
	PutToken(ctx context.Context, t store.Token) error
	// TokenByHash returns fault.NotFound if nobody has that token.
	TokenByHash(ctx context.Context, hash []byte) (store.Token, error)
	// TokensPage lists at most limit tokens behind the one with that time of creation and id, in that order.
	TokensPage(ctx context.Context, created time.Time, id string, limit int) ([]store.Token, error)
	RevokeToken(ctx context.Context, id string, at time.Time) error
}

// Fleet knows the endpoints. *store.Store is one.
type Fleet interface {
	Endpoint(ctx context.Context, id fleet.EndpointID) (store.Endpoint, error)
	// Endpoints lists at most limit endpoints with larger ids than after, in order.
	Endpoints(ctx context.Context, after fleet.EndpointID, limit int) ([]store.Endpoint, error)
	// NewestLeases lists at most limit leases that an endpoint got, the newest first.
	NewestLeases(ctx context.Context, id fleet.EndpointID, limit int) ([]store.Lease, error)
	// ReportsOf lists at most limit reports of an endpoint that are kept, newest first.
	ReportsOf(ctx context.Context, id fleet.EndpointID, limit int) ([]store.Report, error)
	Samples
}

// Identities end, and may be used by two. *ingest.Ingest has them.
type Identities interface {
	End(ctx context.Context, id fleet.EndpointID, how store.Ending, why string) error
	Twins(id fleet.EndpointID) (api.Twins, bool)
}

// Live knows what endpoints said last, before it is written behind. *registry.Registry is one.
type Live interface {
	Get(id fleet.EndpointID) (registry.Endpoint, bool)
	// Profile counts the hosts that have a component, or all, by what they are, and how many of each sort were heard since a time.
	Profile(component string, since time.Time, most int) []api.FleetGroup
	// State counts the hosts that have a component, or all, and those of them that were heard since a time.
	State(component string, since time.Time) registry.State
	Search(q registry.Search) registry.Found
	Len() int
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
	Deltas
	Release(ctx context.Context, component, version string) (release.Published, error)
	// ReleaseByManifest returns fault.NotFound if no release with that manifest was published.
	ReleaseByManifest(ctx context.Context, manifest release.Digest) (release.Published, error)
	// Releases lists those of a component, or all if component is empty.
	Releases(ctx context.Context, component string) ([]release.Published, error)
	// ReleasesPage lists at most limit of a component, or of all if component is empty, behind the one with that component and serial number: by component, newest first.
	ReleasesPage(ctx context.Context, component, behind string, serial int64, limit int) ([]release.Published, error)
	Recalls(ctx context.Context, component string) ([]store.Recall, error)
}

// Records has what happened in rollouts. *store.Store is one.
type Records interface {
	// Events lists at most limit events with larger revisions than after, in order.
	Events(ctx context.Context, id rollout.ID, after int64, limit int) ([]store.Event, error)
	// EventsAt reads the events with these revisions, in no order.
	EventsAt(ctx context.Context, id rollout.ID, revisions []int64) ([]store.Event, error)
	Notables
	// LeasesPage lists at most limit leases of endpoints with larger ids than after, in order; if outcomes are named, only those with one of them.
	LeasesPage(ctx context.Context, id rollout.ID, after fleet.EndpointID, limit int, outcomes ...rollout.Outcome) ([]store.Lease, error)
	// IncidentsPage lists at most limit incidents with smaller numbers than before, newest first; 0 is before all.
	IncidentsPage(ctx context.Context, before int64, limit int) ([]store.NumberedIncident, error)
	Incident(ctx context.Context, id string) (store.Incident, error)
	// CloseIncident notes who is done with an incident; the first one's word stands.
	CloseIncident(ctx context.Context, id, closer, note string, at time.Time) error
	// NotableEvents lists at most limit events of a rollout that are as notable as that, with a revision below before, newest first; 0 is above all.
	NotableEvents(ctx context.Context, id rollout.ID, n store.Notable, before int64, limit int) ([]store.Event, error)
}

// Engine runs rollouts.
type Engine interface {
	Start(ctx context.Context, start api.StartRollout, actor string) (api.Rollout, error)
	// Act carries out a command; its time is the engine's.
	Act(ctx context.Context, id string, command rollout.OperatorActed) (api.Rollout, error)
	// Halt halts rollouts, or all that expose hosts, and tells by the end of ctx what became of them. It is fault.Unavailable if nobody was
	// reached who can.
	Halt(ctx context.Context, want api.HaltRollouts, actor string) (api.Halted, error)
	Rollout(ctx context.Context, id string) (api.Rollout, error)
	// Rollouts lists those that are asked for, newest first; fault.NotFound if the one behind which to go on is not there.
	Rollouts(ctx context.Context, q store.RolloutQuery) ([]api.Rollout, error)
	// Next tells for each component of a host what it would be told if it asked for a lease now. It fails where nobody decides.
	Next(ctx context.Context, id fleet.EndpointID) ([]api.Next, error)
}

// Freezes keeps the installation's freezes. *engine.Engine does.
type Freezes interface {
	Freezes() calendar.Calendar
	SetFreezes(ctx context.Context, freezes calendar.Calendar, actor string) error
}

// Repository keeps the TUF metadata.
type Repository interface {
	Online(ctx context.Context) (api.OnlineKeys, error)
	// Signatures are those of the metadata that names a component's releases.
	Signatures(ctx context.Context, component string) ([]api.Signature, error)
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
	Touch(ctx context.Context, digest release.Digest) error
	Remove(ctx context.Context, digest release.Digest) error
}

// Uploads takes in large blobs in pieces. *upload.Desk does.
type Uploads interface {
	Begin(digest release.Digest, size int64) (upload.Status, error)
	Status(id string) (upload.Status, error)
	Append(ctx context.Context, id string, offset, length int64, r io.Reader, interrupt func()) (upload.Status, error)
	Finish(ctx context.Context, id string) (upload.Status, error)
	Cancel(ctx context.Context, id string) error
}

// Catalogue shows releases in the OCI layout of the store. *oci.Catalogue does.
type Catalogue interface {
	Published(ctx context.Context) error
}

// Forecaster plays what bad releases would cost under a plan on a fleet of those groups.
type Forecaster func(ctx context.Context, p plan.Plan, fleet []api.FleetGroup) (api.Forecast, error)

// Garbage is collected. *Collector does.
type Garbage interface {
	Collect(ctx context.Context, dry bool) (gc.Report, error)
}

// Options are what a server needs. All are required, except where it is said.
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

	Uploads   Uploads      // nil: large blobs come in one piece too
	Catalogue Catalogue    // nil: releases are not shown to OCI tools
	OCI       http.Handler // the paths of a registry under /v2/; nil: there are none
	Garbage   Garbage      // nil: none is collected

	Identities Identities // nil: none is ended here
	Forecast   Forecaster // nil: nobody plays what a bad release would cost

	Overview func(ctx context.Context) (api.Overview, error) // what is going on; nil: nobody looks
	Watch    *live.Hub                                       // what is watched while it goes on; nil: nothing is

	Cell  string                          // name of this control plane among its peers; empty: it is no cell
	Leads func(ctx context.Context) error // why nobody decides here now, so that peers are told nothing that may be old; nil: somebody does

	Fingerprint string // of the installation's authority, as hosts compare it when they join: the same on all replicas

	Live     Live                                          // the fleet as it is now: newer words of endpoints than the store's; may be nil
	About    func(ctx context.Context) (api.Status, error) // what this installation is
	Web      http.Handler                                  // the console; answers GET of everything outside the API, without a token
	Rate     Rate                                          // of requests of one token
	Patience time.Duration                                 // of a halt with the database that is to say whose token it is; 0 means 2 seconds
	BodyTime time.Duration                                 // in which a document must arrive; 0 means 20 seconds
	Random   io.Reader                                     // crypto/rand.Reader outside tests: secrets of new tokens
	Clock    clock.Clock
	Log      *slog.Logger
}

// server answers requests. It starts no goroutines.
type server struct {
	Options
	changing    sync.Mutex // from looking at a component, a plan or the freezes until they are replaced
	buckets     *buckets
	recent      *recents
	attempts    signIns
	failures    *failures
	description []byte // the OpenAPI document
	searches    chan struct{}
	counts      counts
}

// New makes the handler of the operators' port. The caller serves it, with timeouts, and owns everything in the options.
func New(o Options) http.Handler {
	o.BodyTime, o.Patience = cmp.Or(o.BodyTime, bodyTime), cmp.Or(o.Patience, patience)
	s := &server{
		Options: o, buckets: &buckets{Rate: o.Rate.orDefault(), all: map[string]bucket{}}, recent: &recents{all: map[string]recent{}},
		attempts: newSignIns(), failures: &failures{},
		searches: make(chan struct{}, mostSearches),
	}
	s.description = document(s.routes())
	return s.observe(s.mux())
}
