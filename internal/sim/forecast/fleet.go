package forecast

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

func sizeOf(groups []api.FleetGroup) int64 {
	sum := int64(0)
	for _, g := range groups {
		sum += g.Hosts
	}
	return sum
}

// scale makes a fleet of at most so many hosts whose groups have the same shares of it, and are heard to the same share. Groups that are
// too small for a single host go; what rounding leaves over goes to those that it hurt most.
func scale(groups []api.FleetGroup, most int64) []api.FleetGroup {
	total := sizeOf(groups)
	if total <= most {
		return groups
	}
	factor := float64(most) / float64(total)
	scaled := slices.Clone(groups)
	left := most
	for i, g := range groups {
		scaled[i].Hosts = int64(float64(g.Hosts) * factor)
		left -= scaled[i].Hosts
	}
	order := make([]int, len(groups))
	for i := range order {
		order[i] = i
	}
	lost := func(i int) float64 { return float64(groups[i].Hosts)*factor - float64(scaled[i].Hosts) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(lost(b), lost(a)) })
	for _, i := range order[:min(int64(len(order)), max(0, left))] {
		scaled[i].Hosts++
	}
	for i, g := range groups {
		if g.Hosts > 0 {
			scaled[i].Heard = int64(math.Round(float64(scaled[i].Hosts) * float64(g.Heard) / float64(g.Hosts)))
		}
	}
	return slices.DeleteFunc(scaled, func(g api.FleetGroup) bool { return g.Hosts == 0 })
}

// shape is what of a fleet a forecast depends on, rounded: hosts that come, go or sleep do not make a new fleet of it.
type shape struct {
	Plan                   plan.Plan
	Hosts                  int64
	Sites, Tenants, Strata int64
	Classes                map[string]class
}

// class is one of a fleet's classes: hosts to two digits, and tenths of them that were heard.
type class struct{ Hosts, Heard int64 }

// keyOf names a plan on a fleet.
func keyOf(p plan.Plan, groups []api.FleetGroup) (string, error) {
	s := shape{Plan: p, Hosts: rounded(sizeOf(groups)), Classes: map[string]class{}}
	sites, tenants, strata := map[string]bool{}, map[string]bool{}, map[[5]string]bool{}
	for _, g := range groups {
		c := s.Classes[g.Class]
		s.Classes[g.Class] = class{Hosts: c.Hosts + g.Hosts, Heard: c.Heard + g.Heard}
		sites[g.Site], tenants[g.Tenant] = true, true
		strata[[5]string{g.Class, g.OS, g.Version, g.Kernel, g.Consumer}] = true
	}
	for name, c := range s.Classes {
		s.Classes[name] = class{Hosts: rounded(c.Hosts), Heard: (10*c.Heard + c.Hosts/2) / max(1, c.Hosts)}
	}
	s.Sites, s.Tenants, s.Strata = rounded(int64(len(sites))), rounded(int64(len(tenants))), rounded(int64(len(strata)))
	data, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("forecast plan %s: %w", p.Name, err)
	}
	sum := sha256.Sum256(data)
	return string(sum[:]), nil
}

// rounded keeps two digits.
func rounded(n int64) int64 {
	unit := int64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	return (n + unit/2) / unit * unit
}

const (
	mostKept = 32        // forecasts that are remembered
	fresh    = time.Hour // for which one is told again
)

// memory keeps what was played lately. The zero value is empty and ready; it is safe for concurrent use.
type memory struct {
	mu   sync.Mutex
	kept []entry // the one that was asked for last at the end
}

type entry struct {
	key      string
	forecast api.Forecast
}

func (m *memory) get(key string, now time.Time) (api.Forecast, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.kept, func(e entry) bool { return e.key == key })
	if i < 0 {
		return api.Forecast{}, false
	}
	e := m.kept[i]
	m.kept = slices.Delete(m.kept, i, i+1)
	if now.Sub(e.forecast.Taken) >= fresh {
		return api.Forecast{}, false
	}
	m.kept = append(m.kept, e)
	e.forecast.Cases = slices.Clone(e.forecast.Cases)
	return e.forecast, true
}

func (m *memory) put(key string, f api.Forecast) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f.Cases = slices.Clone(f.Cases)
	if len(m.kept) >= mostKept {
		m.kept = slices.Delete(m.kept, 0, 1)
	}
	m.kept = append(m.kept, entry{key, f})
}
