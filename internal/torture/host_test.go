//go:build unix

package torture

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/endpoint/identity"
)

// host is one simulated endpoint: it runs nothing, and says what an agent would. It is used by one goroutine.
type host struct {
	w      *world
	random *rand.Rand
	record identity.Record
	http   *http.Client
	at     int // the plane that it talks to

	seen    map[string]int64 // newest directive of each component in answers of one process of one plane
	process [2]int           // which plane, and which of its processes

	key     *ecdsa.PrivateKey
	joins   time.Time     // when it tries to join
	pause   time.Duration // what it was asked to wait, by the last answer
	told    bool          // it has said what it is since the last resync
	heard   atomic.Int64  // when it had the last answer, in Unix nanoseconds
	seq     int64
	waiting []api.Report // not acknowledged
	parts   map[string]*part
	silence time.Time // until when nothing is heard of it

	acked  []acknowledged
	leases []leased
}

// acknowledged is a report that the host was told is stored and decided on.
type acknowledged struct {
	api.Report
	at time.Time // of the answer
}

// leased is a lease that the host got.
type leased struct {
	api.Lease
	asked, got time.Time
	plane      string
	beside     []string // rollouts of other components that it was proving releases of
}

// part is one component of a host.
type part struct {
	directive api.Directive
	runs      api.Target
	before    api.Target
	proves    *api.Lease
	target    api.Target // of the lease
	until     time.Time  // by the host's clock, when the lease expires
	verdict   time.Time  // when it knows how the release does
	again     time.Time  // a lease could not be used: it asks again then
	refuses   map[string]bool
}

// newHost is a host that has not joined.
func (w *world) newHost(n int) (*host, error) {
	h := &host{w: w, random: w.randomOf(uint64(n) + 1000), at: n % len(w.planes), parts: map[string]*part{}, pause: w.poll}
	for _, c := range components {
		h.parts[c] = &part{refuses: map[string]bool{}}
	}
	h.record.Attributes = api.Attributes{
		OS: "linux", Arch: "amd64", Class: "server", Version: []string{"12", "13"}[n%2], Site: fmt.Sprintf("site-%d", n%20),
	}
	h.connect(identity.Pinned(w.fingerprint, "127.0.0.1"))
	var err error
	h.key, err = identity.NewKey()
	return h, err
}

// enrol joins through some plane. A host that did not hear the answer tries again with the same key.
func (h *host) enrol(ctx context.Context) error {
	csr, err := identity.Request(h.key)
	if err != nil {
		return err
	}
	var reply api.EnrolReply
	request := api.EnrolRequest{Token: h.w.join, CSR: csr, Attributes: h.record.Attributes}
	if err := h.post(ctx, api.PathEnrol, request, &reply); err != nil {
		return err
	}
	record, err := h.record.Complete(h.key, reply)
	if err != nil {
		return err
	}
	config, err := record.TLS()
	if err != nil {
		return err
	}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	h.record = record
	h.http.CloseIdleConnections()
	h.connect(config)
	h.w.count("joins")
	return nil
}

// joined tells whether it is one of the fleet.
func (h *host) joined() bool { return h.record.Endpoint != "" }

func (h *host) connect(config *tls.Config) {
	h.http = &http.Client{Timeout: answerWithin, Transport: &http.Transport{
		TLSClientConfig: config, MaxIdleConnsPerHost: 1, IdleConnTimeout: 20 * time.Second,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}}
}

// answerWithin is how long a host waits for an answer.
const answerWithin = 6 * time.Second

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
	request, err := http.NewRequestWithContext(ctx, method, "https://"+h.w.planes[h.at].agents.Addr().String()+path, body)
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
		err = &refusal{response.StatusCode, response.Header.Get("Retry-After"), fmt.Sprintf("%s %s: %.200s", method, path, data)}
	}
	return data, err
}

// refusal is an answer that is an error.
type refusal struct {
	status int
	later  string // seconds that it asks to wait, if it does
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("status %d: %s", r.status, r.text) }

// later is how long whoever answered asked to wait; 0 if nobody did.
func later(err error) time.Duration {
	if r, ok := errors.AsType[*refusal](err); ok {
		if seconds, err := strconv.Atoi(r.later); err == nil {
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}

// mostPolls bounds for how many polls a host stays away that is asked to come later: hosts poll far more often here than elsewhere, and what
// they are asked to wait is made for those.
const mostPolls = 4

// run lives until ctx ends.
func (h *host) run(ctx context.Context) {
	defer func() { h.http.CloseIdleConnections() }()
	for ctx.Err() == nil {
		if (clock.Wall{}).Sleep(ctx, h.rest()) != nil {
			return
		}
		instant := now()
		if wait := h.silence; h.w.mood() == harmed && (instant.Before(wait) || instant.Before(h.joins)) {
			continue
		}
		err := h.come(ctx, instant)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if wait := later(err); wait > 0 {
			h.w.count("hosts asked to come later")
			h.pause = min(wait, mostPolls*h.w.poll)
			continue
		}
		h.pause = h.w.poll
		h.at = h.random.IntN(len(h.w.planes)) // another one may be there
		h.told = false
	}
}

// rest is how long it sleeps: as long as it was asked to, more or less; but it tells at once how a release does.
func (h *host) rest() time.Duration {
	long := h.pause/2 + time.Duration(h.random.Int64N(int64(h.pause)))
	for _, p := range h.parts {
		if p.proves != nil && !now().Before(h.silence) {
			long = min(long, max(p.verdict.Sub(now()), time.Millisecond))
		}
	}
	return long
}

// come joins, or checks in.
func (h *host) come(ctx context.Context, at time.Time) error {
	if !h.joined() {
		err := h.enrol(ctx)
		if err != nil && ctx.Err() == nil {
			h.w.count("joins without an answer")
		}
		return err
	}
	h.live(at)
	err := h.checkIn(ctx)
	if err != nil && ctx.Err() == nil {
		h.w.count("check-ins without an answer")
	}
	return err
}

// live lets releases do what they do.
func (h *host) live(at time.Time) {
	for name, p := range h.parts {
		if p.proves == nil || at.Before(p.verdict) {
			continue
		}
		outcome, luck := "confirmed", h.random.Float64()
		if h.w.mood() != harmed && strings.HasPrefix(p.target.Version, "good") {
			luck = 1
		}
		switch version := p.target.Version; {
		case luck < 0.01:
			outcome = "rejected"
		case luck < 0.02:
			outcome = "goodbye"
		case strings.HasPrefix(version, "bad") && luck < 0.4:
			outcome = "crashed"
		case strings.HasPrefix(version, "bad") && luck < 0.7:
			outcome = "reverted"
		case strings.HasPrefix(version, "silent") && luck < 0.6:
			h.silence = at.Add(h.w.deadline + 2*time.Second)
			p.refuses[p.target.Manifest], p.proves = true, nil
			continue
		}
		lease := *p.proves
		p.proves = nil
		h.report(name, lease.Rollout, p.target, outcome)
		if outcome == "confirmed" {
			p.before, p.runs = p.runs, p.target
			continue
		}
		p.refuses[p.target.Manifest] = true
		if outcome == "crashed" || outcome == "reverted" {
			h.report(name, lease.Rollout, p.target, api.OutcomeRecovered)
		}
	}
}

func (h *host) report(name, rollout string, of api.Target, outcome string) {
	h.seq++
	h.waiting = append(h.waiting, api.Report{
		Seq: h.seq, At: now(), Component: name, Rollout: rollout, Release: of.Version, Manifest: of.Manifest, Outcome: outcome,
	})
}

// wanted is what the host should run and does not.
func (p *part) wanted() (api.Target, bool) {
	for _, t := range []*api.Target{p.directive.Candidate, p.directive.Stable} {
		if t != nil && !t.Paused && t.Manifest != p.runs.Manifest && !p.refuses[t.Manifest] && p.proves == nil {
			return *t, t.Serial > p.runs.Serial
		}
	}
	return api.Target{}, false
}

// mood is how hosts and releases are.
type mood int32

const (
	harmed   mood = iota // releases do harm, hosts fall silent, answers are lost
	settling             // hosts tell what is left to be told, and want nothing
	healthy              // every release does well, and no answer is lost
)

func (h *host) checkIn(ctx context.Context) error {
	asked := now()
	body := api.CheckIn{Reports: h.waiting}
	if n := len(h.acked); n > 0 && h.random.IntN(20) == 0 { // a host that lost its memory
		body.Reports = append([]api.Report{h.acked[n-1].Report}, h.waiting...)
	}
	body.Components = map[string]api.Component{}
	for name, p := range h.parts {
		c := api.Component{Kind: "content", Version: p.runs.Version, Previous: p.before.Version, Phase: "idle"}
		if p.proves != nil {
			c.Phase = "proving"
		}
		body.Components[name] = c
		if t, ok := p.wanted(); ok && h.w.mood() != settling && !asked.Before(p.again) {
			body.Wishes = append(body.Wishes, api.Wish{Component: name, Rollout: t.Rollout, Manifest: t.Manifest})
		}
	}
	if !h.told {
		body.Attributes, body.Boot = &h.record.Attributes, "boot-"+h.record.Endpoint
	}
	process := [2]int{h.at, h.w.planes[h.at].starts()}
	var reply api.CheckInReply
	if err := h.post(ctx, api.PathCheckIn, body, &reply); err != nil {
		return err
	}
	got := now()
	h.w.count("check-ins")
	h.heard.Store(got.UnixNano())
	h.told, h.pause = !reply.Resync, max(h.w.poll/2, time.Duration(reply.PollMillis)*time.Millisecond)
	if process == [2]int{h.at, h.w.planes[h.at].starts()} {
		h.compare(process, reply.Directives)
	}
	if h.w.mood() == harmed && h.random.IntN(25) == 0 { // the answer is lost on the way
		h.w.count("answers lost")
		return nil
	}
	h.heed(reply, asked, got)
	return h.look(ctx, reply.Directives)
}

var digits = regexp.MustCompile(`ro-\w+|[0-9.]+|(amber|beryl|coral)\S*`)

// heed takes in acknowledgements and leases.
func (h *host) heed(reply api.CheckInReply, asked, got time.Time) {
	for len(h.waiting) > 0 && h.waiting[0].Seq <= reply.Ack {
		h.acked = append(h.acked, acknowledged{h.waiting[0], got})
		h.waiting = h.waiting[1:]
		h.w.count("reports acknowledged")
	}
	if reply.Ack > h.seq {
		h.w.violated("I8", "%s: report %d is acknowledged, it sent %d", h.record.Endpoint, reply.Ack, h.seq)
	}
	for _, r := range reply.Refusals {
		h.w.count("wish refused: " + digits.ReplaceAllString(r.Reason, "#"))
	}
	for _, envelope := range reply.Leases {
		h.lease(envelope, asked, got)
	}
}

func (h *host) lease(envelope []byte, asked, got time.Time) {
	l, err := payload[api.Lease](envelope)
	p := h.parts[l.Component]
	if err != nil || p == nil {
		h.w.violated("I9", "%s: got a lease that cannot be read: %s", h.record.Endpoint, envelope)
		return
	}
	target, wished := p.wanted()
	manifest := release.Digest(target.Manifest)
	if !wished {
		h.w.violated("I9", "%s: got a lease of %s that it did not ask for", h.record.Endpoint, l.Component)
		return
	}
	if _, err := trust.OpenLease(envelope, h.w.director, trust.LeaseWanted{
		Endpoint: h.record.Endpoint, Component: l.Component, Rollout: target.Rollout, Manifest: manifest, Plan: h.w.plan,
		Created: h.w.begun.Add(-time.Minute), Now: got,
	}); err != nil { // as those of a control plane whose clock is wrong: it gives them back, and asks again later
		h.w.count("leases that hosts give back")
		h.report(l.Component, l.Rollout, target, "rejected")
		p.again = got.Add(2 * h.w.poll)
		h.leases = append(h.leases, leased{l, asked, got, h.w.planes[h.at].told.Replica, nil})
		return
	}
	h.w.count("leases")
	var beside []string
	for _, other := range h.parts {
		if other.proves != nil && got.Before(other.until) {
			beside = append(beside, other.proves.Rollout)
		}
	}
	h.leases = append(h.leases, leased{l, asked, got, h.w.planes[h.at].told.Replica, beside})
	p.proves, p.target, p.until = &l, target, got.Add(l.Expires.Sub(l.Issued))
	p.verdict = got.Add(time.Duration(100+h.random.IntN(900)) * time.Millisecond)
}

// compare looks whether one process knows of a newer directive, and later does not.
func (h *host) compare(process [2]int, sequences map[string]int64) {
	if h.seen == nil || h.process != process {
		h.process, h.seen = process, map[string]int64{}
	}
	for _, name := range components {
		if sequences[name] < h.seen[name] {
			h.w.violated("directives", "%s: %s told it of %s %d, and then of %d", h.record.Endpoint, h.w.planes[h.at].told.Replica, name, h.seen[name],
				sequences[name])
		}
		h.seen[name] = sequences[name]
	}
}

// look fetches directives that are new, and obeys them.
func (h *host) look(ctx context.Context, sequences map[string]int64) error {
	for name, sequence := range sequences {
		p := h.parts[name]
		if sequence < p.directive.Sequence {
			h.w.count("answers with an older directive")
		}
		if sequence <= p.directive.Sequence {
			continue
		}
		envelope, err := h.do(ctx, http.MethodGet, api.PathDirectives+name, http.NoBody)
		if err != nil {
			return err
		}
		d, err := trust.OpenDirective(envelope, h.w.director, trust.DirectiveWanted{Component: name, Newest: p.directive.Sequence, Now: now()})
		if err != nil {
			h.w.count("directives that hosts refuse")
			continue
		}
		h.w.published(d)
		p.directive = d
		for _, recalled := range d.Recalls {
			h.obey(name, p, recalled.Manifest)
		}
	}
	return nil
}

// obey leaves a release that is recalled.
func (h *host) obey(name string, p *part, manifest string) {
	p.refuses[manifest] = true
	if p.proves != nil && p.target.Manifest == manifest {
		rollout := p.proves.Rollout
		p.proves = nil
		h.report(name, rollout, p.target, api.OutcomeRecovered)
	}
	if p.runs.Manifest == manifest {
		left := p.runs
		p.runs, p.before = p.before, api.Target{}
		h.report(name, left.Rollout, left, api.OutcomeRecovered)
	}
}

// payload reads what a signed envelope says.
func payload[T any](envelope []byte) (v T, err error) {
	var outer struct {
		Payload []byte `json:"payload"`
	}
	if err = json.Unmarshal(envelope, &outer); err == nil {
		err = json.Unmarshal(outer.Payload, &v)
	}
	return v, err
}

// published notes a directive that a host believes. There is one for each sequence, whoever signed it.
func (w *world) published(d api.Directive) {
	data, err := json.Marshal(d)
	if err != nil {
		w.violated("directives", "%s %d cannot be encoded: %v", d.Component, d.Sequence, err)
		return
	}
	w.mu.Lock()
	key, sum := fmt.Sprintf("%s %d", d.Component, d.Sequence), sha256.Sum256(data)
	before, seen := w.directives[key]
	w.directives[key] = sum
	w.newest[d.Component] = max(w.newest[d.Component], d.Sequence)
	w.mu.Unlock()
	if seen && before != sum {
		w.violated("directives", "%s: two different ones were signed", key)
	}
}
