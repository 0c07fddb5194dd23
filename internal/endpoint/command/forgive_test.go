package command_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/endpoint/agent"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
	"github.com/firebreak-dev/firebreak/internal/endpoint/launcher"
)

// What is forgiven of the agent itself is forgiven by its launcher too, which would go back from it again otherwise; of any other
// component the launcher knows nothing.
func TestForgive(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]int{"firebreak-agent": 0, "sensor-content": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, guard := t.TempDir(), t.TempDir()
			write(t, filepath.Join(state, "journal"), agent.SlotSize,
				`{"format":1,"components":{"`+name+`":{"component":"`+name+`","refused":[{"manifest":"m","why":"it crashed"}]}}}`)
			write(t, filepath.Join(guard, "launch"), 64<<10, `{"state":{"quarantined":[{"slot":"new","why":"it crashed"}]}}`)
			code, out, complaint := run(t, nil, "", "forgive", name, "--state", state, "--guard", guard)
			if code != 0 || !strings.Contains(out, name+": 1 refusals forgotten") || strings.Contains(out, "launcher runs 1") != (left == 0) {
				t.Errorf("got code %d, %q and %q, want it forgiven", code, out, complaint)
			}
			if n, err := launcher.Forgive(disk.OS{}, guard); n != left || err != nil {
				t.Errorf("the launcher still quarantined %d (%v), want %d", n, err, left)
			}
		})
	}
}

// A launcher that runs keeps its memory to itself: nothing is forgiven at all.
func TestForgiveWhileTheLauncherRuns(t *testing.T) {
	t.Parallel()
	state, guard := t.TempDir(), t.TempDir()
	held, err := disk.Lock(filepath.Join(guard, "launch.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }() // nobody waits for it
	code, _, complaint := run(t, nil, "", "forgive", "firebreak-agent", "--state", state, "--guard", guard)
	if code != 4 || !strings.Contains(complaint, "next: systemctl stop firebreak-agent") {
		t.Errorf("got code %d and %q, want a conflict with a next step", code, complaint)
	}
}

func write(t *testing.T, path string, size int64, text string) {
	t.Helper()
	j, err := journal.Open(disk.OS{}, path, size)
	if err == nil {
		err = j.Save([]byte(text))
	}
	if err == nil {
		err = j.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
