package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/cli"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/store/storetest"
)

// An installation is moved once; the second time the target is not empty, and while it is open it cannot be moved.
func TestMigrate(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t).Database(t)
	dir := t.TempDir()
	s, err := sqlite.Open(t.Context(), filepath.Join(dir, "firebreak.db"))
	if err != nil {
		t.Fatal(err)
	}
	storetest.Fill(t, s)
	migrate := func(more ...string) (int, string) {
		var out, complaint bytes.Buffer
		code := cli.Run(t.Context(), cli.Env{
			Args: append([]string{"migrate", "--from", dir, "--to", url}, more...), Out: &out, Err: &complaint, In: &out,
			Getenv: func(string) string { return "" }, Terminal: func(io.Writer) (int, bool) { return 0, false },
			Clock: clock.Wall{}, Version: "1", Platform: "test/test",
		})
		return code, out.String() + complaint.String()
	}
	if code, said := migrate(); code != cli.ExitConflict {
		t.Errorf("got %d, %s, want a conflict while it is open", code, said)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	code, said := migrate("--json")
	var report struct {
		Rows   int64
		Tables []struct {
			Name, Checksum string
			Rows           int64
		}
	}
	if err := json.Unmarshal([]byte(said), &report); code != cli.ExitOK || err != nil || report.Rows == 0 {
		t.Fatalf("got %d, %v, %s, want it moved", code, err, said)
	}
	for _, table := range report.Tables {
		if table.Rows == 0 || len(table.Checksum) != 64 {
			t.Errorf("got %+v, want every table filled and summed up", table)
		}
	}
	if code, said := migrate(); code != cli.ExitConflict {
		t.Errorf("got %d, %s, want a conflict: the target is not empty", code, said)
	}
}
