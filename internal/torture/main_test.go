//go:build unix

package torture

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/app"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

var (
	length    = flag.Duration("torture", 0, "how long installations are tortured, half of it on PostgreSQL and half on SQLite; 0: a few seconds, on SQLite only")
	seed      = flag.Uint64("seed", 0, "of the schedule of faults and of what hosts and operators do; 0: by the time of day")
	endpoints = flag.Int("endpoints", 0, "hosts of an installation; 0: 2000, or 100 if it is tortured for less than a minute")
	words     = flag.Bool("words", false, "show what the control planes log")
)

// settings are what a control plane in a process of its own is told.
type settings struct {
	Data, Database, Replica, Operators, Agents string

	Idle, Active, Grace, Life time.Duration

	Ahead time.Duration // of the true time is its clock when it starts
}

// TestMain lets the test's own binary be a control plane that can be killed. It is what `firebreak serve` runs, but for the times: hosts are
// given seconds to be heard again after a leader died, not minutes.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "control-plane" {
		if err := controlPlane(os.Args[2]); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func controlPlane(told string) error {
	var s settings
	if err := json.Unmarshal([]byte(told), &s); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var clock steppable
	clock.set(s.Ahead)
	go func() {
		clock.obey(os.Stdin)
		os.Exit(2) // it does not outlive the tests
	}()
	return app.Run(ctx, app.Options{
		Data: s.Data, Database: s.Database, Replica: s.Replica, Operators: s.Operators, Agents: s.Agents, PollIdle: s.Idle, PollActive: s.Active,
		Grace: s.Grace, Life: s.Life, Version: "torture", Out: os.Stdout,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Clock: &clock,
	})
}

// short is how long a plain run of all tests takes this one.
const short = 5 * time.Second

func TestTortureSQLite(t *testing.T) {
	if *length == 0 {
		fulltest.Only(t)
	}
	duration := *length / 2
	if duration == 0 {
		if testing.Short() {
			t.Skip("SKIPPED with -short")
		}
		duration = short
	}
	newWorld(t, false, duration).torture(duration)
}

func TestTorturePostgres(t *testing.T) {
	if *length == 0 {
		t.Skip("SKIPPED, it takes longer than a test should: scripts/torture 30s runs it")
	}
	newWorld(t, true, *length/2).torture(*length / 2)
}
