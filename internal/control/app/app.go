// Package app puts the control plane together: the only package that knows everybody in its wing.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/disk"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/gate"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/notify"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/repository"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/web"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Options are what an installation needs to know.
type Options struct {
	Data       string   // data directory; made if it is not there
	Operators  string   // address of operators and console; must be loopback
	Agents     string   // address of agents
	AgentHosts []string // further names and addresses of the agent port
	Prometheus string   // base URL of the Prometheus that answers the queries of gates; empty: none does
	GateHosts  []string // "host" or "host:port" that the HTTP checks of gates may ask
	PollIdle   time.Duration
	PollActive time.Duration
	Grace      time.Duration // hosts get to be heard again after a start, before their silence counts or rings open; 0 means what suits agents
	Version    string
	Out        io.Writer // words for people at the first start
	Log        *slog.Logger
	Clock      clock.Clock
}

// App is a control plane. New opens it and listens; Run serves until its context ends; Close gives everything back.
type App struct {
	Options
	store    *store.Store
	fleet    *registry.Registry
	ca       *ca.CA
	repo     *repository.Repository
	engine   *engine.Engine
	ingest   *ingest.Ingest
	started  time.Time
	operator net.Listener
	agents   net.Listener
	servers  []*http.Server
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
	headerTimeout = 10 * time.Second
	bodyTimeout   = 10 * time.Minute // artifacts are large and lines are slow
	idleTimeout   = 30 * time.Second
)

// New opens the data directory, loads what is stored, takes in what was acknowledged but not decided on, and listens.
func New(ctx context.Context, o Options) (*App, error) {
	a := &App{Options: o, fleet: registry.New(), started: o.Clock.Now()}
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// open is the wiring: one place where everything meets, read from top to bottom.
func (a *App) open(ctx context.Context) error {
	if err := loopback(a.Operators); err != nil {
		return err
	}
	var err error
	if a.store, err = sqlite.Open(ctx, filepath.Join(a.Data, "firebreak.db")); err != nil {
		return err
	}
	a.closers = append(a.closers, a.store.Close)
	blobs, err := disk.Open(filepath.Join(a.Data, "blobs"))
	if err != nil {
		return err
	}
	keyDir := filepath.Join(a.Data, "keys")
	if a.ca, err = ca.Open(keyDir, a.Clock); err != nil {
		return err
	}
	keys, err := repository.OpenKeys(keyDir, rand.Reader)
	if err != nil {
		return err
	}
	a.repo, err = repository.New(repository.Options{
		Store: a.store, Blobs: blobs, Keys: keys, Policy: a.policy, Clock: a.Clock, Log: component(a.Log, "repository"),
	})
	if err != nil {
		return err
	}
	rows, err := a.store.Endpoints(ctx, "", 0)
	if err != nil {
		return err
	}
	ingest.Load(rows, a.fleet)
	gates, err := gate.New(gate.Options{Prometheus: a.Prometheus, Allowed: a.GateHosts, Clock: a.Clock})
	if err != nil {
		return err
	}
	a.engine, err = engine.New(ctx, engine.Options{
		Store: a.store, Settings: a.store, Releases: a.store, Directives: a.store, Fleet: a.fleet, Signer: a.repo, Gates: gates,
		Notifier: notify.Log{Logger: component(a.Log, "notify")}, Clock: a.Clock, Log: component(a.Log, "engine"), NewID: newID,
		Tick: tick, Grace: a.PollIdle + cmp.Or(a.Grace, grace), Reach: reach, Hearing: 3*a.PollIdle + hearing, Freshness: freshness,
	})
	if err != nil {
		return err
	}
	a.ingest = ingest.New(ingest.Options{
		Store: a.store, Engine: a.engine, CA: a.ca, Metadata: a.repo, Blobs: blobs, Fleet: a.fleet, Clock: a.Clock,
		Log: component(a.Log, "ingest"), PollIdle: a.PollIdle, PollActive: a.PollActive, Flush: flush,
	})
	operators := server.New(server.Options{
		Tokens: a.store, Fleet: a.store, Components: a.store, Plans: a.store, Releases: a.store, Records: a.store, Engine: a.engine,
		Freezes: a.engine, Repository: a.repo, Blobs: blobs, Live: a.fleet, About: a.about, Web: web.Handler(), Random: rand.Reader,
		Clock: a.Clock, Log: component(a.Log, "server"),
	})
	return a.listen(ctx, operators)
}

func (a *App) listen(ctx context.Context, operators http.Handler) error {
	var err error
	var config net.ListenConfig
	if a.operator, err = config.Listen(ctx, "tcp", a.Operators); err != nil {
		return fault.New(fault.Unavailable, "listen for operators on %s: %w", a.Operators, err).Hint("choose another address with --listen-operator")
	}
	a.closers = append(a.closers, ignoreClosed(a.operator.Close))
	listener, err := config.Listen(ctx, "tcp", a.Agents)
	if err != nil {
		return fault.New(fault.Unavailable, "listen for agents on %s: %w", a.Agents, err).Hint("choose another address with --listen-agents")
	}
	a.closers = append(a.closers, ignoreClosed(listener.Close))
	certificates := &serverCertificate{ca: a.ca, clock: a.Clock, hosts: a.hosts(listener)}
	a.agents = tls.NewListener(listener, &tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: certificates.get, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.ca.Pool(),
		NextProtos: []string{"http/1.1"},
	})
	quiet := slog.NewLogLogger(component(a.Log, "http").Handler(), slog.LevelDebug)
	for _, handler := range []http.Handler{operators, a.ingest.Handler()} {
		a.servers = append(a.servers, &http.Server{
			Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, WriteTimeout: bodyTimeout, IdleTimeout: idleTimeout,
			MaxHeaderBytes: 16 << 10, ErrorLog: quiet,
		})
	}
	return nil
}

// Run serves until ctx ends, then drains. It owns every goroutine of the control plane and waits for all of them.
func (a *App) Run(ctx context.Context) error {
	if err := a.greet(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.engine.Run(ctx) })
	group.Go(func() error { return a.ingest.Run(ctx) })
	group.Go(func() error { return a.refresh(ctx) })
	for i, listener := range []net.Listener{a.operator, a.agents} {
		group.Go(func() error {
			if err := a.servers[i].Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
		defer cancel()
		for _, s := range a.servers {
			if s.Shutdown(drain) != nil {
				_ = s.Close()
			}
		}
		return nil
	})
	a.Log.InfoContext(ctx, "listening", slog.String("operators", a.OperatorURL()), slog.String("agents", a.AgentURL()))
	return group.Wait()
}

// refresh keeps what is signed online fresh. Before the publisher has made a root there is nothing to sign.
func (a *App) refresh(ctx context.Context) error {
	a.refreshOnce(ctx)
	for a.Clock.Sleep(ctx, refresh) == nil {
		a.refreshOnce(ctx)
	}
	return nil
}

func (a *App) refreshOnce(ctx context.Context) {
	if err := a.repo.Refresh(ctx, a.Clock.Now()); err != nil && ctx.Err() == nil {
		a.Log.ErrorContext(ctx, "refresh the repository's metadata", slog.Any("error", err))
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
func (a *App) OperatorURL() string { return "http://" + a.operator.Addr().String() }

// AgentURL is where agents are served.
func (a *App) AgentURL() string { return "https://" + a.agents.Addr().String() }

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

// hosts are the names on the agent port's certificate.
func (a *App) hosts(l net.Listener) []string {
	hosts := append([]string{"localhost", "127.0.0.1", "::1"}, a.AgentHosts...)
	if host, _, err := net.SplitHostPort(l.Addr().String()); err == nil {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// loopback refuses to show bearer tokens to a network.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fault.New(fault.Invalid, "listen for operators on %q: %w", address, err).Hint("write it as 127.0.0.1:7080")
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fault.New(fault.Invalid, "listen for operators on %q: tokens would cross the network in clear text", address).
		Hint("bind to loopback, and put a proxy with TLS in front")
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

// Run opens a control plane and serves it until ctx ends.
func Run(ctx context.Context, o Options) error {
	a, err := New(ctx, o)
	if err != nil {
		return fmt.Errorf("start the control plane: %w", err)
	}
	return errors.Join(a.Run(ctx), a.Close())
}
