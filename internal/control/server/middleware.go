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
	deedKey
)

// caller is the operator behind a request.
type caller struct {
	token   string // its id
	actor   string // for records: the token's id, and its note, which other tokens may have too
	note    string
	secret  string    // of the token, or of the session
	until   time.Time // end of the session, or of the token; zero: it has none
	session bool      // a cookie is all that says who it is
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
			s.Log.DebugContext(r.Context(), "request", slog.String("request_id", id), slog.String("method", r.Method),
				slog.String("path", r.URL.Path), slog.Int("status", seen.status), slog.Duration("took", s.Clock.Now().Sub(start)))
		}()
		s.survive(seen, r, next)
	})
}

// survive answers for a handler that panics, so that others go on.
func (s *server) survive(w *watched, r *http.Request, next http.Handler) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(w, r, p)
		}
	}()
	next.ServeHTTP(w, r)
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

// authenticate lets only holders of a valid operator token through, and those whose session stands for one. It says the same of every token
// that is not one, so that nobody learns which part was right.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.identify(r)
		if err != nil {
			if fault.KindOf(err) == fault.Denied {
				w.Header().Set("WWW-Authenticate", `Bearer realm="firebreak"`)
				if codeOf(err) == sessionExpired {
					s.setCookie(w, r, "", -1)
				}
				err = withStatus(http.StatusUnauthorized, err)
			}
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey, who)))
	})
}

func (s *server) identify(r *http.Request) (caller, error) {
	if secret, ok := bearer(r); ok {
		return s.holder(r, secret)
	}
	if _, there := s.sessionSecret(r); there {
		return s.visitor(r)
	}
	return caller{}, fault.New(fault.Denied, "authenticate: the request has no bearer token").
		Hint("Set FIREBREAK_TOKEN or pass --token; the first one was printed when the control plane started for the first time.")
}

func bearer(r *http.Request) (secret string, ok bool) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return secret, strings.EqualFold(scheme, "Bearer") && secret != ""
}

func hasBearer(r *http.Request) bool {
	_, ok := bearer(r)
	return ok
}

// holder is who sends a token.
func (s *server) holder(r *http.Request, secret string) (caller, error) {
	t, err := s.tokenOf(r, secret)
	if err != nil {
		return caller{}, err
	}
	return callerWith(t, secret), nil
}

// visitor is who has a session.
func (s *server) visitor(r *http.Request) (caller, error) {
	secret, _ := s.sessionSecret(r)
	if secret == "" {
		return caller{}, expired()
	}
	hash := token.Hash(secret)
	found, err := s.find(r, hash, func(ctx context.Context) (recent, error) {
		session, t, err := s.Tokens.SessionByHash(ctx, hash)
		return recent{hash: session.Hash, token: t, until: session.Expires}, err
	})
	if err == nil && !found.valid(hash, store.OperatorToken, s.Clock.Now()) || fault.KindOf(err) == fault.NotFound && err != nil {
		return caller{}, expired()
	}
	if err != nil {
		return caller{}, err
	}
	who := callerWith(found.token, secret)
	who.session, who.until = true, found.until
	return who, nil
}

// tokenOf finds the token that a secret is, if it is good for this request.
func (s *server) tokenOf(r *http.Request, secret string) (store.Token, error) {
	refused := fault.New(fault.Denied, "authenticate: the token is not a valid operator token").
		Hint("Ask somebody with a valid token for a new one: firebreak token create --kind operator.")
	prefix, kind := token.OperatorPrefix, store.OperatorToken
	if strings.HasPrefix(r.URL.Path, api.CellPath) && strings.HasPrefix(secret, token.PeerPrefix) {
		prefix, kind = token.PeerPrefix, store.PeerToken // all that it opens
	}
	if !token.Plausible(prefix, secret) {
		return store.Token{}, refused
	}
	hash := token.Hash(secret)
	found, err := s.find(r, hash, func(ctx context.Context) (recent, error) {
		t, err := s.Tokens.TokenByHash(ctx, hash)
		return recent{hash: t.Hash, token: t}, err
	})
	if err == nil && !found.valid(hash, kind, s.Clock.Now()) || fault.KindOf(err) == fault.NotFound && err != nil {
		return store.Token{}, refused
	}
	return found.token, err
}

// callerWith is the operator who has a token, or what stands for it.
func callerWith(t store.Token, secret string) caller {
	who := caller{token: t.ID, actor: string(t.Kind) + " token " + t.ID, note: t.Note, secret: secret, until: t.Expires}
	if t.Note != "" {
		who.actor = fmt.Sprintf("%s token %q (%s)", t.Kind, t.Note, t.ID)
	}
	return who
}

// find looks a secret up by its hash. A halt waits for the database no longer than it must: whoever has shown one that was good a while ago
// may end harm with it.
func (s *server) find(r *http.Request, hash []byte, look func(context.Context) (recent, error)) (recent, error) {
	ctx := r.Context()
	known, ok := s.recent.find(hash, s.Clock.Now())
	if urgent(r) {
		patience := s.Patience
		if ok {
			patience = min(patience, haltWho)
		}
		var enough context.CancelFunc
		ctx, enough = context.WithTimeout(ctx, patience)
		defer enough()
	}
	found, err := look(ctx)
	switch {
	case err == nil:
		s.recent.note(found, s.Clock.Now())
	case urgent(r) && ok && fault.KindOf(err) != fault.NotFound:
		return known, nil
	}
	return found, err
}

const (
	patience    = 2 * time.Second
	recentFor   = 15 * time.Minute
	mostRecents = 1000
)

// recents are the secrets of operators that were found a while ago, by hash: tokens, and sessions that stand for tokens.
type recents struct {
	mu  sync.Mutex
	all map[string]recent
}

type recent struct {
	hash  []byte
	token store.Token
	until time.Time // end of the session; zero: it is the token itself
	at    time.Time
}

// valid tells whether what was found by a hash is good at that time.
func (f recent) valid(hash []byte, kind store.TokenKind, now time.Time) bool {
	ended := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	return subtle.ConstantTimeCompare(f.hash, hash) == 1 && f.token.Kind == kind && f.token.Revoked.IsZero() && !ended(f.token.Expires) && !ended(f.until)
}

// note remembers a secret as it is now.
func (r *recents) note(one recent, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) >= mostRecents {
		clear(r.all)
	}
	one.at = now
	r.all[string(one.hash)] = one
}

// revoked forgets a token, and the sessions that stand for it.
func (r *recents) revoked(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.all, func(_ string, one recent) bool { return one.token.ID == id })
}

// forget forgets a session.
func (r *recents) forget(hash []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, string(hash))
}

func (r *recents) find(hash []byte, now time.Time) (recent, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, known := r.all[string(hash)]
	return one, known && now.Sub(one.at) < recentFor
}
