package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// firstJoins is what the join token of the first start is good for.
const (
	firstJoins    = 100
	firstJoinLife = 24 * time.Hour
)

// greet makes the first tokens and prints them, once: an installation that has an operator token is not new. What cannot be stored yet is
// tried again: a token that was printed must become one.
func (a *App) greet(ctx context.Context) error {
	a.start.Opening("database")
	var tokens []store.Token
	err := a.start.until(ctx, func(ctx context.Context) (err error) {
		tokens, err = a.store.Tokens(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if t.Kind == store.OperatorToken {
			return nil
		}
	}
	join, joinToken, err := a.mint(store.Token{
		Kind: store.JoinToken, Tenant: fleet.DefaultTenant, Note: "first start", Left: firstJoins, Expires: a.Clock.Now().Add(firstJoinLife),
	})
	if err != nil {
		return err
	}
	operator, operatorToken, err := a.mint(store.Token{Kind: store.OperatorToken, Note: "first start"})
	if err != nil {
		return err
	}
	if err = a.keep(ctx, joinToken); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Out, `Firebreak is new here: keys and a certificate authority were made in %s.

Operator token, shown this once:
  export FIREBREAK_SERVER=%s
  export FIREBREAK_TOKEN=%s

Join a host (the token is good for %d hosts and %s):
  firebreak-agent join --server %s --token %s --ca-fingerprint %s
  firebreak-agent run

Console: %s
`, a.Data, a.OperatorURL(), operator, firstJoins, firstJoinLife, a.AgentURL(), join, a.ca.Fingerprint(), a.OperatorURL())
	if err != nil {
		return fmt.Errorf("print the operator token: %w", err)
	}
	return a.keep(ctx, operatorToken) // last: a token that was never seen would lock everybody out
}

// keep stores a token. One that is there after a try that failed was stored by it.
func (a *App) keep(ctx context.Context, t store.Token) error {
	tried := false
	return a.start.until(ctx, func(ctx context.Context) error {
		err := a.store.PutToken(ctx, t)
		if tried && fault.KindOf(err) == fault.Conflict {
			return nil
		}
		tried = true
		return err
	})
}

func (a *App) mint(t store.Token) (secret string, row store.Token, err error) {
	prefix := token.OperatorPrefix
	if t.Kind == store.JoinToken {
		prefix = token.JoinPrefix
	}
	minted, err := token.Mint(prefix, rand.Reader)
	if err != nil {
		return "", store.Token{}, err
	}
	t.ID, t.Hash, t.Created = minted.ID, minted.Hash, a.Clock.Now()
	return minted.Secret, t, nil
}

// serverCertificate keeps the agent port's certificate, and makes a new one when half of its life is over, or when it turns out that it was made
// while the clock was ahead.
type serverCertificate struct {
	ca    *ca.CA
	clock clock.Clock
	hosts []string

	mu      sync.Mutex
	current tls.Certificate
	made    time.Time // by the wall, as is renew: a step of the clock must show
	renew   time.Time
}

func (s *serverCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.clock.Now().Round(0); now.Before(s.made) || now.After(s.renew) {
		fresh, err := s.ca.SignServer(s.hosts)
		if err != nil {
			return nil, err
		}
		s.current, s.made, s.renew = fresh, now, now.Add(ca.ServerLife/2)
	}
	return &s.current, nil
}
