// Package gate asks what lies outside of Firebreak on behalf of a plan's gates: a Prometheus, and HTTP checks.
//
// A plan is written by somebody who may have no business in the server's network. So it names no Prometheus, only a query for the one
// that the server was given; and it can have a URL asked only where the operator of the server allowed it. What was not seen is never met
// (I4): whatever goes wrong on the way is a result that is not OK, with the reason in its text.
package gate

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Bounds of what gates may cost.
const (
	AtOnce         = 8                // questions under way, of all rollouts
	DefaultTimeout = 5 * time.Second  // for one answer
	Freshness      = 15 * time.Second // an answer stands for so long before the same question is asked again
	MaxBody        = 1 << 20          // bytes of an answer

	maxHeader = 64 << 10 // bytes of an answer
	maxText   = 200      // runes of a result's text
)

// Options are what Gates are made of. Prometheus, Allowed, Transport and Timeout may be left out.
type Options struct {
	Prometheus string            // base URL, with a path if it has one; without it no query is met
	Allowed    []string          // "host" (its ports 80 and 443) or "host:port" that HTTP checks may name; all others are refused
	Transport  http.RoundTripper // how to reach them; nil goes straight, by no proxy
	Timeout    time.Duration     // for one answer; 0 means DefaultTimeout
	Clock      clock.Clock
}

// Gates asks gates. It is safe for concurrent use, and has nothing to close.
type Gates struct {
	query   string          // URL of the instant query, or ""
	allowed map[string]bool // host:port in lower case
	client  http.Client
	timeout time.Duration
	clock   clock.Clock
	slots   chan struct{} // one for each question under way

	mu   sync.Mutex
	seen map[question]*sight
}

// New makes Gates. It does no I/O: a Prometheus that is away is found out by asking.
func New(o Options) (*Gates, error) {
	if o.Clock == nil {
		return nil, fault.New(fault.Internal, "make gates: there is no clock")
	}
	g := &Gates{
		allowed: map[string]bool{}, timeout: o.Timeout, clock: o.Clock,
		slots: make(chan struct{}, AtOnce), seen: map[question]*sight{},
	}
	if g.timeout <= 0 {
		g.timeout = DefaultTimeout
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{MaxResponseHeaderBytes: maxHeader, IdleConnTimeout: time.Minute}
	}
	// A redirect is not followed, not even on the same host: the page behind it, such as a login, may answer 200 whatever happens.
	g.client = http.Client{
		Transport:     o.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var problems []fault.Problem
	if o.Prometheus != "" && !g.use(o.Prometheus) {
		// It may hold a password: it is not repeated.
		problems = append(problems, fault.Problem{Path: "prometheus", Message: "must be a base URL such as http://prometheus.example.com:9090"})
	}
	for _, entry := range o.Allowed {
		if !g.allow(entry) {
			problems = append(problems, fault.Problem{Path: "gate-host", Message: fmt.Sprintf("must be a host or host:port, is %q", entry)})
		}
	}
	if len(problems) > 0 {
		return nil, fault.Problems("read where gates may ask", problems)
	}
	return g, nil
}

// use takes the base URL of Prometheus, or says that it is none.
func (g *Gates) use(prometheus string) bool {
	base, err := url.Parse(prometheus)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" || base.RawQuery != "" {
		return false
	}
	g.query = base.JoinPath("api/v1/query").String()
	return true
}

// allow puts an entry of Options.Allowed on the list, or says that it is none. A host without a port means its ports 80 and 443.
func (g *Gates) allow(entry string) bool {
	u, err := url.Parse("//" + entry)
	if err != nil || u.Hostname() == "" || u.Host != entry || strings.HasSuffix(entry, ":") {
		return false
	}
	ports := []string{u.Port()}
	if u.Port() == "" {
		ports = []string{defaultPort("http"), defaultPort("https")}
	}
	for _, port := range ports {
		g.allowed[net.JoinHostPort(strings.ToLower(u.Hostname()), port)] = true
	}
	return true
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// Ask asks all gates and gives their results in the same order. It takes at most the timeout for every [AtOnce] questions under way, and
// ends with ctx. The same question, of whatever rollout, is asked at most once in [Freshness].
func (g *Gates) Ask(ctx context.Context, gates []evidence.Gate) []evidence.GateResult {
	results := make([]evidence.GateResult, len(gates))
	var asking sync.WaitGroup
	for i, gate := range gates {
		asking.Go(func() { results[i] = g.ask(ctx, gate) })
	}
	asking.Wait()
	return results
}

func (g *Gates) ask(ctx context.Context, gate evidence.Gate) evidence.GateResult {
	result := evidence.GateResult{Name: gate.Name}
	q := question{query: gate.Query, url: gate.URL}
	switch answer, err := g.answer(ctx, q); {
	case err != nil:
		result.Text = clip(err.Error())
	case q.query != "":
		result = gate.Judge(answer.samples)
	default:
		result.OK, result.Text = answer.status/100 == 2, status(answer.status)
	}
	return result
}

// refuse says why a question must not be asked at all.
func (g *Gates) refuse(q question) error {
	switch {
	case (q.query == "") == (q.url == ""):
		return fault.New(fault.Invalid, "the gate must have either a query or a url")
	case q.query != "" && g.query == "":
		return fault.New(fault.Conflict, "no Prometheus is configured; start the server with --prometheus URL")
	case q.query != "":
		return nil
	}
	u, err := url.Parse(q.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return fault.New(fault.Invalid, "the url is not an absolute http or https URL without credentials")
	}
	port := u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	host := net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	if !g.allowed[host] {
		return fault.New(fault.Denied, "%s is not allowed; start the server with --gate-host %s", host, host)
	}
	return nil
}

// status is what an HTTP check saw.
func status(code int) string {
	text := strings.TrimSpace(fmt.Sprintf("answered %d %s", code, http.StatusText(code)))
	if code/100 == 3 {
		text += ", and redirects are not followed"
	}
	return text
}

// clip makes text from outside fit for a line on a screen.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxText {
		return string(runes[:maxText-1]) + "…"
	}
	return text
}
