package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
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

func joinTokenCountsDown(t *testing.T, s *store.Store) {
	tok := token("t1")
	tok.Left = 2
	ok(t, s.PutToken(t.Context(), tok))
	for _, left := range []int64{1, 0} {
		tok.Left = left
		same(t, must[store.Token](t)(s.UseJoinToken(t.Context(), tok.Hash, now)), tok)
	}
	got, err := s.UseJoinToken(t.Context(), tok.Hash, now)
	refused(t, err, fault.Denied)
	same(t, got, store.Token{})
	same(t, must[store.Token](t)(s.TokenByHash(t.Context(), tok.Hash)), tok)
}

func joinTokenUnlimited(t *testing.T, s *store.Store) {
	ok(t, s.PutToken(t.Context(), token("t1")))
	for range 3 {
		same(t, must[store.Token](t)(s.UseJoinToken(t.Context(), token("t1").Hash, now)), token("t1"))
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
		_, err := s.UseJoinToken(t.Context(), tok.Hash, now)
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
			if _, err := s.UseJoinToken(t.Context(), tok.Hash, now); err == nil {
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
