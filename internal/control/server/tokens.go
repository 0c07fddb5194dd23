package server

import (
	"fmt"
	"net/http"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// defaultJoinTTL is how long a join token is good for if nobody says otherwise.
const defaultJoinTTL = 24 * time.Hour

const maxNote = 200 // bytes

func (s *server) listTokens(w http.ResponseWriter, r *http.Request) error {
	var created int64
	var id string
	if err := behind(r, &created, &id); err != nil {
		return err
	}
	after := time.Time{}
	if created != 0 {
		after = time.UnixMicro(created)
	}
	fetch := func(limit int) ([]store.Token, error) { return s.Tokens.TokensPage(r.Context(), after, id, limit) }
	return page(w, r, fetch, func(t store.Token) place { return place{t.Created.UnixMicro(), t.ID} }, sure(tokenWire))
}

// createToken answers with the secret, which is shown this once and never stored.
func (s *server) createToken(w http.ResponseWriter, r *http.Request) error {
	var wanted newToken
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	row, prefix := wanted.row(s.Clock.Now())
	fresh, err := token.Mint(prefix, s.Random)
	if err != nil {
		return err
	}
	row.ID, row.Hash = fresh.ID, fresh.Hash
	if err := s.Tokens.PutToken(r.Context(), row); err != nil {
		return err
	}
	deedOf(r.Context()).to("%s token %s", row.Kind, row.ID)
	answer := tokenWire(row)
	answer.Secret = fresh.Secret
	return write(w, http.StatusCreated, answer)
}

func (s *server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if id == callerOf(r.Context()).token {
		return fault.New(fault.Conflict, "revoke token %s: it is the token of this very request", id).
			Hint("Create another operator token and revoke this one with it.")
	}
	if err := s.Tokens.RevokeToken(r.Context(), id, s.Clock.Now()); err != nil {
		return err
	}
	s.recent.revoked(id)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// newToken is api.NewToken with its rules.
type newToken struct{ api.NewToken }

// Check implements resource.Checker.
func (n newToken) Check() []fault.Problem {
	var problems []fault.Problem
	require := func(ok bool, path, format string, args ...any) {
		if !ok {
			problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
		}
	}
	kind := store.TokenKind(n.Kind)
	joins := kind != store.OperatorToken && kind != store.PeerToken
	require(!joins || kind == store.JoinToken, "kind", "must be operator, join or peer, is %q", n.Kind)
	require(joins || n.Tenant == "", "tenant", "is for join tokens only")
	require(joins || n.Uses == 0, "uses", "is for join tokens only")
	require(n.Tenant == "" || plan.Name(n.Tenant), "tenant", "must be 1 to 63 lower-case letters, digits and dashes, is %q", n.Tenant)
	require(n.Uses >= -1, "uses", "must be above 0, or -1 for no limit, is %d", n.Uses)
	problems = append(problems, checkText("note", n.Note, maxNote)...)
	if n.TTL != "" {
		ttl, err := time.ParseDuration(n.TTL)
		require(err == nil && ttl > 0, "ttl", "must be a positive duration such as 24h, is %q", n.TTL)
	}
	return problems
}

// row is what is stored of a checked request, without id and hash.
func (n newToken) row(now time.Time) (row store.Token, prefix string) {
	row = store.Token{Kind: store.TokenKind(n.Kind), Note: n.Note, Created: now}
	ttl, _ := time.ParseDuration(n.TTL) // checked; 0 if there is none
	prefix = token.OperatorPrefix
	if row.Kind == store.PeerToken {
		prefix = token.PeerPrefix
	}
	if row.Kind == store.JoinToken {
		prefix, row.Tenant, row.Left = token.JoinPrefix, fleet.TenantID(n.Tenant), n.Uses
		if row.Tenant == "" {
			row.Tenant = fleet.DefaultTenant
		}
		if row.Left == 0 {
			row.Left = 1
		}
		if ttl == 0 {
			ttl = defaultJoinTTL
		}
	}
	if ttl > 0 {
		row.Expires = now.Add(ttl)
	}
	return row, prefix
}

func tokenWire(t store.Token) api.Token {
	return api.Token{
		ID: t.ID, Kind: string(t.Kind), Tenant: string(t.Tenant), Note: t.Note, Created: t.Created,
		Expires: optional(t.Expires), Left: t.Left, Revoked: optional(t.Revoked),
	}
}

// optional is nil for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
