package sqlite_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// victim is the endpoint and the rollout of the process that is killed.
const victim = "victim"

const (
	crowd  = 12 // writers beside the one that commits, whose writes share transactions
	atOnce = 3  // reports that each of them sends at a time
)

// crowded is the endpoint of a writer.
func crowded(i int) fleet.EndpointID { return fleet.EndpointID(fmt.Sprint("crowd-", i)) }

// TestInvariantI8AcknowledgedSurvivesKill kills a process whose many writers store reports and commit as fast as they can, again and
// again on the same database. What it acknowledged must be there, taken in exactly as far as it was committed, and nothing may be
// half there.
func TestInvariantI8AcknowledgedSurvivesKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firebreak.db")
	for round := range 3 {
		acknowledged, stored := killAfter(t, path, 5+20*round)
		s, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatalf("round %d: got %v, want an open database after the kill", round, err)
		}
		checkSurvived(t, s, acknowledged)
		checkCrowd(t, s, stored)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter starts the process, kills it once it has acknowledged that many events, and returns the last acknowledged revision, and the last
// acknowledged report of each of the crowd.
func killAfter(t *testing.T, path string, events int) (last int64, stored [crowd]int64) {
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
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); {
		var i int
		var seq int64
		if _, err := fmt.Sscanf(lines.Text(), "stored %d %d.", &i, &seq); err == nil {
			stored[i] = max(stored[i], seq)
			continue
		}
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
	return last, stored
}

// checkCrowd checks that each writer's reports are all there up to the last one stored, which is not below the last acknowledged, and none
// of those that were sent together alone.
func checkCrowd(t *testing.T, s *store.Store, acknowledged [crowd]int64) {
	t.Helper()
	left, err := s.UntakenReports(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	last := map[fleet.EndpointID]int64{}
	for _, r := range left {
		if r.Endpoint == victim {
			continue
		}
		if last[r.Endpoint]++; last[r.Endpoint] != r.Seq {
			t.Fatalf("got report %d of %s, want %d", r.Seq, r.Endpoint, last[r.Endpoint])
		}
	}
	for i, acknowledged := range acknowledged {
		if id := crowded(i); last[id] < acknowledged || last[id]%atOnce != 0 {
			t.Errorf("got %d reports of %s, want at least the %d acknowledged, and all that were sent together", last[id], id, acknowledged)
		}
		e, err := s.Endpoint(t.Context(), crowded(i))
		if fault.KindOf(err) == fault.NotFound && acknowledged == 0 {
			continue
		}
		if err != nil || e.ReportSeq != last[crowded(i)] {
			t.Errorf("got %d as highest of %s, %v, want the last one that is there, %d", e.ReportSeq, crowded(i), err, last[crowded(i)])
		}
	}
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
	left = slices.DeleteFunc(left, func(r store.Report) bool { return r.Endpoint != victim })
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
	for i := range crowd {
		go func() { t.Error(press(t, s, i)) }()
	}
	for err == nil {
		revision++
		if err = work(t, s, revision); err == nil {
			_, err = fmt.Fprintf(os.Stdout, "acknowledged %d\n", revision)
		}
	}
	t.Fatal(err)
}

// press stores reports of one endpoint without end.
func press(t *testing.T, s *store.Store, i int) error {
	e, err := s.Endpoint(t.Context(), crowded(i))
	if fault.KindOf(err) == fault.NotFound {
		err = s.PutEndpoint(t.Context(), store.Endpoint{ID: crowded(i)})
	}
	for seq := e.ReportSeq; err == nil; seq += atOnce {
		var sent []store.Report
		for n := range int64(atOnce) {
			sent = append(sent, store.Report{Seq: seq + n + 1, Data: json.RawMessage(`{}`)})
		}
		var ack int64
		if ack, err = s.AddReports(t.Context(), crowded(i), time.Unix(seq, 0), sent); err == nil {
			_, err = fmt.Fprintf(os.Stdout, "stored %d %d.\n", i, ack)
		}
	}
	return err
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
		Events:  []store.Event{{Rollout: victim, Revision: revision, At: at, Name: "woke", Data: data, Effects: data}},
		State:   rollout.State{ID: victim, Unconfirmed: revision, Release: rollout.Release{Artifacts: []release.Digest{}}},
		Leases:  []store.Lease{{Rollout: victim, Endpoint: victim, Outcome: rollout.Pending, Issued: at}},
		Reports: []store.ReportKey{{Endpoint: victim, Seq: revision}},
	})
}
