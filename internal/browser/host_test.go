package browser

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/endpoint/identity"
)

const (
	pollIdle   = time.Second
	pollActive = 300 * time.Millisecond
	proof      = 600 * time.Millisecond // about how long a host needs to know how a release does
	mending    = 2 * time.Second        // from a crash to the release before, more or less
)

// host is one simulated endpoint: it runs nothing and says what an agent would. One goroutine uses it.
type host struct {
	w          *world
	random     *rand.Rand
	attributes api.Attributes
	labels     map[string]string
	posture    api.Posture
	key        *ecdsa.PrivateKey
	id         string
	http       *http.Client
	silent     atomic.Bool

	told    bool // it has said what it is since the last resync
	pause   time.Duration
	seq     int64
	waiting []api.Report // not acknowledged
	parts   map[string]*part
}

// part is one component of a host.
type part struct {
	directive    api.Directive
	runs, before api.Target
	proves       *api.Target // the release that it has a lease of
	lease        string
	verdict      time.Time    // when it knows how the release does
	recovers     []api.Report // what it says once it is well again
	well         time.Time    // and when that is
	refuses      map[string]bool
}

// Of these are the hosts.
func classes() []string { return []string{"server", "server", "server", "desktop", "laptop"} }
func sites() []string   { return []string{"graz", "wien", "linz", "salzburg"} }
func kernels() []string { return []string{"6.1.0-21", "6.1.0-22", "6.1.0-22", "6.12.3-1"} }

// newHost joins the n-th host.
func (w *world) newHost(n int) (*host, error) {
	h := &host{
		w: w, random: rand.New(rand.NewPCG(7, uint64(n))), parts: map[string]*part{}, pause: pollIdle,
		attributes: api.Attributes{
			OS: "linux", Version: []string{"12", "13"}[n%2], Kernel: kernels()[n%len(kernels())], Arch: "amd64", Class: classes()[n%len(classes())],
			Region: "eu", Site: sites()[n/2%len(sites())],
		},
		labels:  map[string]string{"role": []string{"web", "db", "edge"}[n%3]},
		posture: api.Posture{Have: strings.Fields("panic-reboot panic-early watchdog deadline guard guard-early guard-enabled good space launcher"), Missing: []string{"watchdog-hardware"}},
	}
	if n%9 == 0 {
		h.posture = api.Posture{Have: strings.Fields("watchdog good space launcher"), Missing: strings.Fields("panic-reboot panic-early watchdog-hardware deadline guard guard-early guard-enabled")}
	}
	for _, c := range components {
		h.parts[c] = &part{refuses: map[string]bool{}}
	}
	var err error
	if h.key, err = identity.NewKey(); err != nil {
		return nil, err
	}
	return h, h.join()
}

// join gives it an identity.
func (h *host) join() error {
	csr, err := identity.Request(h.key)
	if err != nil {
		return err
	}
	h.connect(identity.Pinned(h.w.fingerprint, "127.0.0.1"))
	var reply api.EnrolReply
	request := api.EnrolRequest{Token: h.w.join, CSR: csr, Attributes: h.attributes, Labels: h.labels}
	if err = h.post(h.w.t.Context(), api.PathEnrol, request, &reply); err != nil {
		return err
	}
	record, err := identity.Record{}.Complete(h.key, reply)
	if err != nil {
		return err
	}
	config, err := record.TLS()
	if err != nil {
		return err
	}
	h.http.CloseIdleConnections()
	h.connect(config)
	h.id = reply.Endpoint
	return nil
}

func (h *host) connect(config *tls.Config) {
	h.http = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 1}}
}

func (h *host) post(ctx context.Context, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := h.do(ctx, http.MethodPost, path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

func (h *host) do(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://"+h.w.agents+path, body)
	if err != nil {
		return nil, err
	}
	response, err := h.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %.200s", method, path, response.StatusCode, data)
	}
	return data, err
}

func now() time.Time { return clock.Wall{}.Now() }

// run lives until ctx ends. What goes wrong is tried again: control planes come and go.
func (h *host) run(ctx context.Context) {
	defer h.http.CloseIdleConnections()
	for (clock.Wall{}).Sleep(ctx, h.pause/2+h.upTo(h.pause)) == nil {
		if h.silent.Load() {
			continue
		}
		h.live(now())
		if h.checkIn(ctx) != nil {
			h.told, h.pause = false, pollIdle
		}
	}
}

func (h *host) upTo(d time.Duration) time.Duration { return time.Duration(h.random.Int64N(int64(d))) }

// live lets releases do what they do.
func (h *host) live(at time.Time) {
	for name, p := range h.parts {
		if len(p.recovers) > 0 && !at.Before(p.well) {
			for _, r := range p.recovers {
				h.say(r)
			}
			p.recovers = nil
		}
		if p.proves == nil || at.Before(p.verdict) {
			continue
		}
		target := *p.proves
		p.proves = nil
		told := api.Report{Component: name, Rollout: target.Rollout, Release: target.Version, Manifest: target.Manifest, Outcome: "confirmed"}
		if h.w.harms(name, target.Version, h) {
			h.harmed(p, told, at)
			continue
		}
		p.before, p.runs = p.runs, target
		h.say(told)
	}
}

// harmed says how the consumer died, and goes back.
func (h *host) harmed(p *part, told api.Report, at time.Time) {
	p.refuses[told.Manifest] = true
	well := told
	well.Outcome = api.OutcomeRecovered
	p.recovers, p.well = []api.Report{well}, at.Add(mending)
	told.Outcome, told.Detail = "crashed", "the consumer died 41 ms after it read the release"
	told.Crash = &api.Crash{Signal: "SEGV", Status: -1, Signature: "7f3a90c1d2e4b586", Headline: "sensor: read of 20 fields of a record that has 21 (detections.json)"}
	h.say(told)
}

func (h *host) say(r api.Report) {
	h.seq++
	r.Seq, r.At = h.seq, now()
	h.waiting = append(h.waiting, r)
}

// wanted is what the part should run and does not.
func (p *part) wanted() (api.Target, bool) {
	for _, t := range []*api.Target{p.directive.Candidate, p.directive.Stable} {
		if t != nil && !t.Paused && t.Manifest != p.runs.Manifest && !p.refuses[t.Manifest] && p.proves == nil && len(p.recovers) == 0 {
			return *t, t.Serial > p.runs.Serial
		}
	}
	return api.Target{}, false
}

func (h *host) checkIn(ctx context.Context) error {
	body := api.CheckIn{Reports: h.waiting, Components: map[string]api.Component{}}
	for name, p := range h.parts {
		c := api.Component{Kind: kindOf(name), Version: p.runs.Version, Previous: p.before.Version, Consumer: "7.11", Phase: "idle"}
		if p.proves != nil {
			c.Phase = "proving"
		}
		for refused := range p.refuses {
			c.Refuses = append(c.Refuses, refused)
		}
		body.Components[name] = c
		if t, ok := p.wanted(); ok {
			body.Wishes = append(body.Wishes, api.Wish{Component: name, Rollout: t.Rollout, Manifest: t.Manifest})
		}
	}
	if !h.told {
		body.Attributes, body.Posture, body.Boot = &h.attributes, &h.posture, "boot-"+h.id
	}
	var reply api.CheckInReply
	if err := h.post(ctx, api.PathCheckIn, body, &reply); err != nil {
		return err
	}
	h.told, h.pause = !reply.Resync, max(pollActive, time.Duration(reply.PollMillis)*time.Millisecond)
	for len(h.waiting) > 0 && h.waiting[0].Seq <= reply.Ack {
		h.waiting = h.waiting[1:]
	}
	for _, envelope := range reply.Leases {
		if err := h.lease(envelope); err != nil {
			return err
		}
	}
	return h.look(ctx, reply.Directives)
}

// lease begins with a release, if the lease is what it asked for.
func (h *host) lease(envelope []byte) error {
	for name, p := range h.parts {
		t, ok := p.wanted()
		if !ok {
			continue
		}
		l, err := trust.OpenLease(envelope, h.w.director, trust.LeaseWanted{
			Endpoint: h.id, Component: name, Rollout: t.Rollout, Manifest: release.Digest(t.Manifest), Plan: h.w.plan, Created: h.w.begun, Now: now(),
		})
		if err != nil {
			continue
		}
		p.proves, p.lease, p.verdict = &t, l.ID, now().Add(proof/2+h.upTo(proof))
		return nil
	}
	return fmt.Errorf("host %s: got a lease that it has no use for: %s", h.id, envelope)
}

// look fetches directives that are new, and obeys them.
func (h *host) look(ctx context.Context, sequences map[string]int64) error {
	for name, sequence := range sequences {
		p := h.parts[name]
		if sequence <= p.directive.Sequence {
			continue
		}
		envelope, err := h.do(ctx, http.MethodGet, api.PathDirectives+name, http.NoBody)
		if err != nil {
			return err
		}
		d, err := trust.OpenDirective(envelope, h.w.director, trust.DirectiveWanted{Component: name, Newest: p.directive.Sequence, Now: now()})
		if err != nil {
			return err
		}
		p.directive = d
		for _, recalled := range d.Recalls {
			h.leave(name, p, recalled.Manifest)
		}
	}
	return nil
}

// leave goes back from a release that was recalled.
func (h *host) leave(name string, p *part, manifest string) {
	left := p.runs
	switch {
	case p.proves != nil && p.proves.Manifest == manifest:
		left, p.proves = *p.proves, nil
	case p.runs.Manifest == manifest:
		p.runs, p.before = p.before, api.Target{}
	default:
		return
	}
	p.refuses[manifest] = true
	h.say(api.Report{Component: name, Rollout: left.Rollout, Release: left.Version, Manifest: manifest, Outcome: api.OutcomeRecovered})
}
