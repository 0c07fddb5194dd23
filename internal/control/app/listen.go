package app

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime"

	"github.com/firebreak-dev/firebreak/internal/control/admission"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// port is a listener that is served from the first moment on. What it says changes once, when the control plane is open.
type port struct {
	listener  net.Listener
	server    *http.Server
	meanwhile http.Handler
	opened    chan struct{} // closed when next is there
	next      http.Handler
	ended     chan struct{} // closed when nobody serves any more
	err       error         // why
}

// ServeHTTP implements [http.Handler].
func (p *port) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-p.opened:
		p.next.ServeHTTP(w, r)
	default:
		p.meanwhile.ServeHTTP(w, r)
	}
}

// open hands the port over: whoever waits is answered now.
func (p *port) open(next http.Handler) {
	p.next = next
	close(p.opened)
}

// serve serves until the server is shut down.
func (p *port) serve() {
	defer close(p.ended)
	if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		p.err = err
	}
}

// wait waits until nobody serves any more, and says why if that was not wanted.
func (p *port) wait() error {
	<-p.ended
	return p.err
}

// close ends the port at once. It may be called more than once.
func (p *port) close() error {
	_ = p.server.Close() // its listener's error, which says that it is closed
	return p.wait()
}

// listen opens the ports of operators and of monitoring, and looks whether that of agents can be opened later.
func (s *start) listen(ctx context.Context) (err error) {
	if s.operators, err = s.port(ctx, "operators", s.Operators, "--listen-operator"); err != nil {
		return err
	}
	s.serve(s.operators)
	if s.Private != "" {
		if s.private, err = s.port(ctx, "metrics", s.Private, "--listen-private"); err != nil {
			return err
		}
		s.private.server.WriteTimeout = 0 // a profile takes as long as was asked for
		s.serve(s.private)
	}
	agents, err := s.bind(ctx, "agents", s.Agents, "--listen-agents")
	if err != nil {
		return err
	}
	return agents.Close()
}

// port makes a port that nobody serves yet.
func (s *start) port(ctx context.Context, who, address, flag string) (*port, error) {
	l, err := s.bind(ctx, who, address, flag)
	if err != nil {
		return nil, err
	}
	p := &port{listener: l, opened: make(chan struct{}), ended: make(chan struct{})}
	p.server = s.serverFor(p)
	return p, nil
}

// serve begins to answer what can be answered before the control plane is open.
func (s *start) serve(p *port) {
	p.meanwhile = s.handler(p)
	go p.serve() // close waits for it
}

func (o Options) bind(ctx context.Context, who, address, flag string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen for %s on %s: %w", who, address, err).Hint("choose another address with %s", flag)
	}
	return l, nil
}

// listen opens the agents' port. From here on their requests wait in the kernel until Run serves them.
func (a *App) listen(ctx context.Context) error {
	agents, err := a.bind(ctx, "agents", a.Agents, "--listen-agents")
	if err != nil {
		return err
	}
	a.closers = append(a.closers, ignoreClosed(agents.Close))
	paced := &admission.Listener{Listener: agents, Door: a.door, Clock: a.Clock, Turned: a.turned, Busy: make(chan struct{}, runtime.GOMAXPROCS(0))}
	server := a.serverFor(a.ingest.Handler())
	server.ConnContext, server.ConnState, server.ReadTimeout = a.ingest.ConnContext, paced.Watch, agentBody
	a.agents = &port{listener: tls.NewListener(paced, a.agentTLS(paced)), server: server, ended: make(chan struct{})}
	return nil
}

// serverFor bounds what a client may take of the server's time and memory.
func (o Options) serverFor(h http.Handler) *http.Server {
	quiet := slog.NewLogLogger(component(o.Log, "http").Handler(), slog.LevelDebug)
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, WriteTimeout: bodyTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: 16 << 10, ErrorLog: quiet,
	}
}

// agentTLS identifies hosts. HTTP/1.1 only: a stream of its own for each host costs more than twice as much.
func (a *App) agentTLS(l *admission.Listener) *tls.Config {
	certificates := &serverCertificate{ca: a.ca, clock: a.Clock, hosts: a.hosts(l)}
	keys := &ticketKeys{ca: a.ca}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: certificates.get, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.ca.Pool(),
		NextProtos: []string{"http/1.1"},
	}
	keys.renew(config, a.Clock.Now())
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		keys.renew(config, a.Clock.Now())
		return nil, l.Hello(hello)
	}
	return config
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
