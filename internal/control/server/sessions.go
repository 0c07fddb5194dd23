package server

import (
	"context"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Sessions keeps people's stays in the console. *store.Store is one.
type Sessions interface {
	// PutSession keeps a new session and ends the one with the hash ended, which may be nil.
	PutSession(ctx context.Context, session store.Session, ended []byte) error
	// SessionByHash returns fault.NotFound if there is no such session.
	SessionByHash(ctx context.Context, hash []byte) (store.Session, store.Token, error)
	EndSession(ctx context.Context, hash []byte) error
}

// sessionLife is how long a session lasts, whatever is done in it.
const sessionLife = 12 * time.Hour

// maxSignIn bounds the document that signs a person in, in bytes.
const maxSignIn = 4 << 10

// The cookie with a session's secret. Where the browser speaks TLS it has the name that no other host and no plain connection can set. After
// that come a few digits of the installation's fingerprint: cookies heed no ports, and installations on one host must not take away one
// another's. The replicas of an installation have the same.
const (
	plainCookie  = "firebreak_session_"
	secureCookie = "__Host-firebreak_session_"
	cookieDigits = 8
)

// sessionExpired is the code of the problem by which the console knows that somebody has to sign in again.
const sessionExpired = "session_expired"

func expired() error {
	return withCode(sessionExpired, fault.New(fault.Denied, "session expired: sign in again; nothing was done").
		Hint("A session ends 12 hours after signing in, and with its token."))
}

// signIn makes a session of an operator's token. It is always a new one, and the one that the request came with ends: nobody can have chosen
// the secret of a session that another person goes on with.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) error {
	var wanted newSession
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	now, from, attempts := s.Clock.Now(), clientOf(r), s.attempts.with(wanted.Token)
	if wait := attempts.take(from, now); wait > 0 {
		s.failures.count()
		return comeLater(w, wait, fault.New(fault.Unavailable, "sign in: there were too many attempts").Hint("Wait as long as Retry-After says."))
	}
	of, err := s.tokenOf(r, wanted.Token)
	if err == nil {
		attempts.giveBack(from, now)
		return s.begin(w, r, of)
	}
	if fault.KindOf(err) != fault.Denied {
		return err
	}
	s.failures.tell(deedOf(r.Context()), from, now)
	return withStatus(http.StatusUnauthorized, fault.New(fault.Denied, "sign in: the token is not a valid operator token").
		Hint("Ask somebody with a valid token for a new one: firebreak token create --kind operator."))
}

// begin starts a session of a token.
func (s *server) begin(w http.ResponseWriter, r *http.Request, of store.Token) error {
	now := s.Clock.Now()
	fresh, err := token.Mint(token.SessionPrefix, s.Random)
	if err != nil {
		return err
	}
	session := store.Session{Hash: fresh.Hash, Token: of.ID, Created: now, Expires: now.Add(sessionLife)}
	if !of.Expires.IsZero() && of.Expires.Before(session.Expires) {
		session.Expires = of.Expires
	}
	var before []byte
	if secret, there := s.sessionSecret(r); there {
		before = token.Hash(secret)
	}
	if err := s.Tokens.PutSession(r.Context(), session, before); err != nil {
		return err
	}
	s.recent.forget(before)
	who := callerWith(of, fresh.Secret)
	deedOf(r.Context()).by(who.actor)
	s.setCookie(w, r, fresh.Secret, session.Expires.Sub(now))
	return write(w, http.StatusCreated, sessionWire(who, session.Expires))
}

func (s *server) getSession(w http.ResponseWriter, r *http.Request) error {
	who := callerOf(r.Context())
	return writeOK(w, sessionWire(who, who.until))
}

// signOut ends the session of the request's cookie, if there is one. The browser forgets it in any case.
func (s *server) signOut(w http.ResponseWriter, r *http.Request) error {
	s.setCookie(w, r, "", -1)
	secret, there := s.sessionSecret(r)
	if !there {
		return fault.New(fault.NotFound, "sign out: the request has no session").Hint("A bearer token has nothing to sign out of; revoke it with DELETE /api/v1/tokens.")
	}
	hash := token.Hash(secret)
	s.recent.forget(hash)
	if err := s.Tokens.EndSession(r.Context(), hash); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// newSession is api.NewSession with its rules.
type newSession struct{ api.NewSession }

// Check implements resource.Checker.
func (n newSession) Check() []fault.Problem {
	if n.Token == "" {
		return []fault.Problem{{Path: "token", Message: "is missing"}}
	}
	return nil
}

func sessionWire(who caller, until time.Time) api.Session {
	return api.Session{Actor: who.actor, TokenID: who.token, Note: who.note, Expires: optional(until)}
}

// setCookie gives the browser a session's secret, or takes it away if life is below 0.
func (s *server) setCookie(w http.ResponseWriter, r *http.Request, secret string, life time.Duration) {
	age := int(life / time.Second)
	if life < 0 {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // the browser gives back a Secure one only over TLS
		Name: s.cookieName(r), Value: secret, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure(r),
	})
}

func (s *server) cookieName(r *http.Request) string {
	_, digits, _ := strings.Cut(s.Fingerprint, ":")
	digits = digits[:min(len(digits), cookieDigits)]
	if secure(r) {
		return secureCookie + digits
	}
	return plainCookie + digits
}

// secure tells whether the browser spoke TLS, to this port or to the proxy in front of it.
func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(r.Header.Get("X-Forwarded-Proto")), "https")
}

// sessionSecret is what the request's cookie has, and whether it has one. Of several with that name, which other servers of the host may
// have set, it is the one that looks like ours.
func (s *server) sessionSecret(r *http.Request) (secret string, there bool) {
	for _, cookie := range r.CookiesNamed(s.cookieName(r)) {
		if there = true; token.Plausible(token.SessionPrefix, cookie.Value) {
			return cookie.Value, true
		}
	}
	return "", there
}

// fromHere refuses what another site may have made a browser send: whatever changes something and has a cookie for its only proof must come
// from a page of this very origin, and be no form.
func (s *server) fromHere(t route, next http.Handler) http.Handler {
	if safe(t.method) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		byCookie := callerOf(r.Context()).session || t.traits.is(open) && !hasBearer(r)
		if byCookie {
			if err := sameOrigin(r); err != nil {
				s.fail(w, r, err)
				return
			}
			if err := noForm(t, r); err != nil {
				s.fail(w, r, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// safe tells whether a method changes nothing.
func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// sameOrigin wants a browser to say that a page of this origin sent the request. Browsers have long done so with everything that is no GET.
func sameOrigin(r *http.Request) error {
	err := http.NewCrossOriginProtection().Check(r)
	site := r.Header.Get("Sec-Fetch-Site")
	if err == nil && (site == "same-origin" || site == "" && r.Header.Get("Origin") != "") {
		return nil
	}
	return fault.New(fault.Denied, "%s %s: the request does not come from a page of this server; nothing was done", r.Method, shorten(r.URL.Path)).
		Hint("Scripts send a bearer token in place of a cookie. A proxy must pass on Host, Origin and Sec-Fetch-Site.")
}

// noForm refuses a document that a form of any page can send without being asked.
func noForm(t route, r *http.Request) error {
	if t.request == nil || t.traits.is(stream) || r.ContentLength == 0 {
		return nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && (media == "application/json" || media == "application/yaml") {
		return nil
	}
	return withStatus(http.StatusUnsupportedMediaType,
		fault.New(fault.Invalid, "%s %s: the document must say that it is application/json", r.Method, shorten(r.URL.Path)))
}
