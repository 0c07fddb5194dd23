// Package ingest is the agent port: it enrols hosts, takes in their check-ins and reports, answers wishes for leases, and serves
// directives, metadata and artifacts.
//
// A check-in that changes nothing touches no database. Reports are durable before they are acknowledged (I8).
package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/admission"
	"github.com/firebreak-dev/firebreak/internal/control/metrics"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Limits of what an agent may send.
const (
	maxBody       = 256 << 10
	maxReports    = 256
	maxComponents = 64
	maxWishes     = maxComponents
	maxText       = 256     // bytes of any attribute or label
	maxDetail     = 2 << 10 // of a report or a state
	maxRefuses    = 16
	maxLabels     = 64
	maxCSR        = 4 << 10
	maxPosture    = 64 // words; they are not kept
)

// Store is what ingest needs of the database.
type Store interface {
	Deltas
	Join(ctx context.Context, hash []byte, now time.Time, e store.Endpoint) (t store.Token, number int64, err error)
	EndEndpoint(ctx context.Context, id fleet.EndpointID, how store.Ending, why string, at time.Time) error
	Endpoint(ctx context.Context, id fleet.EndpointID) (store.Endpoint, error)
	LeasesOfEndpoint(ctx context.Context, id fleet.EndpointID) ([]store.Lease, error)
	Rollout(ctx context.Context, id rollout.ID) (store.Rollout, error)
	SaveEndpoints(ctx context.Context, all []store.Endpoint) error
	Touch(ctx context.Context, seen []store.Seen) error
	AddReportsOfMany(ctx context.Context, now time.Time, all []store.EndpointReports) ([]store.Stored, error)
}

// Engine decides.
type Engine interface {
	Ask(ctx context.Context, id fleet.EndpointID, wish api.Wish) (envelope []byte, refusal string, err error)
	// Take returns nil once all that a host has stored is decided on: it may be acknowledged then.
	Take(ctx context.Context, id fleet.EndpointID) error
	Directive(component string) (envelope []byte, sequence int64)
	Pending(id fleet.EndpointID, component string) bool
	Returned(ctx context.Context, id fleet.EndpointID, component string) error
}

// CA gives endpoints their certificates.
type CA interface {
	SignEndpoint(csr []byte) (der []byte, id fleet.EndpointID, err error)
	Certificate() []byte
}

// Metadata serves the TUF repository's files.
type Metadata interface {
	File(ctx context.Context, name string) ([]byte, error)
	Target(ctx context.Context, path string) (io.ReadSeekCloser, int64, error)
}

// Blobs serves artifacts.
type Blobs interface {
	Open(ctx context.Context, d release.Digest) (io.ReadSeekCloser, int64, error)
}

// Meter counts. *metrics.Metrics does.
type Meter interface {
	CheckIn(r metrics.Result, took time.Duration)
	Reported(n int)
}

// Desk says whom to let in. *admission.Desk does.
type Desk interface {
	Enter(k admission.Kind, chance float64) (retry time.Duration)
	Leave()
	Fetch(id fleet.EndpointID, chance float64) (retry time.Duration)
	Fetched(id fleet.EndpointID)
	Hold() bool
	Release()
	Poll(poll time.Duration) time.Duration
}

// Options are ingest's world. All fields are required, but the last three.
type Options struct {
	Store    Store
	Engine   Engine
	CA       CA
	Metadata Metadata
	Blobs    Blobs
	Fleet    *registry.Registry
	Clock    clock.Clock
	Log      *slog.Logger

	PollIdle   time.Duration // between check-ins of a host with nothing to do
	PollActive time.Duration // of a host that holds a lease or wants one
	Flush      time.Duration // how often last-seen times and states are written

	Idle    time.Duration // for how long the server keeps a connection that is idle; 0: no host is told to close its own
	Streams int           // event streams at most; 0: none is held
	Desk    Desk          // nil: everybody is let in
	Meter   Meter         // nil: nothing is counted
	// Shape bounds the bandwidth of downloads, by what tenant a request is from; nil: nothing does.
	Shape func(next http.Handler, tenant func(*http.Request) string) http.Handler
}

// Ingest serves the agent port. Its handler is safe for concurrent use; Run writes behind until its context ends.
type Ingest struct {
	Options
	hub         hub
	pool        pool
	twins       twins
	contentType []string // header values that are never changed
	goodbye     []string
}

// New makes an Ingest.
func New(o Options) *Ingest {
	if o.Meter == nil {
		o.Meter = metrics.Off{}
	}
	if o.Shape == nil {
		o.Shape = func(next http.Handler, _ func(*http.Request) string) http.Handler { return next }
	}
	if o.Desk == nil {
		o.Desk = welcome{}
	}
	return &Ingest{Options: o, hub: hub{most: o.Streams}, contentType: []string{"application/json"}, goodbye: []string{"close"}}
}

// Handler routes the agent port. Everything but enrolling needs a client certificate of an enrolled endpoint.
func (in *Ingest) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathEnrol, in.enrol)
	mux.HandleFunc("POST "+api.PathRenew, in.known(in.entered(admission.Join, in.renew)))
	mux.HandleFunc("POST "+api.PathCheckIn, in.known(in.checkIn))
	mux.HandleFunc("GET "+api.PathEvents, in.known(in.events))
	mux.HandleFunc("GET "+api.PathDirectives+"{component}", in.known(in.directive))
	mux.HandleFunc("GET "+api.PathTUF+"{file...}", in.known(in.metadata))
	mux.Handle("GET "+api.PathArtifacts+"{digest}", in.Shape(in.known(in.fetching(in.artifact)), in.tenantOf))
	mux.HandleFunc("GET "+api.PathDeltas+"{digest}", in.known(in.fetching(in.deltas)))
	return mux
}

// Run writes last-seen times and changed states behind, in batches, and keeps event streams alive until ctx ends; then it ends them and
// writes once more.
func (in *Ingest) Run(ctx context.Context) error {
	for pulse := in.Clock.Now(); in.Clock.Sleep(ctx, in.Flush) == nil; {
		if now := in.Clock.Now(); now.Sub(pulse) >= heartbeat {
			in.hub.pulse()
			pulse = now
		}
		in.flush(ctx)
	}
	in.hub.shut()
	in.flush(context.WithoutCancel(ctx))
	return nil
}

// flush writes what changed since the last time. What cannot be written now stays for the next time.
func (in *Ingest) flush(ctx context.Context) {
	seen, changed := in.Fleet.Flush()
	if len(seen) > 0 {
		rows := make([]store.Seen, len(seen))
		for i, s := range seen {
			rows[i] = store.Seen(s)
		}
		if err := in.Store.Touch(ctx, rows); err != nil {
			in.Fleet.Unflushed(seen)
			in.Log.ErrorContext(ctx, "write last-seen times; will try again", slog.Any("error", err))
		}
	}
	if len(changed) > 0 {
		if err := in.save(ctx, changed...); err != nil {
			in.Fleet.Unflushed(nil, changed...)
			in.Log.ErrorContext(ctx, "write the states of endpoints; will try again", slog.Any("error", err))
		}
	}
}

// save writes what endpoints said of themselves.
func (in *Ingest) save(ctx context.Context, all ...registry.Endpoint) error {
	rows := make([]store.Endpoint, 0, len(all))
	for _, e := range all {
		row, err := rowOf(e)
		if err != nil {
			return fmt.Errorf("encode endpoint %s: %w", e.ID, err)
		}
		rows = append(rows, row)
	}
	return in.Store.SaveEndpoints(ctx, rows)
}

func rowOf(e registry.Endpoint) (store.Endpoint, error) {
	components, err := json.Marshal(e.Components)
	return store.Endpoint{
		Number: e.Number, ID: e.ID, Tenant: e.Subject.Tenant, Attributes: e.Subject.Attributes, Labels: e.Subject.Labels, Enrolled: e.Enrolled,
		LastSeen: e.LastSeen, Boot: e.Boot, Components: components, Posture: e.Posture,
	}, err
}
