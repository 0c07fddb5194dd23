package ingest

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/admission"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// short is how long a body may be that is read into a kept buffer: what is believed of a length before it is there.
const short = 4 << 10

// scratch is what one check-in needs while it lasts. It is kept for the next one.
type scratch struct {
	in  [short]byte
	out []byte
}

// pool keeps scratches.
type pool struct{ sync.Pool }

func (p *pool) get() *scratch {
	if s, ok := p.Get().(*scratch); ok {
		return s
	}
	return &scratch{out: make([]byte, 0, 1<<10)}
}

// read takes in a body of at most maxBody bytes, if not too many are being read that are long. A short one of known length is good until the scratch is given back.
func (in *Ingest) read(w http.ResponseWriter, r *http.Request, s *scratch) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > short {
		if !in.Desk.Hold() {
			return nil, busy(admission.Retry(1, in.chance("")))
		}
		defer in.Desk.Release()
		return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	data := s.in[:r.ContentLength]
	_, err := io.ReadFull(r.Body, data)
	return data, err
}

// unchanged answers a check-in that changes nothing: almost all of them. It touches no database, waits for no decision, and what it says of
// directives is encoded already.
func (in *Ingest) unchanged(w http.ResponseWriter, id fleet.EndpointID, s *scratch) error {
	now := in.Clock.Now()
	known, ok := in.Fleet.Hear(id, now) // one that is turned away was heard, too
	if !ok {
		return in.unknown(id)
	}
	p := in.prepared(known.Inventory)
	poll, exposed := in.PollActive, in.exposed(id, known.Inventory.Names())
	if !exposed {
		if retry := in.Desk.Enter(admission.CheckIn, chance(id, now.UnixNano())); retry > 0 {
			return busy(retry)
		}
		defer in.Desk.Leave()
	}
	if p.idle && !exposed {
		poll = spread(in.Desk.Poll(in.PollIdle), id, now)
		in.part(w, poll)
	}
	s.out = appendReply(s.out[:0], p, known, poll, now)
	w.Header()["Content-Type"] = in.contentType
	_, _ = w.Write(s.out)
	return nil
}

// appendReply writes the same bytes as encoding/json does for such an answer.
func appendReply(to []byte, p *prepared, known registry.Glance, poll time.Duration, now time.Time) []byte {
	to = append(to, '{')
	to = append(to, p.directives...)
	to = append(to, `"poll_ms":`...)
	to = strconv.AppendInt(to, poll.Milliseconds(), 10)
	if !known.Synced {
		to = append(to, `,"resync":true`...)
	}
	if known.Reported > 0 {
		to = append(to, `,"reported":`...)
		to = strconv.AppendInt(to, known.Reported, 10)
	}
	to = append(to, `,"now":"`...)
	to = now.AppendFormat(to, time.RFC3339Nano)
	return append(to, `"}`...)
}

// prepared is what all hosts of one inventory are told. It never changes.
type prepared struct {
	idle       bool    // no component is on its way to another release
	sequences  []int64 // of the components' directives; 0 where there is none
	directives []byte  // the part of the answer, with a comma after it
}

// prepared returns what hosts with these components are told. It is made anew when a directive has changed.
func (in *Ingest) prepared(v *registry.Inventory) *prepared {
	if p, ok := v.Kept().(*prepared); ok && in.current(p, v.Names()) {
		return p
	}
	p := &prepared{idle: true}
	told := map[string]int64{}
	for _, name := range v.Names() {
		_, sequence := in.Engine.Directive(name)
		p.sequences = append(p.sequences, sequence)
		if sequence > 0 {
			told[name] = sequence
		}
		p.idle = p.idle && v.Components()[name].Phase == "idle"
	}
	if len(told) > 0 {
		text, _ := json.Marshal(told) // text and numbers: it cannot fail
		p.directives = append(append([]byte(`"directives":`), text...), ',')
	}
	v.Keep(p)
	return p
}

// current tells whether no directive has changed since.
func (in *Ingest) current(p *prepared, names []string) bool {
	for i, name := range names {
		if _, sequence := in.Engine.Directive(name); sequence != p.sequences[i] {
			return false
		}
	}
	return true
}

// exposed tells whether a host holds a lease without an outcome for one of its components.
func (in *Ingest) exposed(id fleet.EndpointID, names []string) bool {
	for _, name := range names {
		if in.Engine.Pending(id, name) {
			return true
		}
	}
	return false
}

// part ends the connection with this answer if it would only be kept until it is idle for too long: idle hosts hold no memory.
func (in *Ingest) part(w http.ResponseWriter, poll time.Duration) {
	if in.Idle > 0 && poll > in.Idle {
		w.Header()["Connection"] = in.goodbye
	}
}

// spread moves a pause by at most an eighth to either side, so that hosts which came together do not come together again. The same host at
// about the same time gets the same.
func spread(pause time.Duration, id fleet.EndpointID, now time.Time) time.Duration {
	return pause - pause/8 + time.Duration(float64(pause/4)*chance(id, now.UnixNano()/max(1, int64(pause))))
}

// chance is a number from 0 to 1 that is the same for the same host and number, and has nothing to do with those of others.
func chance(id fleet.EndpointID, number int64) float64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	hash := uint64(offset)
	for i := range len(id) {
		hash = (hash ^ uint64(id[i])) * prime
	}
	hash = (hash ^ uint64(number)) * prime        //nolint:gosec // any bits will do
	hash = (hash ^ hash>>30) * 0xbf58476d1ce4e5b9 // and of FNV's last words every bit is to count: SplitMix64
	hash = (hash ^ hash>>27) * 0x94d049bb133111eb
	return float64(hash>>11) / (1 << 53)
}
