package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/control/store/storetest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

func open(tb testing.TB) *store.Store {
	tb.Helper()
	return openAt(tb, postgrestest.Shared(tb).Database(tb), postgres.Options{})
}

func openAt(tb testing.TB, url string, o postgres.Options) *store.Store {
	tb.Helper()
	s, err := postgres.Open(tb.Context(), url, o)
	if err != nil {
		tb.Fatalf("got error %v, want an open database", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("got error %v, want it closed", err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, open)
}

func TestOldHearings(t *testing.T) {
	t.Parallel()
	server := postgrestest.Shared(t)
	url := server.Database(t)
	storetest.OldHearings(t, openAt(t, url, postgres.Options{}), func(by time.Duration) {
		server.Exec(t, nameIn(url), fmt.Sprintf(`UPDATE hearings SET written = written - %d`, by.Microseconds()))
	})
}

func TestOldRollouts(t *testing.T) {
	t.Parallel()
	server := postgrestest.Shared(t)
	url := server.Database(t)
	storetest.OldRollouts(t, openAt(t, url, postgres.Options{}), func(statement string) { server.Exec(t, nameIn(url), statement) })
}

func BenchmarkEnrol(b *testing.B) { storetest.BenchmarkEnrol(b, open) }

// BenchmarkLooks measures what people look at of a rollout with a million events.
func BenchmarkLooks(b *testing.B) { storetest.BenchmarkLooks(b, open) }
