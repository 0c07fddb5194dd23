package browser

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/app"
	"github.com/firebreak-dev/firebreak/internal/sim/forecast"
)

// plane is a control plane that can be stopped, started again where it was, and made slow.
type plane struct {
	t           *testing.T
	dir         string
	operators   string // address
	agents      string
	token, join string
	fingerprint string
	log         words
	mu          sync.Mutex
	end         func()
	slow        func() // lets the database go; nil: nobody holds it
}

var (
	serverLine = regexp.MustCompile(`FIREBREAK_SERVER=http://(\S+)`)
	tokenLine  = regexp.MustCompile(`FIREBREAK_TOKEN=(\S+)`)
	joinLine   = regexp.MustCompile(`--server https://(\S+) --token (\S+) --ca-fingerprint (\S+)`)
)

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, dir: filepath.Join(t.TempDir(), "control"), operators: "127.0.0.1:0", agents: "127.0.0.1:0"}
	out := &words{}
	if err := p.start(out); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.fast()
		p.stop()
		if t.Failed() {
			t.Logf("the control plane says:\n%s", p.log.last(8000))
		}
	})
	eventually(t, "the control plane's greeting", func() error {
		text := out.last(8000)
		if !strings.Contains(text, "Console:") {
			return fmt.Errorf("got %q", text)
		}
		p.operators, p.token = serverLine.FindStringSubmatch(text)[1], tokenLine.FindStringSubmatch(text)[1]
		m := joinLine.FindStringSubmatch(text)
		p.agents, p.join, p.fingerprint = m[1], m[2], m[3]
		return nil
	})
	return p
}

// start opens the control plane, at the same addresses as before.
func (p *plane) start(out *words) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	a, err := app.New(ctx, app.Options{
		Data: p.dir, Operators: p.operators, Agents: p.agents, PollIdle: pollIdle, PollActive: pollActive, Grace: time.Second, Version: "0.6.0", Out: out,
		Log: slog.New(slog.NewTextHandler(&p.log, &slog.HandlerOptions{Level: slog.LevelWarn})), Clock: clock.Wall{}, Forecast: forecast.New(clock.Wall{}).Forecast,
	})
	if err != nil {
		cancel()
		return err
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(a.Run(ctx), a.Close()) }()
	p.end = func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			p.t.Errorf("the control plane ended: %v", err)
		}
	}
	return nil
}

// stop ends it in good order.
func (p *plane) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end != nil {
		p.end()
		p.end = nil
	}
}

// hold makes the database as slow as can be: who writes waits until fast is called. Reading goes on.
func (p *plane) hold() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow != nil {
		return nil
	}
	ctx := context.WithoutCancel(p.t.Context())
	db, err := p.database()
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	p.slow = func() { _ = errors.Join(tx.Rollback(), db.Close()) }
	return nil
}

// database is a second way into the control plane's database.
func (p *plane) database() (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+filepath.Join(p.dir, "firebreak.db")+"?_txlock=immediate&_pragma=busy_timeout(10000)")
}

// fast ends what hold began.
func (p *plane) fast() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow != nil {
		p.slow()
		p.slow = nil
	}
}

// words is what a program says.
type words struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (w *words) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(data)
}

func (w *words) last(n int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.text.String()
	return text[max(0, len(text)-n):]
}

// patience is far longer than anything here takes on a busy machine.
const patience = 60 * time.Second

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		if (clock.Wall{}).Sleep(ctx, 20*time.Millisecond) != nil {
			t.Fatalf("wait for %s: %v", what, err)
		}
	}
}
