package store

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// decoded is what was read of endpoints, most of which say the same as others: to decode it anew for each is a good part of what it takes to
// load a fleet.
type decoded struct {
	attributes memo[fleet.Attributes]
	labels     memo[fleet.Labels]
}

// memoBytes is about how much text a memo remembers. When it is full it begins anew.
const memoBytes = 4 << 20

// memo remembers what JSON texts mean. What it gives is shared, and must not be changed.
type memo[T any] struct {
	mu    sync.RWMutex
	known map[string]T
	size  int
}

// memoColumn reads what encoded made.
type memoColumn[T any] struct {
	memo *memo[T]
	to   *T
}

func (m *memo[T]) into(to *T) memoColumn[T] { return memoColumn[T]{m, to} }

// Scan implements [sql.Scanner].
func (c memoColumn[T]) Scan(src any) error {
	switch text := src.(type) {
	case string:
		return c.memo.read(text, c.to)
	case []byte:
		return c.memo.read(string(text), c.to)
	default:
		return fmt.Errorf("read %T: got %T, want text", c.to, src)
	}
}

func (m *memo[T]) read(text string, to *T) error {
	m.mu.RLock()
	v, known := m.known[text]
	m.mu.RUnlock()
	if known {
		*to = v
		return nil
	}
	return m.decode(text, to)
}

func (m *memo[T]) decode(text string, to *T) error {
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return fmt.Errorf("read %T: %w", v, err)
	}
	m.remember(text, v)
	*to = v
	return nil
}

func (m *memo[T]) remember(text string, v T) {
	const each = 200 // what an entry takes besides its text, about
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.size += len(text) + each; m.known == nil || m.size > memoBytes {
		m.known, m.size = map[string]T{}, len(text)+each
	}
	m.known[text] = v
}
