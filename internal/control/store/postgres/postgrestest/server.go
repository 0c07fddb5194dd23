// Package postgrestest gives tests a PostgreSQL server of their own: in a temporary directory, on a free port of the loopback, with fsync
// on, gone when the tests end. It can be stopped, killed and paused.
//
// Without an installed PostgreSQL such tests are skipped, unless FIREBREAK_TEST_POSTGRES is "required": then they fail.
package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// Password is the password of all URLs.
const Password = "pg-S3cret"

const owner = "firebreak"

// Server is a running PostgreSQL, or one that was stopped.
type Server struct {
	dir      string // of everything
	bin      string // of the programs
	port     int
	settings []string

	mu      sync.Mutex
	process *os.Process // nil while it does not run
	ended   chan struct{}
}

// patience bounds how long a server may take to start or to stop.
const patience = 30 * time.Second

var shared struct {
	once   sync.Once
	server *Server
	err    error
	number atomic.Int64
}

// Main runs the tests of a package and then stops the server that they shared. TestMain calls it.
func Main(m *testing.M) {
	m.Run() // its outcome becomes the exit code when TestMain returns
	if shared.server != nil {
		shared.server.remove()
	}
}

// Shared is the server of all tests of this binary, whose TestMain calls [Main]. Its databases are shared by nobody.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	wanted(tb)
	shared.once.Do(func() { shared.server, shared.err = create() })
	demand(tb, shared.err)
	return shared.server
}

// New starts a server for this test alone. Settings are as in postgresql.conf: "work_mem=1MB".
func New(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	wanted(tb)
	s, err := create(settings...)
	demand(tb, err)
	tb.Cleanup(s.remove)
	return s
}

// wanted skips a test unless PostgreSQL is asked for, or everything is.
func wanted(tb testing.TB) {
	tb.Helper()
	if os.Getenv("FIREBREAK_TEST_POSTGRES") == "" {
		fulltest.Only(tb)
	}
}

// demand skips or fails a test without a server.
func demand(tb testing.TB, err error) {
	tb.Helper()
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("FIREBREAK_TEST_POSTGRES") != "required" {
		tb.Skipf("SKIPPED, no PostgreSQL is installed (scripts/postgres-setup installs one): %v", err)
	}
	if err != nil {
		tb.Fatalf("got error %v, want a PostgreSQL server", err)
	}
}

// programs finds the directory of PostgreSQL's programs.
func programs() (string, error) {
	const both = "initdb"
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + both)
	if path, err := exec.LookPath(both); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			found = append(found, path)
		}
	}
	slices.Reverse(found) // of PATH, or the newest
	for _, path := range found {
		dir := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(dir, "postgres")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("look for initdb and postgres in PATH and /usr/lib/postgresql: %w", exec.ErrNotFound)
}

// create makes a server's files and starts it.
func create(settings ...string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "firebreak-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, settings: settings}
	if err = s.initialise(); err == nil {
		err = s.start()
	}
	if err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *Server) initialise() error {
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(Password), 0o600); err != nil {
		return err
	}
	if err := give(s.dir, secret); err != nil {
		return err
	}
	// The files are synced by the first checkpoint; what is synced later is what counts.
	init := exec.CommandContext(context.Background(), filepath.Join(s.bin, "initdb"), "--pgdata", s.data(), "--username", owner,
		"--pwfile", secret, "--auth", "password", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	init.Dir = s.dir
	init.SysProcAttr = attributes()
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(text[max(0, len(text)-4000):])
}

// start starts the server and waits until it answers.
func (s *Server) start() error {
	var err error
	for range 3 { // the port may be taken by another in between
		if s.port == 0 {
			if s.port, err = freePort(); err != nil {
				return err
			}
		}
		if err = s.launch(); err != nil {
			return err
		}
		if err = s.answers(); err == nil {
			return nil
		}
		err = fmt.Errorf("start PostgreSQL on port %d: %w\n%s", s.port, err, s.log())
		if !bytes.Contains([]byte(s.log()), []byte("Address already in use")) {
			return err
		}
		s.port = 0
	}
	return err
}

func freePort() (int, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) launch() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"-D", s.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", "", "-c", "shared_buffers=64MB", "-c", "max_connections=200",
		"-c", "max_wal_size=1GB", "-c", "log_min_messages=warning",
	}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	server := exec.CommandContext(context.Background(), filepath.Join(s.bin, "postgres"), args...)
	server.Dir, server.Stdout, server.Stderr = s.dir, log, log
	server.SysProcAttr = attributes()
	ended := make(chan struct{})
	if err := launch(server, ended); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.ended = server.Process, ended
	return nil
}

// answers waits until the server can be connected to.
func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.ended:
			return fmt.Errorf("it ended: %w", err)
		default:
		}
		if (clock.Wall{}).Sleep(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}

func (s *Server) url(database string) string { return URL("127.0.0.1:"+strconv.Itoa(s.port), database) }

// URL is the URL of a database through another address, as of a proxy.
func URL(address, database string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", owner, Password, address, database)
}

// Address is the host and port of the server.
func (s *Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// Database creates an empty database and returns its URL. It goes with the server: dropping it would cost a checkpoint.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test%d", shared.number.Add(1))
	s.Exec(tb, "postgres", "CREATE DATABASE "+name)
	return s.url(name)
}

// Exec runs a statement in a database as the superuser.
func (s *Server) Exec(tb testing.TB, database, statement string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url(database))
	if err != nil {
		tb.Fatalf("got %v, want a connection\n%s", err, s.log())
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		tb.Fatalf("%s: got %v, want no error", statement, err)
	}
}

// Room makes a directory that the server may write to, as for a tablespace.
func (s *Server) Room(tb testing.TB, dir string) {
	tb.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o700), give(dir)); err != nil {
		tb.Fatal(err)
	}
}

// Start starts the server again on the same port and waits until it answers.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

// Stop stops the server in good order, without waiting for its clients.
func (s *Server) Stop(tb testing.TB) { tb.Helper(); s.end(tb, syscall.SIGINT) }

// Kill stops the server as a crash does: nothing that it kept in memory survives.
func (s *Server) Kill(tb testing.TB) { tb.Helper(); s.end(tb, syscall.SIGQUIT) }

func (s *Server) end(tb testing.TB, how syscall.Signal) {
	tb.Helper()
	if err := s.signal(how); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) signal(how syscall.Signal) error {
	s.mu.Lock()
	process, ended := s.process, s.ended
	s.process = nil
	s.mu.Unlock()
	if process == nil {
		return nil
	}
	if err := process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-ended:
		return nil
	case <-late.Done():
		_ = process.Kill()
		return fmt.Errorf("PostgreSQL did not end within %v of %v\n%s", patience, how, s.log())
	}
}

// Pause stops all processes of the server until Resume: connections stay, and nobody answers.
func (s *Server) Pause(tb testing.TB) { tb.Helper(); s.all(tb, syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume(tb testing.TB) { tb.Helper(); s.all(tb, syscall.SIGCONT) }

// remove ends the server and deletes its files.
func (s *Server) remove() {
	_ = s.signal(syscall.SIGQUIT)
	if err := os.RemoveAll(s.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(os.Stderr, err)
	}
}
