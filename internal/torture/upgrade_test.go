//go:build unix

package torture

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// The installation in testdata/schema3.tar.gz: six hosts, one rollout that is complete, one that tripped, and one that an operator paused half
// way; its control plane, of the version whose newest migration is 3, was killed then. What keys are in it were made for it and are good for
// nothing else.
const oldToken = "fb_op_qhdmx764_zeuzeoe2j476bzcqajsd2qrhlkjxukasfozaur2c7kwtfmgllylq"

var oldRollouts = map[string]rollout.Phase{"ro-p6p2zvta3s": rollout.Complete, "ro-gq7z6wiaut": rollout.Tripped, "ro-joabhbf7ih": rollout.Paused}

// The program opens what the previous version left when it was killed, and goes on where that one was: its rollouts are what their events say,
// its operators are known, its releases are handed on to new hosts.
func TestInstallationOfThePreviousVersionGoesOn(t *testing.T) {
	fulltest.Only(t)
	if testing.Short() {
		t.Skip("SKIPPED with -short: it builds the program")
	}
	w := &world{
		t: t, begun: now(), seed: 1, counts: map[string]int64{}, directives: map[string][32]byte{}, newest: map[string]int64{},
		stopped: map[string]stopped{}, data: filepath.Join(t.TempDir(), "data"), poll: 100 * time.Millisecond, deadline: time.Minute,
	}
	w.must(unpack("testdata/schema3.tar.gz", w.data))
	copied := t.TempDir() // to open a database is to recover it
	w.must(unpack("testdata/schema3.tar.gz", copied))
	before := countRows(t, copied)
	p := &plane{t: t, told: settings{Replica: "upgraded", Operators: freeAddress(t), Agents: freeAddress(t)}}
	p.agents = newLine(t, p.told.Agents)
	w.planes = []*plane{p}
	stop := w.serve(p)
	c, err := client.New("http://"+p.told.Operators, oldToken)
	w.must(err)
	c.Attempts = 1
	var status api.Status
	w.eventually("the program to answer an operator that it has never seen", func() (err error) {
		status, err = c.Status(t.Context())
		return err
	})
	if status.Endpoints != 6 {
		t.Errorf("got %d endpoints, want 6", status.Endpoints)
	}
	w.fingerprint = status.Fingerprint
	for id, phase := range oldRollouts {
		if r, err := c.Rollout(t.Context(), id); err != nil || r.Phase != string(phase) {
			t.Errorf("rollout %s: got %q, %v, want it %s", id, r.Phase, err, phase)
		}
	}
	_, err = c.RollBack(t.Context(), "ro-joabhbf7ih", "after the upgrade")
	w.must(err)
	w.joinAndLease(c, "v1")
	stop()
	s, db := w.open(t.Context())
	defer func() { _, _ = s.Close(), db.Close() }()
	rows, err := s.Rollouts(t.Context(), "", 0)
	w.must(err)
	for _, row := range rows {
		w.auditRollout(t.Context(), s, row)
	}
	for _, v := range w.violations {
		t.Error(v)
	}
	if len(rows) != len(oldRollouts) || w.counts["events"] <= before["events"] || w.counts["leases by events"] <= before["leases"] {
		t.Errorf("got %d rollouts and %v, before %v, want the same rollouts with more events and leases", len(rows), w.counts, before)
	}
	if left, err := s.UntakenReports(t.Context(), 0, 0); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v, want all old reports taken in", left, err)
	}
}

// serve runs the program as an operator would, and gives what ends it in good order.
func (w *world) serve(p *plane) (stop func()) {
	w.t.Helper()
	program := filepath.Join(w.t.TempDir(), "firebreak")
	if out, err := exec.CommandContext(w.t.Context(), "go", "build", "-o", program, "../../cmd/firebreak").CombinedOutput(); err != nil {
		w.t.Fatalf("build the program: %v\n%s", err, out)
	}
	c := exec.CommandContext(context.WithoutCancel(w.t.Context()), program, "serve", "--data", w.data, "--listen-operator", p.told.Operators,
		"--listen-agents", p.told.Agents)
	c.Stderr = &p.log
	w.must(c.Start())
	w.t.Cleanup(func() {
		_ = c.Process.Kill()
		if w.t.Failed() {
			w.t.Log(p.log.String())
		}
	})
	return func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			w.t.Errorf("the program ended with %v", err)
		}
	}
}

// joinAndLease lets a new host join, and get a lease of the release that all have.
func (w *world) joinAndLease(c *client.Client, version string) {
	w.t.Helper()
	token, err := c.CreateToken(w.t.Context(), api.NewToken{Kind: "join"})
	w.must(err)
	w.join = token.Secret
	keys, err := c.OnlineKeys(w.t.Context())
	w.must(err)
	w.director = directorOf(keys)
	published, err := c.Release(w.t.Context(), "sensor-content", version)
	w.must(err)
	var m release.Manifest
	w.must(json.Unmarshal(published.Document, &m))
	w.plan, w.begun = m.Plan, m.Created.Add(time.Minute) // what the host checks its lease by
	h, err := w.newHost(0)
	w.must(err)
	w.must(h.enrol(w.t.Context()))
	h.parts = map[string]*part{"sensor-content": {refuses: map[string]bool{}}}
	w.hosts = []*host{h}
	w.eventually("a lease for the new host", func() error {
		if err := h.checkIn(w.t.Context()); err != nil {
			return err
		}
		if len(h.leases) == 0 {
			return fmt.Errorf("it has none; %v", w.counts)
		}
		return nil
	})
	if got := h.parts["sensor-content"].target.Version; got != version {
		w.t.Errorf("got a lease of %q, want %q", got, version)
	}
}

// countRows counts what the old version stored.
func countRows(t *testing.T, data string) map[string]int64 {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(data, "firebreak.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	counts := map[string]int64{}
	for _, table := range []string{"events", "leases", "reports"} {
		var n int64
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil || n == 0 {
			t.Fatalf("%s: got %d rows, %v", table, n, err)
		}
		counts[table] = n
	}
	return counts
}

// unpack unpacks an archive of small files.
func unpack(archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for reader := tar.NewReader(plain); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.Clean("/"+header.Name))
		if header.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			continue
		}
		content, err := io.ReadAll(reader)
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			return err
		}
	}
}
