// Package doctor finds what is wrong with an installation and says what to do. It only looks: it changes nothing, needs no lock and runs
// beside the server as well as without one.
package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/backup"
)

// State is how well something is.
type State string

// The states, from good to bad.
const (
	OK      State = "ok"
	Skipped State = "skipped" // it could not be looked at, because of something else that is said
	Warning State = "warning" // it works, and will not for ever
	Wrong   State = "wrong"
)

// Finding is what was found out about one thing.
type Finding struct {
	Check string `json:"check"`
	State State  `json:"state"`
	Found string `json:"found"`
	Next  string `json:"next,omitempty"` // what to do; for warnings and what is wrong
}

// Options say what to look at.
type Options struct {
	Data      string
	Keys      string   // directory with the keys; empty: Data/keys
	Elsewhere bool     // the database is not in Data but in PostgreSQL: readyz tells of it
	Server    string   // base URL of the operators' port of a server that should run; empty: none is asked
	Private   string   // base URL of its private port, with the metrics; empty: none is asked
	Agents    string   // host:port of its agent port; empty: none is asked
	Listen    []string // addresses that a server is about to listen on
	Newest    int64    // newest version of the schema that this program knows; 0: it makes an empty database and looks
	All       bool     // every page of the database and every byte of the artifacts
	Now       time.Time
	Client    *http.Client // nil: one that gives up after some seconds
}

// patience is how long a server may take to answer.
const patience = 5 * time.Second

// examination is one run.
type examination struct {
	Options
	findings []Finding
	running  bool            // somebody has the database open
	database backup.Database // zero if it could not be read
	readable bool
}

// Run looks at everything. The findings come in the order in which things should be mended.
func Run(ctx context.Context, o Options) []Finding {
	if o.Keys == "" {
		o.Keys = filepath.Join(o.Data, "keys")
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: patience}
	}
	x := &examination{Options: o}
	if x.directory() {
		x.disk()
		x.lock()
		x.databaseFile(ctx)
		x.keys(ctx)
		x.metadata(ctx)
		x.artifacts(ctx)
		x.clock(ctx)
	}
	x.addresses(ctx)
	x.server(ctx)
	x.agentPort(ctx)
	x.metrics(ctx)
	return x.findings
}

// Worst is the worst state among the findings.
func Worst(findings []Finding) State {
	worst, order := OK, map[State]int{OK: 0, Skipped: 1, Warning: 2, Wrong: 3}
	for _, f := range findings {
		if order[f.State] > order[worst] {
			worst = f.State
		}
	}
	return worst
}

func (x *examination) add(check string, s State, next, found string, args ...any) {
	x.findings = append(x.findings, Finding{Check: check, State: s, Found: fmt.Sprintf(found, args...), Next: next})
}

func (x *examination) good(check, found string, args ...any) {
	x.add(check, OK, "", found, args...)
}

func (x *examination) skipped(check, found string, args ...any) {
	x.add(check, Skipped, "", found, args...)
}

func (x *examination) warn(check, next, found string, args ...any) {
	x.add(check, Warning, next, found, args...)
}

func (x *examination) wrong(check, next, found string, args ...any) {
	x.add(check, Wrong, next, found, args...)
}

// expiry judges an end. Soon is how long before it people should be told.
func (x *examination) expiry(check, what string, at time.Time, soon time.Duration, next string) {
	switch left := at.Sub(x.Now); {
	case left <= 0:
		x.wrong(check, next, "%s expired at %s", what, stamp(at))
	case left < soon:
		x.warn(check, next, "%s expires at %s", what, stamp(at))
	default:
		x.good(check, "%s is valid until %s", what, stamp(at))
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// unverified looks at certificates without trusting them: it is what they say of themselves that is asked.
func unverified() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true} //nolint:gosec // nothing is sent, nothing is believed
}
