package registry

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Hearings is whom this replica heard since the last call, for the others: at most so many, as bytes for [Registry.Heard]; nil if there
// are none. The next call goes on from there, so that everybody's turn comes however many are heard, if most is well above a page. Endpoints whose
// number is not known here wait until it is.
func (r *Registry) Hearings(most int) []byte {
	var all []hearing
	pages := r.stretches()
	next := int(r.telling.Load())
	for range pages {
		if next >= pages {
			next = 0
		}
		if all = r.tell(next, all, most); len(all) == most {
			break
		}
		next++
	}
	r.telling.Store(int64(next))
	return encodeHearings(all)
}

// Tells is how many endpoints [Registry.Hearings] has to tell of, those among them whose number is not known.
func (r *Registry) Tells() int {
	n := 0
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.pages {
		n += p.untold.len()
	}
	return n
}

func (r *Registry) tell(n int, all []hearing, most int) []hearing {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p := r.pages[n]
	p.numbered(&p.untold, func(e *record) bool {
		if len(all) == most {
			return false
		}
		at, left := e.heard()
		all = append(all, hearing{number: e.number, millis: r.epoch.time(at).UnixMilli(), left: left})
		return true
	})
	return all
}

// Untold gives back what [Registry.Hearings] returned and could not be told.
func (r *Registry) Untold(batch []byte) {
	all, err := decodeHearings(batch)
	if err != nil {
		return // it was not made here
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, h := range all {
		if place, ok := r.numbered(h.number); ok {
			r.pages[place/turn].untold.add(place % turn)
		}
	}
}

// Heard takes in whom another replica heard, as it wrote it down when its clock said then, and this one's now. What it says to be later was
// heard at that moment; a clock that is wrong moves nobody. Of each endpoint the newest word counts; those that are not known here are passed
// over. Bytes that are no hearings change nothing.
func (r *Registry) Heard(batch []byte, then, now time.Time) error {
	all, err := decodeHearings(batch)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(all, turn) {
		r.takeIn(some, then.UnixMilli(), now)
	}
	return nil
}

func (r *Registry) takeIn(some []hearing, then int64, now time.Time) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, h := range some {
		place, ok := r.numbered(h.number)
		if !ok {
			continue
		}
		ago := time.Duration(max(0, min(then-h.millis, longAgo))) * time.Millisecond
		at := r.epoch.instant(now.Add(-ago))
		seen := &r.row(place).seen
		for known := seen.Load(); known>>1 < at && !seen.CompareAndSwap(known, spoke(at, h.left)); {
			known = seen.Load()
		}
	}
}

// longAgo, in milliseconds, is as long ago as any other time that is longer ago.
const longAgo = 50 * 365 * 24 * 3600 * 1000

// hearing is one endpoint that was heard.
type hearing struct {
	number int64
	millis int64 // Unix time
	left   bool
}

// hearings is the first byte of the form: a later one says otherwise.
const hearings = 1

// encodeHearings writes hearings: the form, how many they are, the latest time, and for each one in the order of numbers how far it is from
// the number before, and from the latest time, with one bit more for whether it left. Three or four bytes for each.
func encodeHearings(all []hearing) []byte {
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b hearing) int { return int(a.number - b.number) })
	latest := all[0].millis
	for _, h := range all {
		latest = max(latest, h.millis)
	}
	batch := make([]byte, 0, 16+5*len(all))
	batch = append(batch, hearings)
	batch = binary.AppendUvarint(batch, uint64(len(all)))
	batch = binary.AppendVarint(batch, latest)
	var before int64
	for _, h := range all {
		word := uint64(latest-h.millis) << 1 //nolint:gosec // latest is the latest
		if h.left {
			word |= 1
		}
		batch = binary.AppendUvarint(batch, uint64(h.number-before)) //nolint:gosec // sorted
		batch = binary.AppendUvarint(batch, word)
		before = h.number
	}
	return batch
}

// decodeHearings reads what encodeHearings wrote, or refuses it as a whole.
func decodeHearings(batch []byte) ([]hearing, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	bad := func(why string) ([]hearing, error) {
		return nil, fault.New(fault.Invalid, "read whom another replica heard: %s", why)
	}
	if batch[0] != hearings {
		return bad("it is in a form of another version")
	}
	in := reader{rest: batch[1:]}
	count := in.unsigned()
	if count > uint64(len(batch))/2 {
		return bad("it is shorter than it says")
	}
	latest := in.signed()
	all := make([]hearing, 0, count)
	var number int64
	for range count {
		step, word := in.unsigned(), in.unsigned()
		ago := int64(word >> 1)
		if step == 0 || step > uint64(maxNumber-number) || latest < 0 || ago > latest {
			return bad("a number or a time makes no sense")
		}
		number += int64(step) //nolint:gosec // just checked
		all = append(all, hearing{number: number, millis: latest - ago, left: word&1 != 0})
	}
	if in.broken || len(in.rest) > 0 {
		return bad("it is cut off, or followed by something")
	}
	return all, nil
}

// maxNumber bounds the numbers of endpoints.
const maxNumber = 1 << 62

// reader reads numbers, until there are none.
type reader struct {
	rest   []byte
	broken bool
}

func (r *reader) unsigned() uint64 {
	value, n := binary.Uvarint(r.rest)
	r.skip(n)
	return value
}

func (r *reader) signed() int64 {
	value, n := binary.Varint(r.rest)
	r.skip(n)
	return value
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.rest, r.broken = nil, true
		return
	}
	r.rest = r.rest[n:]
}
