package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Crash is what a harmed host found of a crash. No decision is taken on it: it tells people what to look for.
type Crash struct {
	Signal    string `json:"signal,omitempty"`    // that ended the process, such as SIGSEGV
	Status    int    `json:"status,omitempty"`    // that it exited with
	Signature string `json:"signature,omitempty"` // the same for equal crashes, on whatever host
	Headline  string `json:"headline,omitempty"`  // for people
}

// kind is what equal crashes have in common. A host that could make out no signature still tells how its process ended.
func (c Crash) kind() string {
	return cmp.Or(c.Signature, fmt.Sprintf("signal %s, status %d", c.Signal, c.Status))
}

// Cluster is equal crashes of several hosts.
type Cluster struct {
	Crash // the first of them

	Hosts int64
	First time.Time // when the first was told
}

// Crashes gathers the crashes of a rollout into clusters, from its events. The zero value is ready.
type Crashes struct {
	clusters map[string]*Cluster
	seen     map[told]bool
}

// told is a host that told of a kind of crash.
type told struct {
	endpoint fleet.EndpointID
	kind     string
}

// maxCrashes bounds what is kept of one rollout: kinds of crashes times hosts. Signatures come from hosts, which may lie.
const maxCrashes = 100_000

// Add takes in an outcome. One without a crash, of a host that told of an equal one before, or that another rollout is to blame for, adds
// nothing.
func (c *Crashes) Add(e OutcomeKnown) {
	if e.Crash == nil || *e.Crash == (Crash{}) || e.Blamed != "" || len(c.seen) >= maxCrashes {
		return
	}
	if c.seen == nil {
		c.clusters, c.seen = map[string]*Cluster{}, map[told]bool{}
	}
	kind := e.Crash.kind()
	if c.seen[told{e.Endpoint, kind}] {
		return
	}
	c.seen[told{e.Endpoint, kind}] = true
	if c.clusters[kind] == nil {
		c.clusters[kind] = &Cluster{Crash: *e.Crash, First: e.At}
	}
	c.clusters[kind].Hosts++
}

// Largest lists at most so many clusters, those of the most hosts first, and of equally many the older first.
func (c *Crashes) Largest(most int) []Cluster {
	all := make([]Cluster, 0, len(c.clusters))
	for _, cluster := range c.clusters {
		all = append(all, *cluster)
	}
	slices.SortFunc(all, func(a, b Cluster) int {
		return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), a.First.Compare(b.First), cmp.Compare(a.kind(), b.kind()))
	})
	return all[:min(len(all), most)]
}
