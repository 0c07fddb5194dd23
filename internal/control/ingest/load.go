package ingest

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Rows are stored endpoints, by number. *store.Store has them.
type Rows interface {
	LastEndpoint(ctx context.Context) (int64, error)
	EndpointsBetween(ctx context.Context, after, upTo int64) ([]store.Endpoint, error)
}

const (
	loadAtOnce = 2000 // rows that one loader has in memory
	loaders    = 3    // that read at the same time
)

// LoadAll fills the registry from the store, a stretch at a time. It reads several stretches at once: most of the work is to decode them. What
// is said to have been heard later than now was heard now. Hosts loaded so are asked for their whole state when they are heard first.
func LoadAll(ctx context.Context, from Rows, into *registry.Registry, now time.Time) error {
	last, err := from.LastEndpoint(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range loaders {
		group.Go(func() error {
			l := loader{into: into, now: now}
			for {
				after := next.Add(loadAtOnce) - loadAtOnce
				if after >= last {
					return nil
				}
				rows, err := from.EndpointsBetween(ctx, after, after+loadAtOnce)
				if err != nil {
					return err
				}
				for _, row := range rows {
					l.put(row)
				}
			}
		})
	}
	return group.Wait()
}

// Merge takes rows into the registry that another replica changed, as LoadAll. What was heard here since stays.
func Merge(rows []store.Endpoint, into *registry.Registry, now time.Time) {
	l := loader{into: into, now: now}
	for _, row := range rows {
		if !l.ended(row) {
			into.Merge(l.read(row))
		}
	}
}

// loader remembers what it has read: most hosts say the same as others.
type loader struct {
	into  *registry.Registry
	now   time.Time
	known map[string]map[string]api.Component
}

// remembered bounds what a loader remembers.
const remembered = 10_000

func (l *loader) put(row store.Endpoint) {
	if !l.ended(row) {
		l.into.Put(l.read(row))
	}
}

// ended forgets an endpoint whose identity ended, and tells whether it did.
func (l *loader) ended(row store.Endpoint) bool {
	if row.Ending == store.Enrolled {
		return false
	}
	l.into.End(row.ID, row.Ending == store.Revoked, row.Why)
	return true
}

func (l *loader) read(row store.Endpoint) registry.Endpoint {
	if row.LastSeen.After(l.now) {
		row.LastSeen = l.now // by a clock that was wrong
	}
	return registry.Endpoint{
		ID: row.ID, Number: row.Number, Enrolled: row.Enrolled, LastSeen: row.LastSeen, Boot: row.Boot, Reported: row.ReportSeq, Posture: row.Posture,
		Subject:    fleet.Subject{Tenant: row.Tenant, Attributes: row.Attributes, Labels: row.Labels},
		Components: l.components(row.Components),
	}
}

// components reads what a host has. What cannot be read it sends again.
func (l *loader) components(data json.RawMessage) map[string]api.Component {
	if len(data) == 0 {
		return nil
	}
	if known, ok := l.known[string(data)]; ok {
		return known
	}
	var components map[string]api.Component
	if json.Unmarshal(data, &components) != nil {
		components = nil
	}
	if l.known == nil || len(l.known) >= remembered {
		l.known = map[string]map[string]api.Component{}
	}
	l.known[string(data)] = components
	return components
}
