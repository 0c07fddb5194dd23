package bench

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Bounds that hold on every machine.
const (
	mostPerEndpoint = 256       // bytes of memory, all included
	mostOfMillion   = 400 << 20 // bytes of a process that holds a million endpoints
	mostOfTen       = 4 << 30   // and of one that holds ten million
)

// only is for the test itself, which starts itself again to see how much memory a fresh process takes.
var only = flag.String("only", "", "database whose endpoints to load, or number of endpoints to make up, and to say what that takes")

// publicKey stands for the i-th host's key: what its identity is derived from.
func publicKey(i int) []byte { return []byte("key " + strconv.Itoa(i)) }

// member is the i-th host of a fleet such as there are: a few hundred sites, kernels and classes, and a few dozen sets of versions. One in
// a thousand says something of its own.
func member(i int) registry.Endpoint {
	pick := func(of string, n int) string { return of + strconv.Itoa((i*2654435761>>7)%n) }
	seen := time.Date(2026, time.July, 19, 4, 9, 0, 0, time.UTC).Add(time.Duration(i) * time.Millisecond)
	why := ""
	if i%1000 == 0 {
		why = fmt.Sprintf("prepared %d of %d bytes", i, 2*i)
	}
	boot := uint64(i) * 0x9e3779b97f4a7c15
	return registry.Endpoint{
		ID: ca.Identify(publicKey(i)), Number: int64(i) + 1, Enrolled: seen, LastSeen: seen, Posture: fleet.PostureOf([]string{"guard", "good"}),
		Boot:     fmt.Sprintf("%08x-%04x-4000-8000-%012x", uint32(boot>>32), uint16(boot>>16), i),
		Reported: int64(i % 50), Synced: true,
		Subject: fleet.Subject{
			Tenant: fleet.TenantID(pick("tenant-", 3)),
			Attributes: fleet.Attributes{
				OS: "linux", Version: "12", Kernel: pick("6.1.", 4), Arch: "amd64", Class: []string{"server", "laptop"}[i%2],
				Region: pick("region-", 3), Site: fmt.Sprint("site-", i%200),
			},
			Labels: fleet.Labels{"role": pick("role-", 3)},
		},
		Components: map[string]api.Component{
			"sensor-content": {Kind: "content", Version: pick("2026.7.", 4), Artifact: digest, Consumer: "7.11", Phase: "idle", Why: why},
			"sensor":         {Kind: "binary", Version: "7.11", Artifact: digest, Previous: "7.10", Phase: "idle"},
		},
	}
}

const digest = "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"

// populate makes a registry of n hosts.
func populate(n int) *registry.Registry {
	r := registry.New()
	for i := range n {
		r.Put(member(i))
	}
	return r
}

// TestEndpointBytes weighs the registry's own memory.
func TestEndpointBytes(t *testing.T) {
	n := 20_000
	if *full {
		n = 1_000_000
	}
	before := heap()
	r := populate(n)
	bytes := float64(heap()-before) / float64(n)
	runtime.KeepAlive(r)
	figure(t, "endpoint_bytes", bytes, "bytes")
	if bytes > mostPerEndpoint {
		t.Errorf("got %.0f bytes for each endpoint, want at most %d", bytes, mostPerEndpoint)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what had a finalizer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestFootprint weighs processes of their own that hold a fleet, with the garbage collector as it comes, and tells how long one takes to
// load it from SQLite. Asked for at its least: only that it works.
func TestFootprint(t *testing.T) {
	if *only != "" {
		weigh(t, *only)
		return
	}
	small, large := 2000, 5000
	if *full {
		small, large = 1_000_000, 10_000_000
	}
	path := filepath.Join(t.TempDir(), "firebreak.db")
	fill(t, path, small)
	seconds, rss, loaded := alone(t, path)
	figure(t, "cold_start_1m", seconds, "s")
	figure(t, "endpoints_1m_rss", rss, "bytes")
	_, ten, hosts := alone(t, strconv.Itoa(large))
	if loaded != small || hosts != large {
		t.Errorf("got %d and %d hosts, want %d and %d", loaded, hosts, small, large)
	}
	figure(t, "endpoints_10m_rss", ten, "bytes")
	if rss > mostOfMillion || ten > mostOfTen {
		t.Errorf("got %.0f and %.0f bytes of memory, want at most %d and %d", rss, ten, mostOfMillion, int64(mostOfTen))
	}
}

// fill writes a database with n endpoints: a tenth of them as they enrol, the others as copies of those under other names.
func fill(t *testing.T, path string, n int) {
	t.Helper()
	enrol(t, path, n/10)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for copied := n / 10; copied < n; copied += n / 10 {
		for _, statement := range []string{
			`INSERT INTO endpoints (number, id, tenant, attributes, labels, enrolled, boot, components, posture, change)
			SELECT number + $1, 'ep-' || lower(hex(randomblob(10))), tenant, attributes, labels, enrolled, boot, components, posture, change + $1
			FROM endpoints WHERE number <= $2 ORDER BY number`,
			`INSERT INTO hot (endpoint, seen, reported, pruned) SELECT endpoint + $1, seen, reported, pruned FROM hot WHERE endpoint <= $2`,
		} {
			if _, err := db.ExecContext(t.Context(), statement, copied, n/10); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// enrol writes a database with n endpoints.
func enrol(t *testing.T, path string, n int) {
	t.Helper()
	db := database(t, path)
	defer func() { _ = db.Close() }()
	const each = 50
	var enrolling sync.WaitGroup
	for part := range each {
		enrolling.Go(func() {
			for i := part; i < n; i += each {
				if _, err := db.Enrol(t.Context(), row(t, member(i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	enrolling.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func row(t *testing.T, e registry.Endpoint) store.Endpoint {
	t.Helper()
	components, err := json.Marshal(e.Components)
	if err != nil {
		t.Error(err)
	}
	return store.Endpoint{
		ID: e.ID, Tenant: e.Subject.Tenant, Attributes: e.Subject.Attributes, Labels: e.Subject.Labels, Enrolled: e.Enrolled,
		LastSeen: e.LastSeen, Boot: e.Boot, Components: components, ReportSeq: e.Reported, Posture: e.Posture,
	}
}

func database(t *testing.T, path string) *store.Store {
	t.Helper()
	db, err := sqlite.Open(context.WithoutCancel(t.Context()), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// alone runs TestFootprint with -only in a process of its own.
func alone(t *testing.T, what string) (seconds, rss float64, hosts int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), self, "-test.run=^TestFootprint$", "-only="+what).CombinedOutput()
	if err != nil {
		t.Fatalf("got error %v, output %s", err, out)
	}
	_, said, _ := bytes.Cut(out, []byte("weighs "))
	if _, err = fmt.Sscanf(string(said), "%f s %f bytes for %d", &seconds, &rss, &hosts); err != nil {
		t.Fatalf("got output %s, want what it weighs", out)
	}
	return seconds, rss, hosts
}

// weigh loads or makes up a fleet and says how long that took, and the memory of this process.
func weigh(t *testing.T, what string) {
	t.Helper()
	var r *registry.Registry
	begin := clock.Wall{}.Now()
	if n, err := strconv.Atoi(what); err == nil {
		r = populate(n)
	} else {
		db := database(t, what)
		defer func() { _ = db.Close() }()
		r = registry.New()
		if err := ingest.LoadAll(t.Context(), db, r, clock.Wall{}.Now()); err != nil {
			t.Fatal(err)
		}
	}
	took := clock.Wall{}.Now().Sub(begin)
	_, _ = fmt.Fprintf(os.Stdout, "weighs %f s %f bytes for %d\n", took.Seconds(), resident(t), r.Len())
}

// resident is how much memory this process has.
func resident(t *testing.T) float64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("only Linux tells: ", err)
	}
	fields := bytes.Fields(data)
	pages, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		t.Fatal(err)
	}
	return float64(pages) * float64(os.Getpagesize())
}
