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
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
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
	maxPosture    = 64 // words; they are not kept
)

// Store is what ingest needs of the database.
type Store interface {
	UseJoinToken(ctx context.Context, hash []byte, now time.Time) (store.Token, error)
	PutEndpoint(ctx context.Context, e store.Endpoint) error
	SaveEndpoint(ctx context.Context, e store.Endpoint) error
	TouchEndpoints(ctx context.Context, seen map[fleet.EndpointID]time.Time) error
	AddReports(ctx context.Context, endpoint fleet.EndpointID, now time.Time, reports []store.Report) (int64, error)
}

// Engine decides.
type Engine interface {
	Ask(ctx context.Context, id fleet.EndpointID, wish api.Wish) (envelope []byte, refusal string, err error)
	Drain(ctx context.Context) error
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

// Options are ingest's world. All fields are required.
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
}

// Ingest serves the agent port. Its handler is safe for concurrent use; Run writes behind until its context ends.
type Ingest struct{ Options }

// New makes an Ingest.
func New(o Options) *Ingest { return &Ingest{Options: o} }

// Handler routes the agent port. Everything but enrolling needs a client certificate of an enrolled endpoint.
func (in *Ingest) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathEnrol, in.enrol)
	mux.HandleFunc("POST "+api.PathRenew, in.known(in.renew))
	mux.HandleFunc("POST "+api.PathCheckIn, in.known(in.checkIn))
	mux.HandleFunc("GET "+api.PathDirectives+"{component}", in.known(in.directive))
	mux.HandleFunc("GET "+api.PathTUF+"{file...}", in.known(in.metadata))
	mux.HandleFunc("GET "+api.PathArtifacts+"{digest}", in.known(in.artifact))
	return mux
}

// Run writes last-seen times and changed states behind, in batches, until ctx ends; then once more.
func (in *Ingest) Run(ctx context.Context) error {
	for in.Clock.Sleep(ctx, in.Flush) == nil {
		in.flush(ctx)
	}
	in.flush(context.WithoutCancel(ctx))
	return nil
}

// flush writes what changed since the last time. What cannot be written now stays for the next time.
func (in *Ingest) flush(ctx context.Context) {
	seen, changed := in.Fleet.Flush()
	if len(seen) > 0 {
		if err := in.Store.TouchEndpoints(ctx, seen); err != nil {
			in.Fleet.Unflushed(seen)
			in.Log.ErrorContext(ctx, "write last-seen times; will try again", slog.Any("error", err))
		}
	}
	var failed error
	for _, e := range changed {
		row, err := rowOf(e)
		if err == nil {
			err = in.Store.SaveEndpoint(ctx, row)
		}
		if err != nil {
			in.Fleet.Unflushed(nil, e)
			failed = fmt.Errorf("endpoint %s: %w", e.ID, err)
		}
	}
	if failed != nil {
		in.Log.ErrorContext(ctx, "write the states of endpoints; will try again", slog.Any("error", failed))
	}
}

func rowOf(e registry.Endpoint) (store.Endpoint, error) {
	components, err := json.Marshal(e.Components)
	return store.Endpoint{
		ID: e.ID, Tenant: e.Subject.Tenant, Attributes: e.Subject.Attributes, Labels: e.Subject.Labels, Enrolled: e.Enrolled,
		LastSeen: e.LastSeen, Boot: e.Boot, Components: components, Posture: e.Posture,
	}, err
}

// Load fills the registry from stored endpoints. Hosts loaded so are asked for their whole state when they are heard first.
func Load(rows []store.Endpoint, into *registry.Registry) {
	for _, row := range rows {
		e := registry.Endpoint{
			ID: row.ID, Enrolled: row.Enrolled, LastSeen: row.LastSeen, Boot: row.Boot, Reported: row.ReportSeq,
			Posture: row.Posture,
			Subject: fleet.Subject{Tenant: row.Tenant, Attributes: row.Attributes, Labels: row.Labels},
		}
		if len(row.Components) > 0 && json.Unmarshal(row.Components, &e.Components) != nil {
			e.Components = nil // it sends them again
		}
		into.Put(e)
	}
}
