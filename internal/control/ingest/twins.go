package ingest

import (
	"encoding/json"
	"hash/fnv"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Twins are hosts that share one identity, as copies of one disk do. Each overwrites what the other says of itself, and a report of one may be
// taken for a repetition of the other's. They show by what one host never does: it never has a boot id again that it had before another one,
// and never gives a number twice to different reports, or lower numbers after higher ones.

// mostWatched bounds how many hosts are remembered: those that reported or were booted while this process ran. Some are forgotten beyond.
const mostWatched = 100_000

// sayTwinsEvery is how often the log says it of one host.
const sayTwinsEvery = time.Hour

// twins remembers what hosts did last.
type twins struct {
	mu sync.Mutex
	of map[fleet.EndpointID]*twin
}

type twin struct {
	boot    uint64 // the one before the last, as a hash; 0: it had none
	seq     int64  // of its last report, and its hash
	sum     uint64
	found   api.Twins
	logSaid time.Time
}

// look compares a check-in with what the host did before.
func (in *Ingest) look(r *http.Request, before registry.Endpoint, body api.CheckIn, now time.Time) {
	if body.Boot == "" && len(body.Reports) == 0 {
		return
	}
	why, say := in.twins.look(before, body, now)
	if say {
		in.Log.WarnContext(r.Context(), "two hosts seem to share one identity: revoke it and let each join by itself",
			slog.String("endpoint", string(before.ID)), slog.String("sign", why), slog.String("from", r.RemoteAddr))
	}
}

// Twins tells what speaks for an identity being used by two hosts, as far as this process saw.
func (in *Ingest) Twins(id fleet.EndpointID) (api.Twins, bool) {
	in.twins.mu.Lock()
	defer in.twins.mu.Unlock()
	t, known := in.twins.of[id]
	if !known || t.found.Signs == 0 {
		return api.Twins{}, false
	}
	return t.found, true
}

func (t *twins) look(before registry.Endpoint, body api.CheckIn, now time.Time) (why string, say bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.one(before.ID)
	if why = one.look(before, body); why == "" {
		return "", false
	}
	one.found = api.Twins{Signs: one.found.Signs + 1, Last: now.UTC(), Sign: why}
	if !one.logSaid.IsZero() && now.Sub(one.logSaid) < sayTwinsEvery {
		return why, false
	}
	one.logSaid = now
	return why, true
}

// one is what is remembered of a host; the caller holds the lock.
func (t *twins) one(id fleet.EndpointID) *twin {
	if one, known := t.of[id]; known {
		return one
	}
	if t.of == nil {
		t.of = map[fleet.EndpointID]*twin{}
	}
	for other, one := range t.of {
		if len(t.of) < mostWatched {
			break
		}
		if one.found.Signs == 0 || len(t.of) > 2*mostWatched {
			delete(t.of, other)
			break
		}
	}
	one := &twin{}
	t.of[id] = one
	return one
}

func (t *twin) look(before registry.Endpoint, body api.CheckIn) (why string) {
	if body.Boot != "" && before.Boot != "" && body.Boot != before.Boot {
		if t.boot == sumOf(body.Boot) {
			why = "the boot id before the last one is back"
		}
		t.boot = sumOf(before.Boot)
	}
	if len(body.Reports) == 0 {
		return why
	}
	last := body.Reports[len(body.Reports)-1]
	sum := sumOf(last)
	switch {
	case last.Seq == t.seq && sum != t.sum:
		why = "two reports have one number"
	case last.Seq < t.seq:
		why = "the numbers of its reports went backwards"
	default:
		t.seq, t.sum = last.Seq, sum
	}
	return why
}

func sumOf(v any) uint64 {
	data, _ := json.Marshal(v) // text and numbers: it cannot fail
	h := fnv.New64a()
	_, _ = h.Write(data)
	return max(h.Sum64(), 1)
}
