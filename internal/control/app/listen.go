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

// served is a port and who answers on it.
type served struct {
	listener net.Listener
	server   *http.Server
}

// run serves until the server is shut down.
func (s served) run() error {
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listen opens all ports. From here on requests wait in the kernel until Run serves them.
func (a *App) listen(ctx context.Context, operators http.Handler) error {
	var err error
	if a.operator, err = a.port(ctx, "operators", a.Operators, "--listen-operator"); err != nil {
		return err
	}
	agents, err := a.port(ctx, "agents", a.Agents, "--listen-agents")
	if err != nil {
		return err
	}
	paced := &admission.Listener{Listener: agents, Door: a.door, Clock: a.Clock, Turned: a.turned, Busy: make(chan struct{}, runtime.GOMAXPROCS(0))}
	a.agents = tls.NewListener(paced, a.agentTLS(paced))
	forAgents := a.serverFor(a.ingest.Handler())
	forAgents.ConnContext, forAgents.ConnState, forAgents.ReadTimeout = a.ingest.ConnContext, paced.Watch, agentBody
	a.served = []served{{a.operator, a.serverFor(operators)}, {a.agents, forAgents}}
	if a.Private == "" {
		return nil
	}
	private, err := a.port(ctx, "metrics", a.Private, "--listen-private")
	if err != nil {
		return err
	}
	s := a.serverFor(a.metrics.Handler())
	s.WriteTimeout = 0 // a profile takes as long as was asked for
	a.served = append(a.served, served{private, s})
	return nil
}

func (a *App) port(ctx context.Context, who, address, flag string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen for %s on %s: %w", who, address, err).Hint("choose another address with %s", flag)
	}
	a.closers = append(a.closers, ignoreClosed(l.Close))
	return l, nil
}

// serverFor bounds what a client may take of the server's time and memory.
func (a *App) serverFor(h http.Handler) *http.Server {
	quiet := slog.NewLogLogger(component(a.Log, "http").Handler(), slog.LevelDebug)
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
