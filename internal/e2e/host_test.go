package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/agent"
	"github.com/firebreak-dev/firebreak/internal/endpoint/command"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/identity"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
	"github.com/firebreak-dev/firebreak/internal/endpoint/uplink"
)

// host is one managed machine.
type host struct {
	t      *testing.T
	plane  *plane
	dir    string
	id     string
	record identity.Record
	file   component.File
	clock  *movable
	fs     disk.FS
	log    *words
	line   *line
	stop   func()      // ends the agent in good order
	cut    func()      // ends it without a word
	killed func() bool // the process is dead by now, though its goroutines are not; may be nil
}

// consumer answers for the release in use: it is well unless the release says "bad".
func consumer(current string) http.Handler {
	mux := http.NewServeMux()
	read := func(w http.ResponseWriter) ([]byte, bool) {
		data, err := os.ReadFile(filepath.Join(current, "rules.txt"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		return data, err == nil
	}
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if data, ok := read(w); ok && bytes.Contains(data, []byte("bad")) {
			http.Error(w, "these rules are bad", http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/loaded", func(w http.ResponseWriter, _ *http.Request) {
		if data, ok := read(w); ok {
			_, _ = fmt.Fprint(w, release.DigestOf(data))
		}
	})
	return mux
}

const hostFile = `component: sensor-content
kind: content
probes:
  - http: {url: "%[1]s/healthz"}
  - loaded: {file: rules.txt, http: {url: "%[1]s/loaded"}}
soak: 200ms
interval: 60ms
grace: 1ms
watch: 1h
limits: {size: 100000, files: 20}
`

// newHost joins a host. Its agent does not run yet.
func (p *plane) newHost() *host {
	p.t.Helper()
	h := &host{t: p.t, plane: p, dir: filepath.Join(p.t.TempDir(), "host"), clock: &movable{}, fs: disk.OS{}, log: &words{}}
	out := &words{}
	code := command.Run(p.t.Context(), command.Env{Out: out, Err: out, Args: []string{
		"join", "--state", h.dir, "--server", p.agents, "--token", p.join, "--ca-fingerprint", p.fingerprint,
	}})
	if code != 0 {
		p.t.Fatalf("join: %s", out)
	}
	var err error
	if h.record, err = identity.Load(disk.OS{}, filepath.Join(h.dir, "identity")); err != nil {
		p.t.Fatal(err)
	}
	h.id = h.record.Endpoint
	server := httptest.NewServer(consumer(filepath.Join(h.dir, "components", sensor, "current")))
	p.t.Cleanup(server.Close)
	if h.file, err = component.Parse(fmt.Appendf(nil, hostFile, server.URL)); err != nil {
		p.t.Fatal(err)
	}
	h.file = h.file.Defaulted()
	return h
}

// newHosts joins hosts and runs them.
func (p *plane) newHosts(n int) []*host {
	p.t.Helper()
	hosts := make([]*host, n)
	for i := range hosts {
		hosts[i] = p.newHost()
		hosts[i].run()
	}
	return hosts
}

// slotSize of a host's journal: tests read it all the time.
const slotSize = 32 << 10

// run starts the agent, or starts it again.
func (h *host) run() {
	h.t.Helper()
	a, closers, err := h.open()
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx)
	}()
	h.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		closers()
	})
	line := h.line
	h.cut = func() {
		line.cut()
		h.stop()
	}
	h.t.Cleanup(func() {
		h.stop()
		if h.t.Failed() {
			h.t.Logf("%s, %+v, says:\n%s", h.id, h.state(), tail(h.log.String()))
		}
	})
}

func (h *host) open() (*agent.Agent, func(), error) {
	memory, err := journal.Open(h.fs, filepath.Join(h.dir, "journal"), slotSize)
	if err != nil {
		return nil, nil, err
	}
	config, err := h.record.TLS()
	if err != nil {
		return nil, nil, err
	}
	h.line = &line{Client: uplink.New(h.record.Server, config), before: h.line, killed: h.killed}
	client := h.line.Client
	seed, err := strconv.ParseUint(h.id[3:19], 16, 64)
	if err != nil {
		return nil, nil, err
	}
	a, err := agent.New(agent.Options{
		Endpoint: h.id, Tenant: h.record.Tenant, StateDir: h.dir, Root: h.record.Root, Files: []component.File{h.file}, Uplink: h.line, Journal: memory, FS: h.fs,
		Clock: h.clock, Log: slog.New(slog.NewTextHandler(h.log, nil)), Random: rand.New(rand.NewPCG(seed, seed)),
		Attributes: api.Attributes{Site: "here"}, Platform: "linux/amd64", Boot: "boot",
		KeepIdentity: func(context.Context, time.Time) (bool, error) { return false, nil },
		Events:       h.line.Events, LeastPoll: 10 * time.Millisecond,
	})
	return a, func() { client.Close(); _ = memory.Close() }, err
}

// line is the network between one agent and its control plane, which may be cut and may lie.
type line struct {
	*uplink.Client
	before *line // the line of the agent before
	killed func() bool

	mu       sync.Mutex
	dead     bool
	acked    int64
	reply    func(api.CheckIn, api.CheckInReply) api.CheckInReply
	envelope func([]byte) []byte
	server   *httptest.Server
	told     []api.Report // acknowledged
}

var errCut = errors.New("the line is cut")

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = false
}

func (l *line) ok() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead || l.killed != nil && l.killed() {
		return errCut
	}
	return nil
}

func (l *line) CheckIn(ctx context.Context, body api.CheckIn) (api.CheckInReply, error) {
	if err := l.ok(); err != nil {
		return api.CheckInReply{}, err
	}
	reply, err := l.Client.CheckIn(ctx, body)
	if err = errors.Join(err, l.ok()); err != nil {
		return api.CheckInReply{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range body.Reports {
		if r.Seq <= reply.Ack && r.Seq > l.acked {
			l.told, l.acked = append(l.told, r), r.Seq
		}
	}
	if l.reply != nil {
		reply = l.reply(body, reply)
	}
	return reply, nil
}

func (l *line) Directive(ctx context.Context, name string) ([]byte, error) {
	if err := l.ok(); err != nil {
		return nil, err
	}
	data, err := l.Client.Directive(ctx, name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.envelope != nil {
		data = l.envelope(data)
	}
	return data, err
}

func (l *line) Events(ctx context.Context, heard func(look bool)) error {
	if err := l.ok(); err != nil {
		return err
	}
	return l.Client.Events(ctx, heard)
}

func (l *line) Metadata(ctx context.Context, name string) ([]byte, error) {
	if err := l.ok(); err != nil {
		return nil, err
	}
	return l.Client.Metadata(ctx, name)
}

func (l *line) Artifact(digest string) (*http.Client, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server != nil {
		return l.server.Client(), l.server.URL + api.PathArtifacts + digest
	}
	return l.Client.Artifact(digest)
}

// lie lets the control plane's answers be changed on their way.
func (l *line) lie(reply func(api.CheckIn, api.CheckInReply) api.CheckInReply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reply = reply
}

// show lets directives be changed on their way.
func (l *line) show(envelope func([]byte) []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.envelope = envelope
}

// acknowledged are all reports that the host was told are stored, by all of its agents.
func (l *line) acknowledged() []api.Report {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(l.before.acknowledged(), l.told...)
}

// current is the text of the release in use, "" if there is none.
func (h *host) current() string {
	data, err := os.ReadFile(filepath.Join(h.dir, "components", sensor, "current", "rules.txt"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Errorf("read the release in use: %v", err)
	}
	return string(data)
}

// state is what the agent's journal says. It may be read while the agent runs.
func (h *host) state() install.State {
	h.t.Helper()
	memory, err := journal.Open(disk.OS{}, filepath.Join(h.dir, "journal"), slotSize)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = memory.Close() }()
	states, err := agent.Remembered(memory)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range states {
		if s.Component == sensor {
			return s
		}
	}
	return install.State{}
}

// runs waits until the host runs a release, and is done with it.
func (h *host) runs(version string) {
	h.t.Helper()
	eventually(h.t, h.id+" to run "+version, func() error {
		if s := h.state(); s.Current.Version != version || s.Phase != install.Idle {
			return fmt.Errorf("runs %q, %s: %s; log: %s", s.Current.Version, s.Phase, s.Why, tail(h.log.String()))
		}
		return nil
	})
}

// says waits until the agent's log has all words on one line.
func (h *host) says(words ...string) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("%s to say %q", h.id, words), func() error {
		text := h.log.String()
	lines:
		for line := range strings.Lines(text) {
			for _, word := range words {
				if !strings.Contains(line, word) {
					continue lines
				}
			}
			return nil
		}
		return fmt.Errorf("log: %s", tail(text))
	})
}

func tail(text string) string { return text[max(0, len(text)-2500):] }

// payload reads what a signed envelope says.
func payload[T any](t *testing.T, envelope []byte) T {
	t.Helper()
	var outer struct {
		Payload []byte `json:"payload"`
	}
	var v T
	if err := errors.Join(json.Unmarshal(envelope, &outer), json.Unmarshal(outer.Payload, &v)); err != nil {
		t.Fatal(err)
	}
	return v
}
