// Package postgres keeps the control plane's store in a PostgreSQL database, which any number of replicas share.
//
// A commit returns once it is on the server's disk. Writers work side by side, each on its own rows; the server ends a session that holds
// a transaction open without doing anything, so that a replica that was paused keeps nobody waiting for long. The password stands in no
// error and in no log.
package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options are what may differ from the defaults; zero values are replaced by them.
type Options struct {
	Writers int           // transactions that write at a time; default 4
	Readers int           // reads that run at a time; default 8
	Connect time.Duration // to one address; default 5 s
	// Statement is how long one may take before the server ends it; default 30 s.
	Statement time.Duration
	// Idle is how long a transaction may stay open without doing anything before the server ends it; default 4 s. Nobody waits longer for
	// a replica that was paused within one: keep it below the life of the lead.
	Idle time.Duration
}

func (o Options) withDefaults() Options {
	o.Writers = cmp.Or(o.Writers, 4)
	o.Readers = cmp.Or(o.Readers, 8)
	o.Connect = cmp.Or(o.Connect, 5*time.Second)
	o.Statement = cmp.Or(o.Statement, 30*time.Second)
	o.Idle = cmp.Or(o.Idle, 4*time.Second)
	return o
}

// oldest is the oldest version of PostgreSQL that will do.
const oldest = 130000

// Open opens the database that a URL names, as in postgres://user:password@host:5432/name?sslmode=verify-full, and brings its schema up to
// date; replicas that start at once do so one after the other. What the URL does not say comes from the environment variables and files
// that all PostgreSQL programs know, as PGPASSWORD. A server that cannot be reached is fault.Unavailable, and a
// database that a newer program has changed a fault.Conflict. The caller closes the store.
func Open(ctx context.Context, url string, o Options) (*store.Store, error) {
	o = o.withDefaults()
	config, err := parse(url, o)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, config, o)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL database %s: %w", nameOf(config), err)
	}
	return s, nil
}

// Check tells what is wrong with a database's URL, without asking anybody: a fault.Invalid.
func Check(url string) error {
	_, err := parse(url, Options{}.withDefaults())
	return err
}

// nameOf is what people call the database, without user and password.
func nameOf(config *pgx.ConnConfig) string {
	host := config.Host
	if !strings.HasPrefix(host, "/") {
		host = net.JoinHostPort(host, strconv.Itoa(int(config.Port)))
	}
	return fmt.Sprintf("%s on %s", config.Database, host)
}

// parse reads the URL. Its own words would be the best error, but they may hold the password.
func parse(url string, o Options) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil || !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		return nil, fault.New(fault.Invalid, "read the database's URL: it is not of the form postgres://user:password@host:port/name?sslmode=verify-full").
			Hint("Write what has a meaning in URLs as %%XX, such as %%40 for the @ in a password; and check the options after the question mark.")
	}
	if config.ConnectTimeout == 0 || config.ConnectTimeout > o.Connect {
		config.ConnectTimeout = o.Connect
	}
	dialer := &net.Dialer{
		Timeout:         o.Connect,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	}
	config.DialFunc = dialer.DialContext
	set := config.RuntimeParams
	set["application_name"] = cmp.Or(set["application_name"], "firebreak")
	set["client_encoding"] = "UTF8"
	set["default_transaction_isolation"] = "read committed"
	set["default_transaction_read_only"] = "off"
	set["statement_timeout"] = milliseconds(o.Statement)
	set["lock_timeout"] = milliseconds(o.Statement)
	set["idle_in_transaction_session_timeout"] = milliseconds(o.Idle)
	return config, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func open(ctx context.Context, config *pgx.ConnConfig, o Options) (*store.Store, error) {
	write := pool(config, o.Writers+1) // one more: taking or renewing the lead waits for no writer
	read := pool(config, o.Readers)
	s, err := build(ctx, config, write, read, o)
	if err != nil {
		_, _ = read.Close(), write.Close() // the first error says more
		return nil, err
	}
	return s, nil
}

func build(ctx context.Context, config *pgx.ConnConfig, write, read *sql.DB, o Options) (*store.Store, error) {
	dialect, err := newDialect(config, o)
	if err != nil {
		return nil, err
	}
	if err = suits(ctx, write, dialect); err != nil {
		return nil, err
	}
	schema := pool(config, 1) // of its own: migrations change settings of their connection
	s, err := store.New(ctx, store.Options{Write: write, Read: read, Schema: schema, Dialect: dialect})
	if closing := schema.Close(); err == nil && closing != nil {
		return nil, fmt.Errorf("close the connection for the schema: %w", closing)
	}
	return s, err
}

// pool makes a pool of at most size connections, which stay open for a while.
func pool(config *pgx.ConnConfig, size int) *sql.DB {
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

func newDialect(config *pgx.ConnConfig, o Options) (store.Dialect, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return store.Dialect{}, err
	}
	// Another replica that builds indexes of large tables may take hours.
	turn, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 24*3600), lock.WithUnlockTimeout(1, 5))
	if err != nil {
		return store.Dialect{}, err
	}
	return store.Dialect{
		Name: "postgres", Goose: database.DialectPostgres, Migrations: files, Turn: turn,
		ForUpdate: "FOR UPDATE",
		ForShare:  "FOR KEY SHARE", // does not hold up who changes no key, as the renewal of the lead
		Now:       "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
		Bytes:     "BYTEA",
		Unhurried: `SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)`,
		Count:     `SELECT setval(pg_get_serial_sequence('TABLE', 'COLUMN'), greatest((SELECT max(COLUMN) FROM TABLE), 1))`,
		Notify:    `SELECT pg_notify('` + channels + `' || $1, '')`,
		Listen:    listener(config),
		Classify:  classify, Unknown: unknown,
		Patience: o.Statement,
		Writers:  o.Writers, Group: 1,
	}, nil
}

// suits tells whether the server and the database will do, before anything is changed.
func suits(ctx context.Context, db *sql.DB, d store.Dialect) error {
	var version int
	var encoding, commits string
	var standby, mayCreate bool
	err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
		current_setting('synchronous_commit'), pg_is_in_recovery(),
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)`).Scan(&version, &encoding, &commits, &standby, &mayCreate)
	if err != nil {
		kind, next := d.Classify(err)
		return fault.New(kind, "%w", err).Hint("%s", next)
	}
	switch {
	case version < oldest:
		return fault.New(fault.Invalid, "the server is PostgreSQL %d, which is too old", version/10000).
			Hint("Use PostgreSQL %d or newer.", oldest/10000)
	case encoding != "UTF8":
		return fault.New(fault.Invalid, "the database has the encoding %s", encoding).
			Hint("Create it with UTF-8: createdb --encoding=UTF8 --template=template0 NAME.")
	case commits == "off":
		return fault.New(fault.Invalid, "the server answers commits before they are on its disk (synchronous_commit is off)").
			Hint("What agents were told is stored could be lost. Set it for this database: ALTER DATABASE NAME SET synchronous_commit = on.")
	case standby:
		return fault.New(fault.Unavailable, "the server is a standby, which cannot be written to").
			Hint("Name the primary; with several hosts in the URL, target_session_attrs=read-write finds it.")
	case !mayCreate:
		return fault.New(fault.Denied, "the user may not create tables in the database").
			Hint("Make the user its owner: ALTER DATABASE NAME OWNER TO USER.")
	}
	return nil
}
