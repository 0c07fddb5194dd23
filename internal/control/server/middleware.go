package server

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/problem"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

type contextKey int

const (
	requestKey contextKey = iota
	callerKey
)

// caller is the operator behind a request.
type caller struct {
	token  string // its id
	actor  string // for records: the token's id, and its note, which other tokens may have too
	secret string
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey).(caller)
	return c
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey).(string)
	return id
}

// observe is round everything: it numbers the request, survives panics and writes the access log.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, start := rand.Text(), s.Clock.Now()
		r = r.WithContext(context.WithValue(r.Context(), requestKey, id))
		seen := &watched{ResponseWriter: w}
		header := w.Header()
		header.Set("X-Request-Id", id)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		defer func() { //nolint:contextcheck // it has the request
			if p := recover(); p != nil {
				s.panicked(seen, r, p)
			}
			s.Log.DebugContext(r.Context(), "request", slog.String("request_id", id), slog.String("method", r.Method),
				slog.String("path", r.URL.Path), slog.Int("status", seen.status), slog.Duration("took", s.Clock.Now().Sub(start)))
		}()
		next.ServeHTTP(seen, r)
	})
}

func (s *server) panicked(w *watched, r *http.Request, p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // the value itself is the signal
		panic(p)
	}
	s.Log.ErrorContext(r.Context(), "request panicked", slog.String("request_id", requestID(r.Context())),
		slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
	if w.status != 0 {
		panic(http.ErrAbortHandler) // the answer has begun: cutting it off is the only way to say that it is wrong
	}
	problem.WriteStatus(w, http.StatusInternalServerError, fault.New(fault.Internal, "panic"), requestID(r.Context()))
}

// watched remembers the status that was sent.
type watched struct {
	http.ResponseWriter
	status int
}

func (w *watched) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// authenticate lets only holders of a valid operator token through. It says the same of every token that is not one, so that nobody
// learns which part was right.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.identify(r)
		if err != nil {
			if fault.KindOf(err) == fault.Denied {
				w.Header().Set("WWW-Authenticate", `Bearer realm="firebreak"`)
				err = withStatus(http.StatusUnauthorized, err)
			}
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey, who)))
	})
}

func (s *server) identify(r *http.Request) (caller, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return caller{}, fault.New(fault.Denied, "authenticate: the request has no bearer token").
			Hint("Set FIREBREAK_TOKEN or pass --token; the first one was printed when the control plane started for the first time.")
	}
	refused := fault.New(fault.Denied, "authenticate: the token is not a valid operator token").
		Hint("Ask somebody with a valid token for a new one: firebreak token create --kind operator.")
	prefix, kind := token.OperatorPrefix, store.OperatorToken
	if strings.HasPrefix(r.URL.Path, api.CellPath) && strings.HasPrefix(secret, token.PeerPrefix) {
		prefix, kind = token.PeerPrefix, store.PeerToken // all that it opens
	}
	if !token.Plausible(prefix, secret) {
		return caller{}, refused
	}
	hash := token.Hash(secret)
	t, err := s.tokenOf(r, hash)
	switch {
	case fault.KindOf(err) == fault.NotFound && err != nil:
		return caller{}, refused
	case err != nil:
		return caller{}, err
	case subtle.ConstantTimeCompare(t.Hash, hash) != 1, t.Kind != kind, !t.Revoked.IsZero(),
		!t.Expires.IsZero() && !s.Clock.Now().Before(t.Expires):
		return caller{}, refused
	}
	who := caller{token: t.ID, actor: string(kind) + " token " + t.ID, secret: secret}
	if t.Note != "" {
		who.actor = fmt.Sprintf("%s token %q (%s)", kind, t.Note, t.ID)
	}
	return who, nil
}

// tokenOf finds a token. A halt waits for the database no longer than it must: whoever has shown a token that was good a while ago may
// end harm with it.
func (s *server) tokenOf(r *http.Request, hash []byte) (store.Token, error) {
	ctx := r.Context()
	if urgent(r) {
		var enough context.CancelFunc
		ctx, enough = context.WithTimeout(ctx, s.Patience)
		defer enough()
	}
	t, err := s.Tokens.TokenByHash(ctx, hash)
	switch {
	case err == nil:
		s.recent.note(t, s.Clock.Now())
	case urgent(r) && fault.KindOf(err) != fault.NotFound:
		if known, ok := s.recent.find(hash, s.Clock.Now()); ok {
			return known, nil
		}
	}
	return t, err
}

const (
	patience    = 2 * time.Second
	recentFor   = 15 * time.Minute
	mostRecents = 1000
)

// recents is the operators' tokens that were found a while ago, by hash.
type recents struct {
	mu  sync.Mutex
	all map[string]recent
}

type recent struct {
	token store.Token
	at    time.Time
}

// note remembers a token as it is now.
func (r *recents) note(t store.Token, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) >= mostRecents {
		clear(r.all)
	}
	r.all[string(t.Hash)] = recent{t, now}
}

// revoked forgets a token.
func (r *recents) revoked(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.all, func(_ string, one recent) bool { return one.token.ID == id })
}

func (r *recents) find(hash []byte, now time.Time) (store.Token, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, known := r.all[string(hash)]
	return one.token, known && now.Sub(one.at) < recentFor
}
