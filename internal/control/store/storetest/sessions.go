package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func sessionTests() []test {
	return []test{
		{"session/comes back with its token", sessionComesBack},
		{"session/a new one ends the one before and those that expired", sessionReplaced},
		{"session/revoking a token ends its sessions and no others", sessionRevoked},
		{"session/the newest of a token are kept", sessionsBounded},
	}
}

func session(name, of string) store.Session {
	return store.Session{Hash: []byte("hash of " + name), Token: of, Created: now, Expires: after(time.Hour)}
}

// begun stores tokens and sessions.
func begun(t *testing.T, s *store.Store, sessions ...store.Session) {
	t.Helper()
	for _, v := range sessions {
		if _, err := s.TokenByHash(t.Context(), token(v.Token).Hash); err != nil {
			ok(t, s.PutToken(t.Context(), token(v.Token)))
		}
		ok(t, s.PutSession(t.Context(), v, nil))
	}
}

func sessionComesBack(t *testing.T, s *store.Store) {
	want := session("one", "t1")
	begun(t, s, session("other", "t2"), want)
	got, of, err := s.SessionByHash(t.Context(), want.Hash)
	ok(t, err)
	same(t, got, want)
	same(t, of, token("t1"))
	ok(t, s.EndSession(t.Context(), want.Hash))
	ok(t, s.EndSession(t.Context(), want.Hash))
	ok(t, s.EndSession(t.Context(), nil))
	gone(t, s, want)
	there(t, s, session("other", "t2"))
	_, _, err = s.SessionByHash(t.Context(), nil)
	refused(t, err, fault.NotFound)
}

func gone(t *testing.T, s *store.Store, all ...store.Session) {
	t.Helper()
	for _, v := range all {
		_, _, err := s.SessionByHash(t.Context(), v.Hash)
		refused(t, err, fault.NotFound)
	}
}

func there(t *testing.T, s *store.Store, all ...store.Session) {
	t.Helper()
	for _, v := range all {
		got, _, err := s.SessionByHash(t.Context(), v.Hash)
		ok(t, err)
		same(t, got, v)
	}
}

func sessionReplaced(t *testing.T, s *store.Store) {
	before, expired, other := session("before", "t1"), session("expired", "t1"), session("other", "t1")
	expired.Expires = after(time.Minute)
	begun(t, s, before, expired, other)
	next := session("next", "t1")
	next.Created, next.Expires = after(time.Minute), after(2*time.Hour)
	ok(t, s.PutSession(t.Context(), next, before.Hash))
	gone(t, s, before, expired)
	there(t, s, other, next)
}

func sessionRevoked(t *testing.T, s *store.Store) {
	one, two, other := session("one", "t1"), session("two", "t1"), session("other", "t2")
	begun(t, s, one, two, other)
	ok(t, s.RevokeToken(t.Context(), "t1", now))
	gone(t, s, one, two)
	there(t, s, other)
}

func sessionsBounded(t *testing.T, s *store.Store) {
	const kept = 100
	all := []store.Session{session("other", "t2")}
	for i := range kept + 3 {
		v := session(fmt.Sprint(i), "t1")
		v.Created = after(time.Duration(i) * time.Second)
		all = append(all, v)
	}
	begun(t, s, all...)
	gone(t, s, all[1:4]...)
	there(t, s, all[0], all[4], all[len(all)-1])
}
