// Package metrics tells Prometheus how a control plane does. It has a registry of its own and no global state.
//
// What happens is counted by the methods of [Metrics], which cost some nanoseconds and may be called from anywhere. What is, is asked
// for with every scrape, as one [Snapshot]. The names are part of the interface: docs/operating.md lists them, and a test compares.
package metrics

import (
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Result is what became of a check-in.
type Result string

// The results of check-ins.
const (
	Unchanged Result = "unchanged" // the host said nothing new
	Changed   Result = "changed"   // it said something new, reported, or asked for a lease
	Failed    Result = "failed"    // it could not be answered
	Refused   Result = "refused"   // unknown host, or a request that cannot be read
)

// Kind is what kind of request was shed.
type Kind string

// The kinds of requests that are shed under load, in the order in which they are.
const (
	CheckIn  Kind = "checkin"
	Download Kind = "download"
	Join     Kind = "join"
	Operator Kind = "operator"
	Report   Kind = "report"

	Connection Kind = "connection" // turned away at the door, before it could ask
)

// other stands for whatever is not on a list: labels must not grow with what the network says.
const other = "other"

// Options are what [New] needs.
type Options struct {
	Version  string          // of this program
	Reasons  []string        // codes of refused leases that are told apart; the rest is "other"
	Snapshot func() Snapshot // what is now; asked once a scrape, from several goroutines
}

// Metrics counts what happens. All methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	checkIns      map[Result]prometheus.Counter
	checkInTook   prometheus.Histogram
	reports       prometheus.Counter
	granted       prometheus.Counter
	refused       map[string]prometheus.Counter
	shed          map[Kind]prometheus.Counter
	writes        prometheus.Counter
	writeFailures prometheus.Counter
	commits       prometheus.Counter
	commitTook    prometheus.Histogram
}

// New makes the metrics of one control plane.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.checkIns = vector(m, "firebreak_checkins_total", "Check-ins of endpoints, by result.", "result", Unchanged, Changed, Failed, Refused)
	m.checkInTook = m.histogram("firebreak_checkin_duration_seconds", "How long check-ins took to answer.",
		prometheus.ExponentialBuckets(0.0001, 2.5, 12)) // 0.1 ms to 2.4 s
	m.reports = m.counter("firebreak_reports_total", "Reports of endpoints that were stored; one sent twice counts once.")
	m.granted = m.counter("firebreak_leases_granted_total", "Leases granted, renewals included.")
	m.refused = vector(m, "firebreak_leases_refused_total", "Wishes that got no lease, by reason.", "reason", append(slices.Clone(o.Reasons), other)...)
	m.shed = vector(m, "firebreak_shed_total", "Requests answered with 429 or 503 because of load, by kind.", "kind",
		CheckIn, Download, Join, Operator, Report, Connection, other)
	m.writes = m.counter("firebreak_store_writes_total", "Writes that are durable.")
	m.writeFailures = m.counter("firebreak_store_write_failures_total", "Writes that failed.")
	m.commits = m.counter("firebreak_store_commits_total", "Transactions that were committed; each carries one write or many.")
	m.commitTook = m.histogram("firebreak_store_commit_duration_seconds", "How long transactions took, from their beginning until they were durable.",
		prometheus.ExponentialBuckets(0.0005, 2.5, 12)) // 0.5 ms to 12 s
	m.registry.MustRegister(
		newReader(o.Snapshot), buildInfo(o.Version),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// CheckIn counts a check-in and how long its answer took.
func (m *Metrics) CheckIn(r Result, took time.Duration) {
	m.checkIns[r].Inc()
	m.checkInTook.Observe(took.Seconds())
}

// Reported counts reports that were stored now.
func (m *Metrics) Reported(n int) { m.reports.Add(float64(n)) }

// Granted counts a lease.
func (m *Metrics) Granted() { m.granted.Inc() }

// Refused counts a wish that got no lease. The code is one of rollout.Wait...
func (m *Metrics) Refused(code string) { pick(m.refused, code).Inc() }

// Shed counts a request that was turned away because of load.
func (m *Metrics) Shed(k Kind) { pick(m.shed, k).Inc() }

// Committed counts a transaction with so many writes, and how long it took.
func (m *Metrics) Committed(writes int, took time.Duration) {
	m.commits.Inc()
	m.writes.Add(float64(writes))
	m.commitTook.Observe(took.Seconds())
}

// WriteFailed counts a write that did not become durable.
func (m *Metrics) WriteFailed() { m.writeFailures.Inc() }

func pick[K ~string](of map[K]prometheus.Counter, key K) prometheus.Counter {
	if c, ok := of[key]; ok {
		return c
	}
	return of[other]
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}

// vector makes counters for a closed list of values of one label. All of them are there from the start: a series that appears only with
// the first failure cannot be alerted on.
func vector[K ~string](m *Metrics, name, help, label string, values ...K) map[K]prometheus.Counter {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	m.registry.MustRegister(v)
	of := make(map[K]prometheus.Counter, len(values))
	for _, value := range values {
		of[value] = v.WithLabelValues(string(value))
	}
	return of
}

func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "firebreak_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	g.Set(1)
	return g
}

// Off counts nothing.
type Off struct{}

// CheckIn does nothing.
func (Off) CheckIn(Result, time.Duration) {}

// Reported does nothing.
func (Off) Reported(int) {}

// Granted does nothing.
func (Off) Granted() {}

// Refused does nothing.
func (Off) Refused(string) {}
