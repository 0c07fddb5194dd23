package main

import (
	"context"
	"log/slog"

	"github.com/firebreak-dev/firebreak/internal/cli"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/app"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/sim/forecast"
)

// serve runs the control plane as the flags say.
func serve(ctx context.Context, o cli.ServeOptions) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		return fault.New(fault.Invalid, "serve: log level %q is none of debug, info, warn and error", o.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(o.Log, options)
	if o.LogJSON {
		handler = slog.NewJSONHandler(o.Log, options)
	}
	return app.Run(ctx, app.Options{
		Data: o.Data, Database: o.Database, Keys: o.KeyDir, Blobs: o.Blobs, Replica: o.Replica, Private: o.ListenPrivate, Downloads: o.Downloads, TenantDownloads: o.TenantDownloads,
		Operators: o.ListenOperator, Agents: o.ListenAgents, AgentHosts: o.AgentHosts, Prometheus: o.Prometheus,
		Cell: o.Cell, Peers: o.Peers, PeerTokens: o.PeerTokens,
		GateHosts: o.GateHosts, PollIdle: o.PollIdle, PollActive: o.PollActive, Version: version, Out: o.Out, Log: slog.New(handler), Clock: clock.Wall{},
		Forecast: forecast.New(clock.Wall{}).Forecast,
	})
}

// database opens a PostgreSQL database.
func database(ctx context.Context, url string) (*store.Store, error) {
	return postgres.Open(ctx, url, postgres.Options{})
}
