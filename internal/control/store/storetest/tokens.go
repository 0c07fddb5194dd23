package storetest

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func tokenTests() []test {
	return []test{
		{"token/comes back as it was", tokenComesBack},
		{"token/id and secret are unique", tokenIsUnique},
		{"token/revoking keeps the first time", tokenRevoked},
		{"join token/counts down to a refusal", joinTokenCountsDown},
		{"join token/minus one is unlimited", joinTokenUnlimited},
		{"join token/each reason to refuse", joinTokenReasons},
		{"join token/one of two racers gets the last use", joinTokenRace},
		{"join/endpoint and use come together", joinTogether},
		{"join/a lost answer costs no use", joinAgain},
		{"join/a revoked key is out, a removed one is not", joinAfterTheEnd},
		{"join/racers get as many places as there are uses", joinRace},
	}
}

func token(id string) store.Token {
	return store.Token{ID: id, Hash: []byte("hash of " + id), Kind: store.JoinToken, Tenant: "acme", Note: "rack 4", Created: now, Left: -1}
}

func tokenComesBack(t *testing.T, s *store.Store) {
	want := token("t1")
	want.Expires, want.Revoked, want.Left = after(time.Hour), after(time.Minute), 3
	ok(t, s.PutToken(t.Context(), want))
	same(t, must[store.Token](t)(s.TokenByHash(t.Context(), want.Hash)), want)
	same(t, must[[]store.Token](t)(s.Tokens(t.Context())), []store.Token{want})
	_, err := s.TokenByHash(t.Context(), []byte("another"))
	refused(t, err, fault.NotFound)
}

func tokenIsUnique(t *testing.T, s *store.Store) {
	ok(t, s.PutToken(t.Context(), token("t1")))
	sameSecret, sameID := token("t2"), token("t1")
	sameSecret.Hash, sameID.Hash = token("t1").Hash, []byte("another")
	refused(t, s.PutToken(t.Context(), sameSecret), fault.Conflict)
	refused(t, s.PutToken(t.Context(), sameID), fault.Conflict)
}

func tokenRevoked(t *testing.T, s *store.Store) {
	want := token("t1")
	ok(t, s.PutToken(t.Context(), want))
	ok(t, s.RevokeToken(t.Context(), "t1", after(time.Minute)))
	ok(t, s.RevokeToken(t.Context(), "t1", after(time.Hour)))
	want.Revoked = after(time.Minute)
	same(t, must[store.Token](t)(s.TokenByHash(t.Context(), want.Hash)), want)
	refused(t, s.RevokeToken(t.Context(), "t9", now), fault.NotFound)
}

// use joins a new endpoint with a token.
func use(t testing.TB, s *store.Store, tok store.Token) (store.Token, error) {
	t.Helper()
	got, _, err := s.Join(t.Context(), tok.Hash, now, endpoint(fleet.EndpointID(rand.Text())))
	return got, err
}

func joinTokenCountsDown(t *testing.T, s *store.Store) {
	tok := token("t1")
	tok.Left = 2
	ok(t, s.PutToken(t.Context(), tok))
	for _, left := range []int64{1, 0} {
		tok.Left = left
		got, err := use(t, s, tok)
		ok(t, err)
		same(t, got, tok)
	}
	got, err := use(t, s, tok)
	refused(t, err, fault.Denied)
	same(t, got, store.Token{})
	same(t, must[store.Token](t)(s.TokenByHash(t.Context(), tok.Hash)), tok)
}

func joinTokenUnlimited(t *testing.T, s *store.Store) {
	ok(t, s.PutToken(t.Context(), token("t1")))
	for range 3 {
		got, err := use(t, s, token("t1"))
		ok(t, err)
		same(t, got, token("t1"))
	}
}

func joinTokenReasons(t *testing.T, s *store.Store) {
	operator, revoked, expired, used := token("operator"), token("revoked"), token("expired"), token("used")
	operator.Kind = store.OperatorToken
	revoked.Revoked = now
	expired.Expires = now // it ends at this time, not after it
	used.Left = 0
	for _, tok := range []store.Token{operator, revoked, expired, used} {
		ok(t, s.PutToken(t.Context(), tok))
	}
	reasons := map[string]bool{}
	for _, tok := range []store.Token{operator, revoked, expired, used, token("unknown")} {
		_, err := use(t, s, tok)
		refused(t, err, fault.Denied)
		if err != nil {
			reasons[err.Error()] = true
		}
	}
	if len(reasons) != 5 {
		t.Errorf("got reasons %v, want 5 different ones", reasons)
	}
}

func joinTokenRace(t *testing.T, s *store.Store) {
	tok := token("t1")
	tok.Left = 1
	ok(t, s.PutToken(t.Context(), tok))
	var joined atomic.Int64
	var racers sync.WaitGroup
	for range 8 {
		racers.Go(func() {
			if _, err := use(t, s, tok); err == nil {
				joined.Add(1)
			} else {
				refused(t, err, fault.Denied)
			}
		})
	}
	racers.Wait()
	if got := joined.Load(); got != 1 {
		t.Errorf("got %d that joined with one use, want 1", got)
	}
}

// limited is a join token with so many uses.
func limited(t *testing.T, s *store.Store, uses int64) store.Token {
	t.Helper()
	tok := token("t1")
	tok.Left, tok.Expires = uses, after(time.Hour)
	ok(t, s.PutToken(t.Context(), tok))
	return tok
}

func joinTogether(t *testing.T, s *store.Store) {
	tok := limited(t, s, 2)
	got, number, err := s.Join(t.Context(), tok.Hash, now, endpoint("ep-1"))
	ok(t, err)
	tok.Left = 1
	same(t, got, tok)
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).Number, number)
	_, _, err = s.Join(t.Context(), []byte("another"), now, endpoint("ep-2"))
	refused(t, err, fault.Denied)
	_, err = s.Endpoint(t.Context(), "ep-2")
	refused(t, err, fault.NotFound)
	same(t, must[store.Token](t)(s.TokenByHash(t.Context(), tok.Hash)), tok)
}

func joinAgain(t *testing.T, s *store.Store) {
	tok := limited(t, s, 1)
	join := func(id fleet.EndpointID, at time.Time) error {
		_, _, err := s.Join(t.Context(), tok.Hash, at, endpoint(id))
		return err
	}
	ok(t, join("ep-1", now))
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1"))) // without a token: how it joined stays known
	ok(t, join("ep-1", after(9*time.Minute)))
	refused(t, join("ep-2", after(9*time.Minute)), fault.Denied)
	refused(t, join("ep-1", after(10*time.Minute)), fault.Denied) // the time counts from the first
	other := token("t2")
	other.Left = 1
	ok(t, s.PutToken(t.Context(), other))
	_, _, err := s.Join(t.Context(), other.Hash, after(time.Minute), endpoint("ep-1"))
	ok(t, err)
	same(t, must[store.Token](t)(s.TokenByHash(t.Context(), other.Hash)).Left, 0)
	ok(t, s.RevokeToken(t.Context(), "t2", after(2*time.Minute)))
	_, _, err = s.Join(t.Context(), other.Hash, after(2*time.Minute), endpoint("ep-1"))
	refused(t, err, fault.Denied)
}

func joinAfterTheEnd(t *testing.T, s *store.Store) {
	tok := limited(t, s, -1)
	join := func(id fleet.EndpointID) error {
		_, _, err := s.Join(t.Context(), tok.Hash, after(time.Minute), endpoint(id))
		return err
	}
	for _, id := range []fleet.EndpointID{"ep-1", "ep-2"} {
		ok(t, join(id))
	}
	ok(t, s.EndEndpoint(t.Context(), "ep-1", store.Revoked, "stolen", now))
	ok(t, s.EndEndpoint(t.Context(), "ep-2", store.Removed, "scrapped", now))
	refused(t, join("ep-1"), fault.Denied)
	_, err := s.Endpoint(t.Context(), "ep-2")
	refused(t, err, fault.NotFound)
	ok(t, join("ep-2"))
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-2")).Ending, store.Enrolled)
}

// Of many that race for a few uses just as many join, and a use is spent for each of them.
func joinRace(t *testing.T, s *store.Store) {
	const uses, hosts = 5, 20
	tok := limited(t, s, uses)
	var joined atomic.Int64
	var racers sync.WaitGroup
	for i := range hosts * 2 {
		racers.Go(func() { // every host twice: once in vain, or for nothing
			if _, _, err := s.Join(t.Context(), tok.Hash, now, endpoint(manyEndpoint(i%hosts))); err == nil {
				joined.Add(1)
			} else {
				refused(t, err, fault.Denied)
			}
		})
	}
	racers.Wait()
	if got := len(must[[]store.Endpoint](t)(s.Endpoints(t.Context(), "", 0))); got != uses || joined.Load() < uses || joined.Load() > 2*uses {
		t.Errorf("got %d endpoints after %d good joins with %d uses, want %d", got, joined.Load(), uses, uses)
	}
	same(t, must[store.Token](t)(s.TokenByHash(t.Context(), tok.Hash)).Left, 0)
}
