package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Snapshot is what a control plane knows of itself at one moment.
type Snapshot struct {
	Endpoints int64 // enrolled
	Heard     int64 // of them, heard in the last [HeardWithin]

	Phases   map[string]int64 // rollouts by phase
	Rollouts []Rollout        // newest first; those that are active and the last few of the others are shown

	Queue      int64 // writes that wait
	QueueLimit int64 // as many may wait; more are refused

	Leader      bool  // this replica decides
	LeaderKnown bool  // this replica or another decides
	Term        int64 // of the leader; grows with every change

	Blobs     int64 // artifacts and manifests kept
	BlobBytes int64

	DataFree int64 // bytes of the data directory's disk that are free for this program
	DataSize int64

	Ready   bool
	Checks  map[string]bool      // health checks by name, and whether they are good
	Expires map[string]time.Time // when certificates and metadata expire, by what they are: "authority", "root", "targets" ...
}

// HeardWithin is how long ago an endpoint that counts as heard was heard at most.
const HeardWithin = 5 * time.Minute

// Rollout is one rollout in a [Snapshot].
type Rollout struct {
	ID          string
	Component   string
	Version     string
	Active      bool // running or paused: always shown
	Ring        int  // the open one, from 0
	Leased      int64
	Confirmed   int64
	Unconfirmed int64
	Harmed      int64
	Evidence    float64
	Alarm       float64 // see [AlarmQuiet]
}

// Alarms as numbers.
const (
	AlarmQuiet = 0
	AlarmAmber = 1
	AlarmTrip  = 2
)

// How many rollouts have series of their own.
const (
	mostActive = 100
	mostEnded  = 10
)

// shown picks the rollouts that get series: every one has some, and there are more every week.
func shown(all []Rollout) []Rollout {
	var picked []Rollout
	active, ended := 0, 0
	for _, r := range all {
		switch {
		case r.Active && active < mostActive:
			active++
		case !r.Active && ended < mostEnded:
			ended++
		default:
			continue
		}
		picked = append(picked, r)
	}
	return picked
}

// reader makes metrics of a snapshot. It keeps nothing: a rollout that is not shown any more has no series.
type reader struct {
	snapshot func() Snapshot
	descs    map[string]*prometheus.Desc
}

// gauge is a metric that a snapshot has.
type gauge struct {
	name, help string
	labels     []string
	read       func(Snapshot, emit)
}

// emit gives a gauge a value, with the values of its labels.
type emit func(value float64, labels ...string)

func newReader(snapshot func() Snapshot) *reader {
	r := &reader{snapshot: snapshot, descs: map[string]*prometheus.Desc{}}
	for _, g := range gauges() {
		r.descs[g.name] = prometheus.NewDesc(g.name, g.help, g.labels, nil)
	}
	return r
}

// Describe implements [prometheus.Collector].
func (r *reader) Describe(to chan<- *prometheus.Desc) {
	for _, d := range r.descs {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (r *reader) Collect(to chan<- prometheus.Metric) {
	s := r.snapshot()
	s.Rollouts = shown(s.Rollouts)
	for _, g := range gauges() {
		g.read(s, func(value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(r.descs[g.name], prometheus.GaugeValue, value, labels...)
		})
	}
}

// gauges is the list of what a snapshot shows.
func gauges() []gauge {
	return append([]gauge{
		number("firebreak_endpoints", "Endpoints that have joined.", func(s Snapshot) float64 { return float64(s.Endpoints) }),
		number("firebreak_endpoints_heard", "Endpoints that were heard in the last five minutes.", func(s Snapshot) float64 { return float64(s.Heard) }),
		named("firebreak_rollouts", "Rollouts, by phase.", "phase", func(s Snapshot) map[string]float64 { return floats(s.Phases) }),
		number("firebreak_store_queue", "Writes that wait for the database.", func(s Snapshot) float64 { return float64(s.Queue) }),
		number("firebreak_store_queue_limit", "As many writes may wait; more are refused.", func(s Snapshot) float64 { return float64(s.QueueLimit) }),
		number("firebreak_leader", "1 if this replica decides over rollouts.", func(s Snapshot) float64 { return truth(s.Leader) }),
		number("firebreak_leader_known", "1 if this replica or another decides.", func(s Snapshot) float64 { return truth(s.LeaderKnown) }),
		number("firebreak_leader_term", "Term of the leader; it grows with every change.", func(s Snapshot) float64 { return float64(s.Term) }),
		number("firebreak_blobs", "Artifacts and manifests that are kept.", func(s Snapshot) float64 { return float64(s.Blobs) }),
		number("firebreak_blobs_bytes", "Bytes of the artifacts and manifests that are kept.", func(s Snapshot) float64 { return float64(s.BlobBytes) }),
		number("firebreak_data_free_bytes", "Free bytes of the data directory's disk.", func(s Snapshot) float64 { return float64(s.DataFree) }),
		number("firebreak_data_size_bytes", "Bytes of the data directory's disk.", func(s Snapshot) float64 { return float64(s.DataSize) }),
		number("firebreak_ready", "1 if /readyz says ready.", func(s Snapshot) float64 { return truth(s.Ready) }),
		named("firebreak_health_check", "1 if the health check is good, by check.", "check", func(s Snapshot) map[string]float64 {
			of := make(map[string]float64, len(s.Checks))
			for name, ok := range s.Checks {
				of[name] = truth(ok)
			}
			return of
		}),
		named("firebreak_expires_timestamp_seconds", "When certificates and signed metadata expire, in seconds since 1970.", "what",
			func(s Snapshot) map[string]float64 {
				of := make(map[string]float64, len(s.Expires))
				for what, at := range s.Expires {
					of[what] = float64(at.Unix())
				}
				return of
			}),
	}, rolloutGauges()...)
}

func rolloutGauges() []gauge {
	return []gauge{
		ofRollout("firebreak_rollout_ring", "The open ring, from 0.", func(r Rollout) float64 { return float64(r.Ring) }),
		ofRollout("firebreak_rollout_leased", "Hosts that got a lease.", func(r Rollout) float64 { return float64(r.Leased) }),
		ofRollout("firebreak_rollout_confirmed", "Hosts that run the release and are well.", func(r Rollout) float64 { return float64(r.Confirmed) }),
		ofRollout("firebreak_rollout_unconfirmed", "Leased hosts without an outcome.", func(r Rollout) float64 { return float64(r.Unconfirmed) }),
		ofRollout("firebreak_rollout_harmed", "Hosts that count against the release.", func(r Rollout) float64 { return float64(r.Harmed) }),
		ofRollout("firebreak_rollout_evidence", "E, the breaker's evidence against the release.", func(r Rollout) float64 { return r.Evidence }),
		ofRollout("firebreak_rollout_alarm", "0 quiet, 1 amber, 2 trip.", func(r Rollout) float64 { return r.Alarm }),
	}
}

func number(name, help string, of func(Snapshot) float64) gauge {
	return gauge{name: name, help: help, read: func(s Snapshot, to emit) { to(of(s)) }}
}

func named(name, help, label string, of func(Snapshot) map[string]float64) gauge {
	return gauge{name: name, help: help, labels: []string{label}, read: func(s Snapshot, to emit) {
		for value, n := range of(s) {
			to(n, value)
		}
	}}
}

func ofRollout(name, help string, of func(Rollout) float64) gauge {
	return gauge{name: name, help: help, labels: []string{"rollout", "component", "version"}, read: func(s Snapshot, to emit) {
		for _, r := range s.Rollouts {
			to(of(r), r.ID, r.Component, r.Version)
		}
	}}
}

func floats(of map[string]int64) map[string]float64 {
	all := make(map[string]float64, len(of))
	for k, n := range of {
		all[k] = float64(n)
	}
	return all
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
