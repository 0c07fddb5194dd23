package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// browser sends what a page of the console sends, and keeps its cookie.
type browser struct {
	t      *testing.T
	w      *servertest.World
	cookie string // name=secret
}

// do sends a request with further headers, in pairs; an empty value takes one away.
func (b *browser) do(method, path, body string, headers ...string) (servertest.Answer, string) {
	b.t.Helper()
	all := map[string]string{"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
	if b.cookie != "" {
		all["Cookie"] = b.cookie
	}
	for i := 0; i < len(headers); i += 2 {
		if all[headers[i]] = headers[i+1]; headers[i+1] == "" {
			delete(all, headers[i])
		}
	}
	answer, text := servertest.Send(b.t, method, b.w.URL+path, body, all)
	for _, set := range (&http.Response{Header: answer.Header}).Cookies() {
		if b.cookie = set.Name + "=" + set.Value; set.MaxAge < 0 {
			b.cookie = ""
		}
	}
	return answer, text
}

// signIn signs in with a token.
func signIn(t *testing.T, w *servertest.World, token string, headers ...string) *browser {
	t.Helper()
	b := &browser{t: t, w: w}
	if answer, text := b.do("POST", "/api/v1/session", `{"token":"`+token+`"}`, headers...); answer.StatusCode != http.StatusCreated {
		t.Fatalf("sign in: got %d %s, want 201", answer.StatusCode, text)
	}
	return b
}

// ended checks that a browser is told to sign in again.
func (b *browser) ended(when string, headers ...string) {
	b.t.Helper()
	cookie := b.cookie
	answer, text := b.do("POST", "/api/v1/tokens", `{"kind":"join"}`, headers...)
	if p := problem(b.t, answer, text); p.Status != http.StatusUnauthorized || p.Code != "session_expired" || !strings.Contains(p.Detail, "nothing was done") {
		b.t.Errorf("%s: got %s, want 401 that tells to sign in again", when, text)
	}
	if b.cookie == cookie {
		b.t.Errorf("%s: the browser keeps its cookie, want it taken away", when)
	}
	b.cookie = cookie
}

func TestASessionStandsForItsToken(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	b := &browser{t: t, w: w}
	answer, text := b.do("POST", "/api/v1/session", `{"token":"`+w.Token+`"}`)
	set := answer.Header.Get("Set-Cookie")
	for _, want := range []string{"firebreak_session_c0ffee00=fb_se_", "Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"} {
		if !strings.Contains(set, want) {
			t.Errorf("got cookie %q, want %s in it", set, want)
		}
	}
	if strings.Contains(set, "Secure") || strings.Contains(text, "fb_") {
		t.Errorf("got cookie %q and %s, want no secret in the answer, and a cookie that plain HTTP gives back", set, text)
	}
	var session api.Session
	if err := json.Unmarshal([]byte(text), &session); err != nil {
		t.Fatal(err)
	}
	if session.Note != "alice" || session.Expires == nil || !session.Expires.Equal(servertest.Start().Add(12*time.Hour)) {
		t.Errorf("got %+v, want alice's for 12 hours", session)
	}
	if _, same := b.do("GET", "/api/v1/session", ""); same != text {
		t.Errorf("who is signed in: got %s, want %s", same, text)
	}
	if answer, text := b.do("POST", "/api/v1/tokens", `{"kind":"join"}`); answer.StatusCode != http.StatusCreated {
		t.Errorf("an act: got %d %s, want 201", answer.StatusCode, text)
	}
	secret := b.cookie
	if answer, text := b.do("DELETE", "/api/v1/session", ""); answer.StatusCode != http.StatusNoContent || b.cookie != "" {
		t.Errorf("sign out: got %d %s and cookie %q, want 204 and none", answer.StatusCode, text, b.cookie)
	}
	b.cookie = secret
	b.ended("after signing out")
	if log := w.Log.String(); strings.Contains(log, "fb_se_") || strings.Contains(log, "fb_op_") {
		t.Error("the log has a secret")
	}
}

func TestASessionIsNoLongerGoodThanItsToken(t *testing.T) {
	t.Parallel()
	now := clock.At(servertest.Start())
	w := servertest.Open(t, func(o *server.Options) { o.Clock = now })
	mint := func(expires time.Time) string {
		return w.Mint(store.Token{Kind: store.OperatorToken, Expires: expires})
	}
	short := signIn(t, w, mint(servertest.Start().Add(time.Hour)))
	long, revoked := signIn(t, w, mint(time.Time{})), signIn(t, w, w.Token)
	tokens, err := w.Store.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range tokens {
		if one.Note == "alice" {
			if answer, text := long.do("DELETE", "/api/v1/tokens/"+one.ID, ""); answer.StatusCode != http.StatusNoContent {
				t.Fatalf("revoke: got %d %s", answer.StatusCode, text)
			}
		}
	}
	revoked.ended("after its token was revoked")
	now.Move(time.Hour)
	short.ended("after its token expired")
	now.Move(11*time.Hour - time.Second)
	if answer, _ := long.do("GET", "/api/v1/session", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("a second before 12 hours are over: got %d, want 200", answer.StatusCode)
	}
	now.Move(time.Second)
	long.ended("after 12 hours")
}

// Nobody can have chosen, or keeps, the secret of a session that somebody signs in to.
func TestSigningInMakesAnotherSession(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	first := signIn(t, w, w.Token)
	second := &browser{t: t, w: w, cookie: first.cookie}
	if answer, text := second.do("POST", "/api/v1/session", `{"token":"`+w.Token+`"}`); answer.StatusCode != http.StatusCreated {
		t.Fatalf("got %d %s", answer.StatusCode, text)
	}
	if second.cookie == first.cookie {
		t.Error("got the same session, want another one")
	}
	first.ended("after signing in again")
	if answer, _ := second.do("GET", "/api/v1/session", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("the new session: got %d, want 200", answer.StatusCode)
	}
	planted := &browser{t: t, w: w, cookie: "firebreak_session_c0ffee00=fb_se_" + strings.Repeat("a", 8) + "_" + strings.Repeat("b", 52)}
	chosen := planted.cookie
	planted.do("POST", "/api/v1/session", `{"token":"`+w.Token+`"}`)
	if planted.cookie == chosen || planted.cookie == "" {
		t.Errorf("got %q, want a session that nobody chose", planted.cookie)
	}
}

func TestBehindTLSTheCookieIsSecure(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	tls := []string{"X-Forwarded-Proto", "https"}
	b := &browser{t: t, w: w}
	answer, _ := b.do("POST", "/api/v1/session", `{"token":"`+w.Token+`"}`, tls...)
	if set := answer.Header.Get("Set-Cookie"); !strings.HasPrefix(set, "__Host-firebreak_session_c0ffee00=") || !strings.Contains(set, "Secure") {
		t.Errorf("got cookie %q, want a secure one of this host alone", set)
	}
	if answer, _ := b.do("GET", "/api/v1/session", "", tls...); answer.StatusCode != http.StatusOK {
		t.Errorf("got %d, want 200", answer.StatusCode)
	}
	b.cookie = strings.TrimPrefix(b.cookie, "__Host-")
	if answer, _ := b.do("GET", "/api/v1/session", "", tls...); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("with a cookie that anybody can plant: got %d, want 401", answer.StatusCode)
	}
}

// Cookies heed no ports: whoever has the consoles of two installations on one host stays signed in to both.
func TestInstallationsOnOneHostDoNotSignEachOtherOut(t *testing.T) {
	t.Parallel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	do := func(w *servertest.World, method, body string, want int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, w.URL+"/api/v1/session", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Content-Type", "application/json")
		answer, err := (&http.Client{Jar: jar}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _ = answer.Body.Close(); answer.StatusCode != want {
			t.Errorf("%s at %s: got %d, want %d", method, w.URL, answer.StatusCode, want)
		}
	}
	one := servertest.Open(t, nil)
	other := servertest.Open(t, func(o *server.Options) { o.Fingerprint = "sha256:badc0de876543210" })
	for _, w := range []*servertest.World{one, other} {
		do(w, "POST", `{"token":"`+w.Token+`"}`, http.StatusCreated)
	}
	do(one, "GET", "", http.StatusOK)
	do(other, "GET", "", http.StatusOK)
	do(other, "DELETE", "", http.StatusNoContent)
	do(other, "GET", "", http.StatusUnauthorized)
	do(one, "GET", "", http.StatusOK)
}

func TestOtherSitesCannotActForWhoIsSignedIn(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	b := signIn(t, w, w.Token)
	session := b.cookie
	for name, c := range map[string]struct {
		headers []string
		want    int
	}{
		"a page of ours":         {nil, 201},
		"an old browser":         {[]string{"Sec-Fetch-Site", "", "Origin", w.URL}, 201},
		"another site":           {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"another port":           {[]string{"Sec-Fetch-Site", "same-site"}, 403},
		"nobody says":            {[]string{"Sec-Fetch-Site", ""}, 403},
		"the address bar":        {[]string{"Sec-Fetch-Site", "none"}, 403},
		"another origin":         {[]string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, 403},
		"no origin":              {[]string{"Sec-Fetch-Site", "", "Origin", "null"}, 403},
		"a form":                 {[]string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		"text":                   {[]string{"Content-Type", "text/plain"}, 415},
		"no type":                {[]string{"Content-Type", ""}, 415},
		"a script with a token":  {[]string{"Sec-Fetch-Site", "cross-site", "Content-Type", "", "Authorization", "Bearer " + w.Token}, 201},
		"a wrong token wins too": {[]string{"Authorization", "Bearer x"}, 401},
	} {
		for _, r := range []request{{"POST", "/api/v1/tokens", `{"kind":"join"}`}, {"POST", "/api/v1/session", `{"token":"` + w.Token + `"}`}} {
			if r.path == "/api/v1/session" && c.want == 401 {
				continue // it is not asked for
			}
			b.cookie = session
			if r.path == "/api/v1/session" {
				b.cookie = ""
			}
			answer, text := b.do(r.method, r.path, r.body, c.headers...)
			if answer.StatusCode != c.want {
				t.Errorf("%s: %s: got %d %s, want %d", name, r.path, answer.StatusCode, text, c.want)
			}
		}
	}
	b.cookie = session
	if answer, _ := b.do("GET", "/api/v1/rollouts", "", "Sec-Fetch-Site", "cross-site"); answer.StatusCode != http.StatusOK {
		t.Errorf("what changes nothing: got %d, want 200: no other site can read it", answer.StatusCode)
	}
	if answer, _ := b.do("DELETE", "/api/v1/session", "", "Sec-Fetch-Site", "cross-site"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("signing somebody out: got %d, want 403", answer.StatusCode)
	}
}

func TestCookiesOfAnyShapeAreNoSessions(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	good := signIn(t, w, w.Token)
	name, secret, _ := strings.Cut(good.cookie, "=")
	for what, value := range map[string]string{
		"nothing": "", "SQL": "' OR 1=1 --", "a token": w.Token, "a bit off": secret[:len(secret)-1] + "A", "short": secret[:20],
		"long": secret + strings.Repeat("a", 100_000), "a path": "../../etc/passwd", "quoted": `"` + secret[:30] + `"`,
	} {
		b := &browser{t: t, w: w, cookie: name + "=" + value}
		b.ended(what)
	}
	many := strings.Repeat(name+"=x; ", 1000)
	b := &browser{t: t, w: w, cookie: many + good.cookie}
	if answer, text := b.do("GET", "/api/v1/session", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("behind cookies of other servers of this host: got %d %s, want 200", answer.StatusCode, text)
	}
	b.cookie = name + "=" + strings.Repeat("a", 2<<20)
	if answer, _ := servertest.Send(t, "GET", w.URL+"/api/v1/session", "", map[string]string{"Cookie": b.cookie}); answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("with 2 MiB of cookie: got %d, want 431", answer.StatusCode)
	}
	if strings.Contains(w.Log.String(), "level=ERROR") {
		t.Errorf("the log has errors:\n%s", w.Log)
	}
}

func TestAttemptsToSignInAreLimited(t *testing.T) {
	t.Parallel()
	now := clock.At(servertest.Start())
	w := servertest.Open(t, func(o *server.Options) { o.Clock = now })
	b := &browser{t: t, w: w}
	from := func(address, token string) (servertest.Answer, string) {
		t.Helper()
		return b.do("POST", "/api/v1/session", `{"token":"`+token+`"}`, "X-Forwarded-For", "203.0.113.77, "+address)
	}
	for range 30 {
		if answer, text := from("192.0.2.1", w.Token); answer.StatusCode != http.StatusCreated {
			t.Fatalf("the right token: got %d %s, want 201 however often", answer.StatusCode, text)
		}
	}
	refused := func(what, address, token, after string) {
		t.Helper()
		answer, text := from(address, token)
		if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") != after {
			t.Errorf("%s: got %d %s, Retry-After %q, want 429 for %s seconds", what, answer.StatusCode, text, answer.Header.Get("Retry-After"), after)
		}
	}
	details := map[string]bool{}
	wrong := func(what, address, token string) {
		t.Helper()
		answer, text := from(address, token)
		p := problem(t, answer, text)
		if details[p.Detail+p.Next] = true; p.Status != http.StatusUnauthorized || len(details) != 1 {
			t.Errorf("%s: got %s, want the same 401 for every wrong token", what, text)
		}
	}
	right := func(what, address string) {
		t.Helper()
		if answer, text := from(address, w.Token); answer.StatusCode != http.StatusCreated {
			t.Errorf("the right token %s: got %d %s, want 201", what, answer.StatusCode, text)
		}
	}
	nonsense, guess := []string{"x", w.Token + "a", w.Mint(store.Token{Kind: store.PeerToken}), "' OR 1=1 --"}, w.Token[:len(w.Token)-1]+"!"
	for i := range 10 {
		wrong("nonsense", "192.0.2.1", nonsense[i%len(nonsense)])
	}
	refused("nonsense for the 11th time", "192.0.2.1", "x", "6")
	right("after nonsense", "192.0.2.1") // others may be behind the same tunnel
	wrong("nonsense from another address", "192.0.2.2", "x")
	now.Move(6 * time.Second)
	wrong("6 seconds later", "192.0.2.1", "x")
	for range 60 {
		wrong("a guess", "192.0.2.1", guess)
	}
	refused("a guess for the 61st time", "192.0.2.1", guess, "1")
	refused("the right token after 60 guesses", "192.0.2.1", w.Token, "1")
	right("from another address", "192.0.2.2")
	now.Move(time.Second)
	right("a second later", "192.0.2.1")
	limited := 0
	for i := range 150 { // every one from a network of its own
		if answer, _ := from("2001:db8:0:"+string("0123456789abcdef"[i/16])+string("0123456789abcdef"[i%16])+"::1", "x"); answer.StatusCode == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited != 50 {
		t.Errorf("of 150 attempts from as many addresses %d were held back, want 50", limited)
	}
	right("while many send nonsense", "192.0.2.1")
}

// What a program says of where its request came from counts only if it may be the proxy, and then only its last word.
func TestOnlyTheProxySaysWhereARequestCameFrom(t *testing.T) {
	t.Parallel()
	var options server.Options
	w := servertest.Open(t, func(o *server.Options) { options = *o })
	for i, c := range []struct {
		peer string
		said []string
		want string
	}{
		{"127.0.0.1:4711", []string{"192.0.2.1, 192.0.2.2"}, "192.0.2.2"},
		{"127.0.0.1:4711", []string{"192.0.2.1", "192.0.2.3"}, "192.0.2.3"},
		{"[::1]:4711", []string{"::ffff:192.0.2.4"}, "192.0.2.4"},
		{"127.0.0.1:4711", []string{"192.0.2.1, nonsense"}, "127.0.0.1"},
		{"127.0.0.1:4711", []string{"127.7.7.7"}, "127.0.0.1"},
		{"127.0.0.1:4711", nil, "127.0.0.1"},
		{"198.51.100.7:4711", []string{"192.0.2.1"}, "198.51.100.7"},
		{"[2001:db8:1:2:3::4]:4711", []string{"192.0.2.1"}, "2001:db8:1:2::/64"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/session", strings.NewReader(`{"token":"x"}`))
		r.RemoteAddr, r.Header = c.peer, http.Header{"X-Forwarded-For": c.said, "Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/json"}}
		server.New(options).ServeHTTP(httptest.NewRecorder(), r) // a new one each time: the first failure is written down
		if got := audited(t, w, "limit=1"); len(got) != 1 || !strings.HasSuffix(got[0], "from "+c.want) {
			t.Errorf("%d: from %s that said %q: got %q, want %s", i, c.peer, c.said, got, c.want)
		}
	}
}

func TestATokenOfAMegabyteIsRefused(t *testing.T) {
	t.Parallel()
	b := &browser{t: t, w: servertest.Open(t, nil)}
	for body, want := range map[string]int{
		`{"token":"` + strings.Repeat("x", 1<<20) + `"}`: 413, `{}`: 400, ``: 400, `{"token":7}`: 400, `{"token":"x","colour":"red"}`: 400,
	} {
		if answer, text := b.do("POST", "/api/v1/session", body); answer.StatusCode != want {
			t.Errorf("%.40s: got %d %.200s, want %d", body, answer.StatusCode, text, want)
		}
	}
}

// What was done in a session that is over is not done again in the next one, and its answer is nobody else's.
func TestAnActThatIsSentAgainInAnotherSessionIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	for range 2 {
		answer, text := signIn(t, w, w.Token).do("POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", "k")
		if answer.StatusCode == http.StatusConflict && strings.Contains(text, "carried out already") {
			return
		}
	}
	t.Error("the second session got no conflict that says that it was carried out")
}

func (s stuck) SessionByHash(ctx context.Context, hash []byte) (store.Session, store.Token, error) {
	if s.now.Load() {
		<-ctx.Done()
		return store.Session{}, store.Token{}, fault.New(fault.Unavailable, "find session: %w", ctx.Err())
	}
	return s.Tokens.SessionByHash(ctx, hash)
}

// A person whose session was good a moment ago halts while the database does not say whose it is; not after signing out.
func TestAHaltWaitsForNoSession(t *testing.T) {
	t.Parallel()
	var off atomic.Bool
	w := servertest.Open(t, func(o *server.Options) { o.Tokens, o.Patience = stuck{o.Tokens, &off}, 50*time.Millisecond })
	b, left := signIn(t, w, w.Token), signIn(t, w, w.Token)
	b.do("GET", "/api/v1/session", "")
	left.do("GET", "/api/v1/session", "")
	cookie := left.cookie
	left.do("DELETE", "/api/v1/session", "")
	off.Store(true)
	if answer, text := b.do("POST", "/api/v1/halt", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("halt: got %d %s, want 200", answer.StatusCode, text)
	}
	left.cookie = cookie
	if answer, _ := left.do("POST", "/api/v1/halt", ""); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("halt after signing out: got %d, want 503", answer.StatusCode)
	}
}
