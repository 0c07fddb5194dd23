package command

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/agent"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/identity"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
	"github.com/firebreak-dev/firebreak/internal/endpoint/launcher"
	"github.com/firebreak-dev/firebreak/internal/endpoint/uplink"
)

// settings are what run and check have in common.
type settings struct {
	components string
	servers    []string // in place of those that the host joined with
	guard      string
	verbose    bool
	json       bool
}

// defaultGuard is where the boot guard keeps its book.
const defaultGuard = "/var/lib/firebreak-guard"

func (s *settings) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.components, "components", "",
		"directory of component files (default: components.d in the state directory; /etc/firebreak/components.d if a package brought it)")
	f.StringSliceVar(&s.servers, "server", nil,
		"address of the control plane's agent port; may be given several times, for replicas (default: those it joined with)")
	s.guardFlag(c)
	f.BoolVar(&s.verbose, "verbose", false, "log every decision")
	f.BoolVar(&s.json, "log-json", false, "log as JSON")
}

func (s *settings) guardFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.guard, "guard", "", "directory of the boot guard (default: "+defaultGuard+" if it exists)")
}

// guardDir is the directory of the boot guard; "" if this host has none.
func (s *settings) guardDir() string {
	if s.guard != "" {
		return s.guard
	}
	if _, err := (disk.OS{}).Lstat(defaultGuard); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return defaultGuard
}

func (s *settings) log(to io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if s.verbose {
		options.Level = slog.LevelDebug
	}
	if s.json {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}

func (p *program) run() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use: "run", Short: "Run the agent", Args: cobra.NoArgs,
		Long: `Runs the agent until it is told to stop. One agent at a time may use a state directory.

Started by 'firebreak-guard launch' it keeps itself up to date too, and ends with 75 when another agent is to run.`,
		RunE: func(c *cobra.Command, _ []string) error { return p.doRun(c.Context(), s) },
	}
	s.flags(c)
	return c
}

func (p *program) doRun(ctx context.Context, s settings) (err error) {
	a, closers, err := p.open(ctx, s, p.notify())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closers.Close()) }()
	if a.Run(ctx) {
		p.exit = exitRenew
	}
	return nil
}

// notify says words to the launcher, a line each; nil if there is none. A launcher that is gone is not waited for.
func (p *program) notify() func(string) {
	if p.Notify == nil {
		return nil
	}
	return func(word string) { _, _ = io.WriteString(p.Notify, word+"\n") }
}

func (p *program) check() *cobra.Command {
	var s settings
	var timeout time.Duration
	c := &cobra.Command{
		Use: "check", Short: "Ask whether another agent should run, and switch to it", Args: cobra.NoArgs,
		Long: `Asks the control plane whether another agent should run on this host: because the one in use was recalled, or because there is a newer one
and this host may have it now. Then switches to it. The launcher runs it before it starts an agent. The agent must not run meanwhile.

Exit codes: 0 nothing to do, 10 another agent is current now, 20 the control plane could not be asked.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return p.doCheck(ctx, s)
		},
	}
	s.flags(c)
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long it may take") //nolint:mnd // a host that boots waits for it
	return c
}

func (p *program) doCheck(ctx context.Context, s settings) (err error) {
	p.exit = exitNotAsked
	a, closers, err := p.open(ctx, s, func(string) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closers.Close()) }()
	switched, err := a.Check(ctx)
	switch {
	case switched:
		p.exit = exitSwitched
	case err == nil:
		p.exit = 0
	}
	return err
}

// open opens the agent of the state directory. What is to be closed after it comes with it.
func (p *program) open(ctx context.Context, s settings, notify func(string)) (_ *agent.Agent, open closers, err error) {
	log := s.log(p.Err)
	record, err := identity.Load(disk.OS{}, filepath.Join(p.state, "identity"))
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, open.Close())
		}
	}()
	addresses := record.Addresses()
	if len(s.servers) > 0 {
		if err = checkServers(s.servers); err != nil {
			return nil, nil, err
		}
		addresses = s.servers
	}
	unlock, err := disk.Lock(filepath.Join(p.state, "lock"))
	if err != nil {
		return nil, nil, err
	}
	open = append(open, unlock)
	files, partial, err := p.files(ctx, s, notify != nil, log)
	if err != nil {
		return nil, open, err
	}
	memory, err := journal.Open(disk.OS{}, filepath.Join(p.state, "journal"), agent.SlotSize)
	if err != nil {
		return nil, open, err
	}
	open = append(open, memory)
	book, err := s.book() //nolint:contextcheck // the book's lock is waited for within a limit of its own
	if err != nil {       // a host that is updated is better off than one that is not
		log.ErrorContext(ctx, "the boot guard's book cannot be opened; going on without it", slog.Any("error", err))
		err = nil
	}
	if book != nil {
		open = append(open, book)
	}
	config, err := record.TLS()
	if err != nil {
		return nil, open, err
	}
	keeper := identity.NewKeeper(disk.OS{}, filepath.Join(p.state, "identity"), record)
	config.Certificates, config.GetClientCertificate = nil, keeper.Present
	client := uplink.Any(addresses, record.Endpoint, config)
	open = append(open, hangUp{client})
	described, boot := agent.Describe()
	o := agent.Options{
		Endpoint: record.Endpoint, Tenant: record.Tenant, StateDir: p.state, Root: record.Root, Files: files, Partial: partial, Uplink: client,
		Journal: memory, FS: disk.OS{}, Notify: notify, Self: p.Self,
		Clock: clock.Wall{}, Log: log.With(slog.String("endpoint", record.Endpoint)), Random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), //nolint:gosec // jitter
		Attributes: overlay(described, record.Attributes), Labels: record.Labels, Boot: boot, Platform: runtime.GOOS + "/" + runtime.GOARCH,
		KeepIdentity: func(ctx context.Context, t time.Time) (bool, error) { return keeper.Keep(ctx, t, client) },
		Posture:      p.posture(s),
		Events:       client.Events,
		Quarantined:  strings.FieldsFunc(p.getenv(launcher.QuarantineEnv), func(r rune) bool { return r == ':' }),
	}
	if book != nil { // an interface that holds nil is not nil
		o.Guard = book
	}
	a, err := agent.New(o)
	return a, open, err
}

// files loads the component files, and tells whether some are left out. A host whose launcher can start another agent has the component of
// the agent itself without one.
func (p *program) files(ctx context.Context, s settings, launched bool, log *slog.Logger) (files []component.File, partial bool, err error) {
	if s.components == "" {
		s.components = p.componentDir()
	}
	files, err = component.LoadDir(s.components)
	if err != nil && len(files) == 0 && !launched {
		return nil, true, err
	}
	if partial = err != nil; partial {
		log.ErrorContext(ctx, "these component files are left out", slog.Any("error", err))
	}
	if launched && !slices.ContainsFunc(files, func(f component.File) bool { return f.Kind == release.Agent }) {
		files = append(files, component.OfAgent())
	}
	return files, partial, nil
}

// book opens the boot guard's book; nil if this host has none.
func (s *settings) book() (*guard.Book, error) {
	dir := s.guardDir()
	if dir == "" {
		return nil, nil //nolint:nilnil // it is no mistake to have none
	}
	book, err := guard.Open(disk.OS{}, dir)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "open the boot guard's book: %w", err)
	}
	return book, nil
}

// closers are closed in the order opposite to that of their opening.
type closers []io.Closer

// Close closes all.
func (c closers) Close() (err error) {
	for _, closer := range slices.Backward(c) {
		err = errors.Join(err, closer.Close())
	}
	return err
}

// hangUp closes a client, which cannot fail.
type hangUp struct{ client *uplink.Client }

// Close implements io.Closer.
func (h hangUp) Close() error {
	h.client.Close()
	return nil
}
