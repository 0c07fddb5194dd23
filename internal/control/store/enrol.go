package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// joinedLately is for how long a join with the same key and the same token is the same join: whoever hears no answer asks again.
const joinedLately = 10 * time.Minute

// Enrol is [Store.PutEndpoint] and returns the number of the endpoint. Callers that wait at the same time are written as one.
func (s *Store) Enrol(ctx context.Context, e Endpoint) (number int64, err error) {
	_, number, err = s.enrol(ctx, "enrol endpoint "+string(e.ID), &enrolment{endpoint: e})
	return number, err
}

// Join spends one use of the join token whose secret has this SHA-256 sum, and enrols an endpoint in the token's tenant, as [Store.Enrol]
// does, in one transaction: no use is spent without an endpoint. It returns the token as it is afterwards. A token that is unknown, of
// another kind, revoked, expired or used up is a fault.Denied that says which; so is a revoked endpoint. Of two callers that race for the
// last use one is denied. The same endpoint that comes again within ten minutes, with the same token, spends no other use.
func (s *Store) Join(ctx context.Context, hash []byte, now time.Time, e Endpoint) (t Token, number int64, err error) {
	return s.enrol(ctx, "join "+string(e.ID), &enrolment{endpoint: e, joins: true, hash: string(hash), at: now})
}

func (s *Store) enrol(ctx context.Context, what string, e *enrolment) (Token, int64, error) {
	e.dialect = s.dialect
	err := s.submit(ctx, &pending{what: what, lane: enrolLane, rows: 1, joins: e, wakes: WakeEndpoints})
	if err == nil {
		err = s.fail(e.err, what)
	}
	if err != nil {
		return Token{}, 0, err
	}
	return e.token, e.number, nil
}

// enrolment is one endpoint that is enrolled, and what becomes of it.
type enrolment struct {
	dialect  Dialect
	endpoint Endpoint
	joins    bool // with the token that has this hash, at that time
	hash     string
	at       time.Time

	joined time.Time // when its use of the token was spent
	token  Token     // as it is afterwards
	number int64
	err    error // why it may not
}

// enrolments are those of callers that are written as one.
type enrolments []*enrolment

// write enrols those that may, and sets what became of each. A number of a change is taken before anything else is locked.
func (all enrolments) write(ctx context.Context, tx *sql.Tx) error {
	change, err := take(ctx, tx, changeCounter, len(all))
	if err != nil {
		return err
	}
	tokens, err := all.tokens(ctx, tx)
	if err != nil {
		return err
	}
	earlier, err := all.earlier(ctx, tx)
	if err != nil {
		return err
	}
	uses := make(map[string]int64, len(tokens))
	for _, t := range tokens {
		uses[t.ID] = t.Left
	}
	var may enrolments
	for _, e := range all {
		e.err = nil
		if e.joins {
			e.err = e.join(tokens, earlier)
		}
		if e.err == nil {
			may = append(may, e)
		}
	}
	for _, t := range tokens {
		if t.Left == uses[t.ID] {
			continue
		}
		if err = t.keepUses(ctx, tx); err != nil {
			return err
		}
	}
	return may.insert(ctx, tx, change)
}

// lastJoin is how an endpoint joined that is there already.
type lastJoin struct {
	id     fleet.EndpointID
	ending Ending
	token  string
	at     time.Time
}

// tokens reads the tokens by their hashes, and keeps them as they are until the transaction ends.
func (all enrolments) tokens(ctx context.Context, tx *sql.Tx) (map[string]Token, error) {
	found := map[string]Token{}
	asked := map[string]bool{}
	var hashes []string
	for _, e := range all {
		if e.joins && !asked[e.hash] {
			asked[e.hash] = true
			hashes = append(hashes, e.hash)
		}
	}
	bind := func(args []any, hash string) []any { return append(args, []byte(hash)) }
	err := inRows(hashes, `?`, bind, func(rows string, args []any) error {
		part, err := list(ctx, tx, scanToken, `SELECT `+tokenColumns+` FROM tokens WHERE hash IN (`+rows+`) ORDER BY id `+
			all[0].dialect.ForUpdate, args...)
		for _, t := range part {
			found[string(t.Hash)] = t
		}
		return err
	})
	return found, err
}

// earlier reads how those joined that are there already.
func (all enrolments) earlier(ctx context.Context, tx *sql.Tx) (map[fleet.EndpointID]lastJoin, error) {
	found := map[fleet.EndpointID]lastJoin{}
	scan := func(r row) (j lastJoin, err error) {
		err = r.Scan(&j.id, &j.ending, &j.token, timeColumn{&j.at})
		return j, err
	}
	bind := func(args []any, e *enrolment) []any { return append(args, e.endpoint.ID) }
	err := inRows(all, `(CAST(? AS TEXT))`, bind, func(rows string, args []any) error {
		part, err := list(ctx, tx, scan, `SELECT id, ending, token, joined FROM endpoints WHERE id IN (VALUES `+rows+`)`, args...)
		for _, j := range part {
			found[j.id] = j
		}
		return err
	})
	return found, err
}

// join spends a use of the token, unless the endpoint did so just before, and notes both for those that come after it.
func (e *enrolment) join(tokens map[string]Token, earlier map[fleet.EndpointID]lastJoin) (err error) {
	t, known := tokens[e.hash]
	if !known {
		return refusal("it is not one of this server's tokens")
	}
	last := earlier[e.endpoint.ID]
	if last.ending == Revoked {
		return fault.New(fault.Denied, "the key of %s was revoked", e.endpoint.ID).
			Hint("Make a new identity on the host: delete the agent's identity directory and join again.")
	}
	e.joined = last.at
	if !t.usedBy(last, e.at) {
		e.joined = e.at
		if t, err = t.spend(e.at); err != nil {
			return err
		}
	}
	tokens[e.hash] = t
	earlier[e.endpoint.ID] = lastJoin{id: e.endpoint.ID, token: t.ID, at: e.joined}
	e.token, e.endpoint.Tenant = t, t.Tenant
	return nil
}

// usedBy tells whether an endpoint joined just before with the token, which is still good.
func (t Token) usedBy(last lastJoin, now time.Time) bool {
	valid := t.Kind == JoinToken && t.Revoked.IsZero() && (t.Expires.IsZero() || now.Before(t.Expires))
	return valid && last.ending == Enrolled && last.token == t.ID && now.Sub(last.at) < joinedLately
}

// insert writes endpoints, the changes of which begin with that number.
func (all enrolments) insert(ctx context.Context, tx *sql.Tx, change int64) error {
	once := enrolments(lastOf(all, func(e *enrolment) fleet.EndpointID { return e.endpoint.ID }))
	rows := make([][]any, len(once))
	for i, e := range once {
		var err error
		if rows[i], err = e.row(change + int64(i)); err != nil {
			return err
		}
	}
	numbers := make(map[fleet.EndpointID]int64, len(once))
	scan := func(r row) (id fleet.EndpointID, err error) {
		var number int64
		err = r.Scan(&id, &number)
		numbers[id] = number
		return id, err
	}
	bind := func(args []any, row []any) []any { return append(args, row...) }
	err := inRows(rows, `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, bind, func(rows string, args []any) error {
		_, err := list(ctx, tx, scan, `INSERT INTO endpoints
			(id, tenant, attributes, labels, enrolled, boot, components, posture, change, token, joined) VALUES `+rows+`
			ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, attributes = excluded.attributes, labels = excluded.labels,
			change = excluded.change, ending = '', ended = 0, why = '',
			token = CASE excluded.token WHEN '' THEN endpoints.token ELSE excluded.token END,
			joined = CASE excluded.token WHEN '' THEN endpoints.joined ELSE excluded.joined END RETURNING id, number`, args...)
		return err
	})
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.number = numbers[e.endpoint.ID]; e.number == 0 {
			return none("endpoint %s got no number", e.endpoint.ID)
		}
	}
	return once.insertHot(ctx, tx)
}

// row is what the endpoint's row gets.
func (e *enrolment) row(change int64) ([]any, error) {
	v := e.endpoint
	attributes, err := encoded(v.Attributes)
	if err != nil {
		return nil, err
	}
	labels, err := encoded(v.Labels)
	return []any{
		v.ID, v.Tenant, attributes, labels, micros(v.Enrolled), v.Boot, string(v.Components), v.Posture, change, e.token.ID, micros(e.joined),
	}, err
}

// insertHot writes what changes often of endpoints that are new.
func (all enrolments) insertHot(ctx context.Context, tx *sql.Tx) error {
	bind := func(args []any, e *enrolment) []any {
		return append(args, e.number, micros(e.endpoint.LastSeen), e.endpoint.ReportSeq)
	}
	const into = `INSERT INTO hot (endpoint, seen, reported, pruned) VALUES `
	return inRows(all, `(?, ?, ?, 0)`, bind, func(rows string, args []any) error {
		_, err := tx.ExecContext(ctx, into+rows+` ON CONFLICT (endpoint) DO NOTHING`, args...)
		return err
	})
}
