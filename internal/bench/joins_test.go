package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// TestJoinsSQLite measures how many hosts a second join with one token: 64 at a time, each of which has its certificate when it is on disk.
// The hosts' own work and TLS are not in it.
func TestJoinsSQLite(t *testing.T) {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "firebreak.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	figure(t, "joins_sqlite", joinAll(t, s), "1/s")
}

// TestJoinsPostgres does the same with PostgreSQL on the same machine, with fsync on.
func TestJoinsPostgres(t *testing.T) {
	server := postgrestest.New(t)
	s, err := postgres.Open(t.Context(), server.Database(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	figure(t, "joins_postgres", joinAll(t, s), "1/s")
}

// joinAll lets hosts join and tells how many a second. All of them must be there afterwards, and a use of the token spent for each.
func joinAll(t *testing.T, s *store.Store) float64 {
	t.Helper()
	hosts := 200
	if *full {
		hosts = 20_000
	}
	minted, err := token.Mint(token.JoinPrefix, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := clock.Wall{}.Now()
	joins := store.Token{
		ID: minted.ID, Hash: minted.Hash, Kind: store.JoinToken, Tenant: fleet.DefaultTenant, Left: int64(hosts), Created: now,
		Expires: now.Add(time.Hour),
	}
	if err := s.PutToken(t.Context(), joins); err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Open(t.TempDir(), clock.Wall{})
	if err != nil {
		t.Fatal(err)
	}
	known := registry.New()
	handler := ingest.New(ingest.Options{
		Store: s, CA: authority, Metadata: bare{}, Fleet: known, Clock: clock.Wall{}, Log: slog.New(slog.DiscardHandler),
	}).Handler()
	rate := enrolAll(t, handler, wishes(t, minted.Secret, hosts))
	left, err := s.TokenByHash(t.Context(), minted.Hash)
	if err != nil || known.Len() != hosts || left.Left != 0 {
		t.Fatalf("got %d hosts and %d uses left, %v, want %d and none", known.Len(), left.Left, err, hosts)
	}
	return rate
}

// wishes are requests of hosts that want to join.
func wishes(t *testing.T, secret string, hosts int) [][]byte {
	t.Helper()
	all := make([][]byte, hosts)
	for i := range all {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		wish := api.EnrolRequest{Token: secret, CSR: csr, Attributes: api.Attributes{OS: "linux", Arch: "amd64", Kernel: "6.1", Site: "graz"}}
		if all[i], err = json.Marshal(wish); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// enrolAll sends all requests, talkers at a time, and tells how many a second were answered with an identity.
func enrolAll(t *testing.T, handler http.Handler, wishes [][]byte) float64 {
	t.Helper()
	next := make(chan []byte)
	begun := clock.Wall{}.Now()
	var all sync.WaitGroup
	for range talkers {
		all.Go(func() {
			for wish := range next {
				r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, api.PathEnrol, bytes.NewReader(wish))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				if handler.ServeHTTP(w, r); w.Code != http.StatusOK {
					t.Errorf("got %d %s, want an identity", w.Code, w.Body)
				}
			}
		})
	}
	for _, wish := range wishes {
		next <- wish
	}
	close(next)
	all.Wait()
	return float64(len(wishes)) / clock.Wall{}.Now().Sub(begun).Seconds()
}

// bare is a repository without any metadata yet.
type bare struct{ ingest.Metadata }

// File implements ingest.Metadata.
func (bare) File(context.Context, string) ([]byte, error) {
	return nil, fault.New(fault.NotFound, "there is none")
}
