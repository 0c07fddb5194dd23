// Package app puts the control plane together: the only package that knows everybody in its wing.
package app

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/admission"
	"github.com/firebreak-dev/firebreak/internal/control/blob/oci"
	"github.com/firebreak-dev/firebreak/internal/control/blob/upload"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/health"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/live"
	"github.com/firebreak-dev/firebreak/internal/control/metrics"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/replica"
	"github.com/firebreak-dev/firebreak/internal/control/repository"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/store"
)

// Options are what an installation needs to know.
type Options struct {
	Data            string        // data directory; made if it is not there
	Database        string        // URL of a PostgreSQL database that replicas share; empty: a SQLite file in the data directory
	Keys            string        // directory of the authority's and the director's keys, the same for all replicas; empty: in the data directory
	Blobs           string        // URL of an S3-compatible bucket, as s3://bucket/prefix?endpoint=...; empty: in the data directory
	Replica         string        // name of this replica in logs; empty: the host's name
	Downloads       int64         // bytes a second of all downloads together; 0: no limit
	TenantDownloads int64         // bytes a second of one tenant\'s downloads; 0: no limit
	Private         string        // address for metrics and profiles; must be loopback or reached by nobody else; empty: none
	Operators       string        // address of operators and console; must be loopback
	Agents          string        // address of agents
	AgentHosts      []string      // further names and addresses of the agent port
	Prometheus      string        // base URL of the Prometheus that answers the queries of gates; empty: none does
	GateHosts       []string      // "host" or "host:port" that the HTTP checks of gates may ask
	Cell            string        // name of this control plane among the cells of plans; empty: it is none
	Peers           []string      // control planes of other cells, as "us=https://us.example.net:7080"
	PeerEvery       time.Duration // how often peers are asked how a release stands; four times as long an answer is good; 0 means what suits regions
	PeerTokens      string        // file with their tokens, one "us fb_peer_..." a line; empty: there are no peers
	PollIdle        time.Duration
	PollActive      time.Duration
	Grace           time.Duration // hosts get to be heard again after a start, before their silence counts or rings open; 0 means what suits agents
	Life            time.Duration // for how long a leader that is not heard from goes on leading; 0 means ten seconds
	Version         string
	Forecast        server.Forecaster // plays what bad releases would cost; nil: nobody does
	Out             io.Writer         // words for people at the first start
	Log             *slog.Logger
	Clock           clock.Clock
}

// App is a control plane. New listens and opens it; Run serves until its context ends; Close gives everything back.
type App struct {
	Options
	store    *store.Store
	fleet    *registry.Registry
	ca       *ca.CA
	blobs    blobs
	keys     repository.Keys
	repo     *repository.Repository // reads; what writes to it is the leader's
	replica  *replica.Replica
	ingest   *ingest.Ingest
	door     *admission.Door // of the agent port
	entrance *admission.Desk
	health   *health.Health
	metrics  *metrics.Metrics
	hub      *live.Hub // what people watch
	started  time.Time
	start    *start
	agents   *port
	operate  http.Handler // what operators are answered
	desk     *upload.Desk
	catalog  *oci.Catalogue
	garbage  *server.Collector
	closers  []func() error // last opened, first closed
}

// Timings of the shells.
const (
	tick          = 100 * time.Millisecond
	flush         = 2 * time.Second
	reach         = 15 * time.Minute
	grace         = 150 * time.Second // more than an agent that cannot reach the control plane waits between two tries
	hearing       = 15 * time.Second  // beyond three polls
	freshness     = time.Hour
	refresh       = time.Minute
	drainWithin   = 5 * time.Second
	noticeTime    = 2 * time.Second // in which load balancers see that a replica drains
	headerTimeout = 10 * time.Second
	bodyTimeout   = 10 * time.Minute // artifacts are large and lines are slow
	idleTimeout   = 30 * time.Second
	life          = 10 * time.Second // of the lead: no replica decides for so long after a leader died
	streams       = 10_000           // lines to exposed hosts: some 45 kB each
	agentBody     = 30 * time.Second // in which what a host says must have come: 256 kB at most
	slowest       = 4 << 10          // bytes a second: a reader of a download that takes less is cut off
	leastRoom     = 256 << 20        // bytes on the disk of the data directory
)

// New listens, opens the data directory, loads what is stored and takes in what was acknowledged but not decided on. While something is away
// or full that may come back, it waits for it, and the operators' port says so; it returns when all is open, or with what waiting cannot
// mend, or when ctx ends with ctx's error.
func New(ctx context.Context, o Options) (*App, error) {
	s, err := begin(ctx, o.withDefaults())
	if err != nil {
		return nil, err
	}
	began := o.Clock.Now()
	var a *App
	err = s.until(ctx, func(ctx context.Context) error {
		a = &App{Options: s.Options, fleet: registry.New(), started: began, start: s}
		if broken := a.open(ctx); broken != nil {
			return errors.Join(broken, a.Close())
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	a.closers = append([]func() error{s.close}, a.closers...)
	if err = a.listen(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// Run serves until ctx ends, then drains. It owns every goroutine of the control plane and waits for all of them.
func (a *App) Run(ctx context.Context) error {
	if err := a.greet(ctx); err != nil {
		return unlessEnded(ctx, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.replica.Run(ctx) })
	group.Go(func() error { return a.ingest.Run(ctx) })
	group.Go(func() error { return a.entrance.Run(ctx) })
	group.Go(func() error { return a.mindLoad(ctx) })
	group.Go(func() error { return a.health.Run(ctx) })
	group.Go(func() error { return a.hub.Run(ctx) })
	a.serve(group)
	group.Go(func() error {
		<-ctx.Done()
		a.drain(context.WithoutCancel(ctx))
		return nil
	})
	a.Log.InfoContext(ctx, "listening", slog.String("operators", a.OperatorURL()), slog.String("agents", a.AgentURL()))
	return group.Wait()
}

// serve answers on all ports from now on.
func (a *App) serve(group *errgroup.Group) {
	go a.agents.serve() // waited for like the others
	a.start.operators.open(a.withHealth(a.operate))
	if a.start.private != nil {
		a.start.private.open(a.withHealth(a.metrics.Handler()))
	}
	for _, p := range a.ports() {
		group.Go(p.wait)
	}
}

// ports are all that are open.
func (a *App) ports() []*port { return append(a.start.ports(), a.agents) }

// drain sends no more hosts here, and lets the requests that are under way end.
func (a *App) drain(ctx context.Context) {
	a.health.Drain()
	if len(a.Database) > 0 { // a load balancer is told first, and sends nobody here any more
		_ = a.Clock.Sleep(ctx, noticeTime)
	}
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	for _, s := range a.ports() {
		if s.server.Shutdown(ctx) != nil {
			_ = s.server.Close()
		}
	}
}

// Close gives back what New opened. It may be called more than once.
func (a *App) Close() error {
	var failed []error
	for len(a.closers) > 0 {
		last := len(a.closers) - 1
		failed = append(failed, a.closers[last]())
		a.closers = a.closers[:last]
	}
	return errors.Join(failed...)
}

// OperatorURL is where operators and the console are served.
func (a *App) OperatorURL() string { return "http://" + a.start.operators.listener.Addr().String() }

// AgentURL is where agents are served.
func (a *App) AgentURL() string { return "https://" + a.agents.listener.Addr().String() }

func (a *App) about(context.Context) (api.Status, error) {
	return api.Status{
		Version: a.Version, Started: a.started.UTC(), Now: a.Clock.Now().UTC(), Endpoints: a.fleet.Len(), AgentURL: a.AgentURL(),
		Fingerprint: a.ca.Fingerprint(),
	}, nil
}

func (a *App) policy(ctx context.Context, name string) (repository.ComponentPolicy, error) {
	c, err := a.store.Component(ctx, name)
	return repository.ComponentPolicy{Kind: c.Kind, ValidationRequired: c.Validation != "none"}, err
}

func component(log *slog.Logger, name string) *slog.Logger {
	return log.With(slog.String("component", name))
}

// newID makes a random name such as "ro-k3v7q2xa5m".
func newID(prefix string) string {
	var b [7]byte
	_, _ = rand.Read(b[:]) // does not fail
	return prefix + "-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:10]
}

func ignoreClosed(f func() error) func() error {
	return func() error {
		if err := f(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// Run opens a control plane and serves it until ctx ends. That ctx ends before it is open is no error.
func Run(ctx context.Context, o Options) error {
	a, err := New(ctx, o)
	if err != nil {
		return unlessEnded(ctx, fmt.Errorf("start the control plane: %w", err))
	}
	return errors.Join(a.Run(ctx), a.Close())
}

// unlessEnded is err, unless it was asked for: a start that is ended while it waits has not failed.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}
