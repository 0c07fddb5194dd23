package sqlite_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// victim is the endpoint and the rollout of the process that is killed.
const victim = "victim"

// TestInvariantI8AcknowledgedSurvivesKill kills a process that stores reports and commits as fast as it can, again and again on
// the same database. What it acknowledged must be there, taken in exactly as far as it was committed, and nothing may be half
// there.
func TestInvariantI8AcknowledgedSurvivesKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firebreak.db")
	for round := range 3 {
		acknowledged := killAfter(t, path, 5+20*round)
		s, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatalf("round %d: got %v, want an open database after the kill", round, err)
		}
		checkSurvived(t, s, acknowledged)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter starts the process, kills it once it has acknowledged that many events, and returns the last acknowledged revision.
func killAfter(t *testing.T, path string, events int) int64 {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestVictim$", "-test.timeout=1m", path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var last int64
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); {
		text, ours := strings.CutPrefix(lines.Text(), "acknowledged ")
		revision, err := strconv.ParseInt(text, 10, 64)
		if !ours || err != nil {
			t.Logf("victim: %s", lines.Text()) // also a last line that was cut off
			continue
		}
		last = revision
		if n++; n == events {
			_ = child.Process.Kill() // and read on: what it said meanwhile counts too
		}
	}
	if err := child.Wait(); err == nil || last == 0 {
		t.Fatalf("got a victim that ended with %v after revision %d, want it killed at work", err, last)
	}
	return last
}

func checkSurvived(t *testing.T, s *store.Store, acknowledged int64) {
	t.Helper()
	r, err := s.Rollout(t.Context(), victim)
	if err != nil {
		t.Fatal(err)
	}
	events, err := s.Events(t.Context(), victim, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if r.Revision < acknowledged || int64(len(events)) != r.Revision || r.State.Unconfirmed != r.Revision {
		t.Errorf("got revision %d, state of %d and %d events, want all the same and at least %d",
			r.Revision, r.State.Unconfirmed, len(events), acknowledged)
	}
	e, err := s.Endpoint(t.Context(), victim)
	if err != nil {
		t.Fatal(err)
	}
	left, err := s.UntakenReports(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if taken := e.ReportSeq - int64(len(left)); taken != r.Revision {
		t.Errorf("got %d reports of which %d are not taken in, want as many taken in as there are revisions: %d",
			e.ReportSeq, len(left), r.Revision)
	}
}

// TestVictim is the process that is killed: it runs only when the test above starts it with a database as argument.
func TestVictim(t *testing.T) {
	if flag.NArg() != 1 {
		t.Skip("runs as a child of TestInvariantI8AcknowledgedSurvivesKill")
	}
	s := openAt(t, flag.Arg(0))
	var revision int64
	r, err := s.Rollout(t.Context(), victim)
	switch {
	case err == nil:
		revision = r.Revision
	case fault.KindOf(err) == fault.NotFound:
		err = s.PutEndpoint(t.Context(), store.Endpoint{ID: victim})
	}
	for err == nil {
		revision++
		if err = work(t, s, revision); err == nil {
			_, err = fmt.Fprintf(os.Stdout, "acknowledged %d\n", revision)
		}
	}
	t.Fatal(err)
}

// work stores a report and takes it in with a commit.
func work(t *testing.T, s *store.Store, revision int64) error {
	at := time.Unix(revision, 0)
	data := json.RawMessage(`{}`)
	ack, err := s.AddReports(t.Context(), victim, at, []store.Report{{Seq: revision, Data: data}})
	if err != nil || ack != revision {
		return fmt.Errorf("got report %d acknowledged, %w, want %d", ack, err, revision)
	}
	return s.Commit(t.Context(), store.Commit{
		Event:  store.Event{Rollout: victim, Revision: revision, At: at, Name: "woke", Data: data, Effects: data},
		State:  rollout.State{ID: victim, Unconfirmed: revision, Release: rollout.Release{Artifacts: []release.Digest{}}},
		Lease:  &store.Lease{Rollout: victim, Endpoint: victim, Outcome: rollout.Pending, Issued: at},
		Report: &store.ReportKey{Endpoint: victim, Seq: revision},
	})
}
