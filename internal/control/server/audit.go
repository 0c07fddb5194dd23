package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/resource"
)

// Audit keeps what people did. *store.Store is one.
type Audit interface {
	AddAudit(ctx context.Context, a store.AuditEntry) error
	// AuditPage lists at most limit entries with a number below before, newest first; 0 is above all. Seen is where to go on if fewer were
	// found than there may be, else 0.
	AuditPage(ctx context.Context, f store.AuditFilter, before int64, limit int) (found []store.AuditEntry, seen int64, err error)
}

// Bounds of what is written down of an act.
const (
	maxTarget = 300 // bytes
	maxDetail = maxReason
	maxLook   = 64 << 10        // bytes of a document that is looked into
	auditTime = 2 * time.Second // to begin to write it down: what has begun is carried through
)

// deed is what a request does, as it will be written down. All methods may be called on nil: nothing is written down then.
type deed struct {
	actor   string
	target  string // in place of the route's
	outcome string // what more there is to say of it
	nothing bool   // it turned out to be no act
	said    map[string]any
}

func deedOf(ctx context.Context) *deed {
	d, _ := ctx.Value(deedKey).(*deed)
	return d
}

// by names who did it.
func (d *deed) by(actor string) {
	if d != nil {
		d.actor = actor
	}
}

// to says what it was done to, better than the route can.
func (d *deed) to(format string, args ...any) {
	if d != nil {
		d.target = fmt.Sprintf(format, args...)
	}
}

// came says what came of it.
func (d *deed) came(format string, args ...any) {
	if d != nil {
		d.outcome = fmt.Sprintf(format, args...)
	}
}

// drop makes it no act.
func (d *deed) drop() {
	if d != nil {
		d.nothing = true
	}
}

// look takes in the document of the request, for what it names as its subject and its reason. Nothing else of it is written down.
func (d *deed) look(data []byte) {
	if d != nil && len(data) > 0 && len(data) <= maxLook {
		_ = resource.Decode(data, &d.said) // its mistakes are the handler's to tell
	}
}

func (d *deed) word(name string) string {
	text, _ := d.said[name].(string)
	return text
}

// targetOf fills in the route's words with what the path and the document say.
func (d *deed) targetOf(t route, r *http.Request) string {
	if d.target != "" {
		return d.target
	}
	return regexp.MustCompile(`\{\w+\}`).ReplaceAllStringFunc(t.about, func(place string) string {
		name := strings.Trim(place, "{}")
		return cmp.Or(shorten(cmp.Or(r.PathValue(name), d.word(name))), "?")
	})
}

// detailOf says which command it was, why it was done, and what came of it, as far as there is anything to say.
func (d *deed) detailOf(r *http.Request, header http.Header) string {
	var parts []string
	for _, part := range []string{r.PathValue("act"), cmp.Or(d.word("reason"), d.word("note")), d.outcome} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if header.Get("Idempotency-Replayed") != "" {
		parts = append(parts, "sent again, and answered as before")
	}
	return strings.Join(parts, ": ")
}

// record writes down what an operator does, or tries to do, once it was answered: nobody waits for it but the next request on the
// connection. A handler that panics may have acted before, so that is written down too.
func (s *server) record(t route, next http.Handler) http.Handler {
	if safe(t.method) || t.about == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := &deed{actor: callerOf(r.Context()).actor}
		seen := &watched{ResponseWriter: w}
		if urgent(r) {
			w.Header().Set("Connection", "close") // the next request must not wait behind what is written of this one
		}
		whole := false
		defer func() {
			status := seen.status
			if whole {
				_ = http.NewResponseController(w).Flush() // a writer without a connection is a test's
			} else {
				status = http.StatusInternalServerError // whatever was sent was cut off
			}
			if d.actor != "" && !d.nothing {
				s.writeDown(r, store.AuditEntry{Actor: d.actor, Act: t.name, Target: d.targetOf(t, r), Status: status, Detail: d.detailOf(r, w.Header())})
			}
		}()
		s.survive(seen, r.WithContext(context.WithValue(r.Context(), deedKey, d)), next)
		whole = true
	})
}

// writeDown stores an entry. If that cannot be done the log has it.
func (s *server) writeDown(r *http.Request, a store.AuditEntry) {
	a.At, a.Request = s.Clock.Now(), requestID(r.Context())
	a.Actor, a.Target, a.Detail = clean(a.Actor, maxTarget), clean(a.Target, maxTarget), clean(a.Detail, maxDetail)
	ctx, enough := context.WithTimeout(context.WithoutCancel(r.Context()), auditTime)
	defer enough()
	if err := s.Tokens.AddAudit(ctx, a); err != nil {
		s.Log.ErrorContext(ctx, "what was done is not written down", slog.String("request_id", a.Request), slog.String("actor", a.Actor),
			slog.String("act", a.Act), slog.String("target", a.Target), slog.Int("status", a.Status), slog.String("detail", a.Detail), slog.Any("error", err))
	}
}

// clean makes one line of text of at most so many bytes, in which nothing moves the cursor, hides, or turns the direction of what follows.
func clean(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Noncharacter_Code_Point):
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= most {
		return text
	}
	const more = "…"
	end := most - len(more)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + more
}

// failures are attempts to sign in that failed. They are written down one by one only if they are rare: nobody fills the disk with them.
type failures struct {
	mu      sync.Mutex
	written time.Time
	since   int64
}

// failuresEvery is how often one of them is written down at most.
const failuresEvery = time.Minute

// count counts one that is not written down.
func (f *failures) count() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.since++
}

// tell makes a deed of a failure, with how many there were since the last one that was written down; or counts it.
func (f *failures) tell(d *deed, from string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if passed := now.Sub(f.written); !f.written.IsZero() && passed >= 0 && passed < failuresEvery {
		f.since++
		return
	}
	d.by("nobody")
	d.came("from %s", from)
	if f.since > 0 {
		d.came("from %s; %d more attempts have failed since %s", from, f.since, f.written.UTC().Format(time.DateTime+" MST"))
	}
	f.written, f.since = now, 0
}

func (s *server) listAudit(w http.ResponseWriter, r *http.Request) error {
	limit, err := pageSize(r)
	if err != nil {
		return err
	}
	var before int64
	if err = behind(r, &before); err != nil {
		return err
	}
	query := r.URL.Query()
	filter := store.AuditFilter{Actor: query.Get("actor"), Act: query.Get("act"), Target: query.Get("target")}
	rows, seen, err := s.Tokens.AuditPage(r.Context(), filter, before, limit+1)
	if err != nil {
		return err
	}
	answer := api.Page[api.AuditEntry]{}
	if len(rows) > limit {
		rows = rows[:limit]
		seen = rows[limit-1].Number
	}
	if seen > 0 {
		answer.Next = place{seen}.String()
	}
	answer.Items = each(rows, auditWire)
	return writeOK(w, answer)
}

func auditWire(a store.AuditEntry) api.AuditEntry {
	return api.AuditEntry{
		Number: a.Number, At: a.At, Actor: a.Actor, Act: a.Act, Target: a.Target, Status: a.Status, Detail: a.Detail, Request: a.Request,
	}
}
