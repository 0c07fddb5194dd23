package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/control/store/move"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// migrateFlags are the flags of `migrate`.
type migrateFlags struct {
	from string
	to   string
}

func (p *program) migrateCommand() *cobra.Command {
	var f migrateFlags
	c := p.leaf(command{
		use: "migrate", short: "Move an installation from SQLite to PostgreSQL", args: cobra.NoArgs,
		long: `
Copies the database of a data directory into an empty PostgreSQL database, so that any number of replicas can serve it. The
control plane must be stopped meanwhile; agents wait for it, and lose nothing.

Every table is compared by the number of its rows and by a checksum over all values before the copy is committed: it is all
there, or nothing is. The data directory is left as it was, apart from its own schema. It holds keys and artifacts too, which are not
copied: start with the same --data, and --database. If that does not work out, starting without --database goes on with the old
database, which does not know what was decided since.

Give the password in the environment, as PGPASSWORD: other users see arguments in the process list.`,
		example: "PGPASSWORD=... firebreak migrate --from /var/lib/firebreak --to postgres://firebreak@db.example.net/firebreak?sslmode=verify-full",
		run: func(ctx context.Context, _ []string) error {
			return p.migrate(ctx, f)
		},
	})
	c.Flags().StringVar(&f.from, "from", "firebreak-data", "data directory of the installation")
	c.Flags().StringVar(&f.to, "to", "", "URL of an empty PostgreSQL database")
	return c
}

// moved is what `migrate --json` prints.
type moved struct {
	Rows   int64        `json:"rows"`
	Tables []movedTable `json:"tables"`
}

type movedTable struct {
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`
	Checksum string `json:"checksum"`
}

func (p *program) migrate(ctx context.Context, f migrateFlags) error {
	if f.to == "" {
		return fault.New(fault.Invalid, "migrate: --to is missing").Hint("Name an empty database: --to postgres://firebreak@HOST/NAME.")
	}
	path := filepath.Join(f.from, "firebreak.db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) { // opening it would make one
		return fault.New(fault.NotFound, "migrate: there is no database %s", path).Hint("Name the data directory: --from DIR.")
	}
	to, err := postgres.Open(ctx, f.to, postgres.Options{})
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() { _ = to.Close() }() // what was committed is there
	from, err := sqlite.Open(ctx, path)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() { _ = from.Close() }() // it was only read
	var bar *progress
	report, err := move.Copy(ctx, from, to, func(_ string, done, total int64) {
		if bar == nil {
			bar = p.progressOf("copying", total, inRows())
		}
		bar.at(done)
	})
	bar.end()
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return p.printMoved(f, report)
}

func (p *program) printMoved(f migrateFlags, report move.Report) error {
	out := moved{Rows: report.Rows()}
	for _, t := range report.Tables {
		out.Tables = append(out.Tables, movedTable(t))
	}
	return p.show(out, func() {
		t := newTable("TABLE", "ROWS", "CHECKSUM")
		for _, row := range out.Tables {
			t.add(row.Name, strconv.FormatInt(row.Rows, 10), row.Checksum[:16])
		}
		t.print(p)
		p.say("")
		p.say("Copied %d rows, the same in both databases. Start each replica with the same", out.Rows)
		p.say("keys: firebreak serve --data %s --database URL", f.from)
	})
}
