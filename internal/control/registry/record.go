package registry

import (
	"encoding/hex"
	"math"
	"math/bits"
	"strings"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// record is one endpoint in memory. It has no pointers: the garbage collector looks at none of them, and ten million of them are a few
// hundred pages of plain memory. What many hosts have in common is kept once, in a [kind].
type record struct {
	seen     atomic.Int64 // when it was heard: an instant, and whether it left with that word; see spoke
	reported atomic.Int64 // highest report number stored
	number   int64        // the database's number of it; 0 if it is not known here
	enrolled int64        // instant
	kind     uint32       // what it is and has: index of its kind
	posture  fleet.Posture
	flags    flags
	key      key
	boot     [16]byte
}

type flags uint8

const (
	synced    flags = 1 << iota // it sent its whole state since this server started
	oddID                       // its id is kept aside
	oddBoot                     // its boot id is kept aside
	plainBoot                   // its boot id is a UUID, in boot
)

func (e *record) is(f flags) bool { return e.flags&f != 0 }

// set raises or lowers a flag.
func (e *record) set(f flags, on bool) {
	e.flags &^= f
	if on {
		e.flags |= f
	}
}

// page is a stretch of records, in the order in which they came, and who of them has news for whom.
type page struct {
	rows    [turn]record
	touched marks // seen since the last Flush
	changed marks // changed since the last Flush
	untold  marks // seen since other replicas were last told
}

// turn is how many hosts are in a page, and how many are looked at while one waits for the lock where little is done for each.
const turn = 1024

// marks is a set of records of one page.
type marks [turn / 64]atomic.Uint64

// add puts a record into the set. One that is in it already costs a read.
func (m *marks) add(i uint32) {
	word, bit := &m[i/64], uint64(1)<<(i%64)
	if word.Load()&bit == 0 {
		word.Or(bit)
	}
}

func (m *marks) has(i uint32) bool { return m[i/64].Load()&(1<<(i%64)) != 0 }

// len is how many records are in the set.
func (m *marks) len() int {
	n := 0
	for i := range m {
		n += bits.OnesCount64(m[i].Load())
	}
	return n
}

// key is the 80 bits of an id that was derived from a public key.
type key [10]byte

const (
	idPrefix = "ep-"
	idLength = len(idPrefix) + 2*len(key{})
)

// keyOf tells the 80 bits that an id stands for; not ok if it is of another form.
func keyOf(id fleet.EndpointID) (k key, ok bool) {
	digits, ours := strings.CutPrefix(string(id), idPrefix)
	return k, ours && len(id) == idLength && unhex(k[:], digits)
}

func (k *key) append(to []byte) []byte { return hex.AppendEncode(append(to, idPrefix...), k[:]) }

// unhex fills a value from as many lower-case digits: those are the only ones that come out again as they went in.
func unhex(into []byte, digits string) bool {
	for i := range into {
		high, low := digit(digits[2*i]), digit(digits[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		into[i] = high<<4 | low
	}
	return true
}

func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	default:
		return math.MaxUint8
	}
}

// bootLength is that of a UUID as Linux writes it: 8-4-4-4-12.
const bootLength = 36

// bootOf tells the 16 bytes of a boot id that is a UUID.
func bootOf(text string) (boot [16]byte, ok bool) {
	if len(text) != bootLength || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return boot, false
	}
	return boot, unhex(boot[:], text[:8]+text[9:13]+text[14:18]+text[19:23]+text[24:])
}

func bootText(boot [16]byte) string {
	text := hex.EncodeToString(boot[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// epoch turns times into instants, nanoseconds since a time of its own, and back. An instant keeps what the monotonic clock said: a clock
// that is set makes no host look silent, or heard. It spans 146 years; what lies beyond is moved to its ends.
type epoch struct{ base atomic.Pointer[time.Time] }

const (
	never    = math.MinInt64 / 2 // the zero time
	farthest = math.MaxInt64 / 2
)

func (e *epoch) instant(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return max(never+1, min(int64(t.Sub(e.of(t))), farthest))
}

// time is the time of an instant, which was made here.
func (e *epoch) time(instant int64) time.Time {
	if instant == never {
		return time.Time{}
	}
	return e.base.Load().Add(time.Duration(instant))
}

// of is the time that instants are counted from: the first that was seen. When the first one comes that has a monotonic reading the base
// gets the one that belongs to it, and when the machine's clock was set the base is set with it. The instants stay what they are.
func (e *epoch) of(t time.Time) time.Time {
	base := e.base.Load()
	var next time.Time
	switch {
	case base == nil:
		next = t
	case !monotonic(t) || monotonic(*base) && drift(*base, t).Abs() < time.Second:
		return *base
	case monotonic(*base):
		next = t.Add(base.Sub(t))
	default:
		next = t.Add(base.Sub(t.Round(0)))
	}
	e.base.CompareAndSwap(base, &next)
	return *e.base.Load()
}

// drift is how far the clock was moved between two times of this process.
func drift(from, to time.Time) time.Duration { return to.Round(0).Sub(from.Round(0)) - to.Sub(from) }

// monotonic tells whether a time came from a clock of this process.
func monotonic(t time.Time) bool {
	return t != t.Round(0) // the same moment without the reading is another value
}

// spoke packs when a host was heard and whether it left with that word: both change together.
func spoke(instant int64, left bool) int64 {
	word := instant << 1
	if left {
		word |= 1
	}
	return word
}

// heard unpacks what spoke packed.
func (e *record) heard() (instant int64, left bool) {
	word := e.seen.Load()
	return word >> 1, word&1 != 0
}
