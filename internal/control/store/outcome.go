package store

import (
	"database/sql"
	"errors"
	"slices"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// ErrUnknownOutcome is in the chain of an error after which nobody knows whether the change was made: the database was lost while it
// committed. Whoever made the change settles it by reading: all of it is there, or nothing.
var ErrUnknownOutcome = errors.New("whether the change was made is not known")

// conclude commits a transaction and says so if its outcome is unknown.
func (s *Store) conclude(tx *sql.Tx) error {
	err := tx.Commit()
	if err == nil || s.dialect.Unknown == nil || !s.dialect.Unknown(err) {
		return err
	}
	return fault.New(fault.Unavailable, "the database was lost during the commit, %w: %w", ErrUnknownOutcome, err).
		Hint("Look whether the change is there, once the database is back, before you make it again.")
}

// wakesOf is what units wake listeners for, each topic once.
func wakesOf(units []*unit) []string {
	var topics []string
	for _, u := range units {
		for _, p := range u.members {
			if p.wakes != "" && !slices.Contains(topics, p.wakes) {
				topics = append(topics, p.wakes)
			}
		}
	}
	return topics
}
