// Package cli is the firebreak command: every subcommand of operators, publishers and `serve`, one file a command.
//
// A command parses flags, calls package client (or, for keys and publishing, package publisher) and prints. What it prints for people
// fits 80 columns; with --json it prints the wire types of package api. Errors say what was wrong and what to do next.
//
// Exit codes are part of the interface: see the constants.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Exit codes.
const (
	ExitOK          = 0
	ExitFailed      = 1   // anything that has no code of its own
	ExitUsage       = 2   // wrong usage or invalid input
	ExitNotFound    = 3   // no such thing
	ExitConflict    = 4   // the thing is not in a state that allows this
	ExitDenied      = 5   // no valid token, or not allowed, or not validly signed
	ExitUnavailable = 6   // the control plane cannot be reached, or is too busy
	ExitStopped     = 10  // rollout watch: the rollout was tripped, halted or rolled back
	ExitInterrupted = 130 // by a signal
)

// Env is the world of one run. All fields are required, except Height, Memory, Serve, Demo and Database.
type Env struct {
	Args     []string // without the program's name
	In       io.Reader
	Out      io.Writer
	Err      io.Writer
	Getenv   func(string) string
	Terminal func(w io.Writer) (width int, ok bool) // whether w is a terminal, and how many columns it has
	Height   func(w io.Writer) int                  // how many lines the terminal has; nil or 0 if that is not known
	Clock    clock.Clock
	Version  string
	Platform string       // os/arch of this machine
	Memory   func() int64 // bytes that are free; nil or 0 if that is not known

	Serve func(ctx context.Context, o ServeOptions) error // runs the control plane until ctx ends
	Demo  func(ctx context.Context, o DemoOptions) error
	// Database opens the PostgreSQL database at a URL; nil if this build knows none. The caller closes it.
	Database func(ctx context.Context, url string) (*store.Store, error)
}

// ServeOptions are the flags of `firebreak serve`.
type ServeOptions struct {
	Data            string   // data directory
	Database        string   // URL of a PostgreSQL database; empty: SQLite in the data directory
	KeyDir          string   // directory of the authority's and the director's keys; empty: in the data directory
	Blobs           string   // URL of an S3-compatible bucket; empty: the data directory
	Replica         string   // name of this replica in logs; empty: the host's name
	Downloads       int64    // bytes a second of all downloads together; 0: no limit
	TenantDownloads int64    // bytes a second of one tenant\'s downloads; 0: no limit
	ListenPrivate   string   // address for metrics and profiles; empty: none
	ListenOperator  string   // address of operators and console
	ListenAgents    string   // address of agents
	AgentHosts      []string // names and addresses that agents use for it; the certificate has them
	Prometheus      string   // base URL of the Prometheus that gates' queries go to; empty for none
	GateHosts       []string // "host" or "host:port" that gates' HTTP checks may ask
	Cell            string   // name of this control plane among the cells of plans; empty: it is none
	Peers           []string // NAME=URL of the control planes of other cells
	PeerTokens      string   // file with their tokens
	PollIdle        time.Duration
	PollActive      time.Duration
	LogLevel        string // debug, info, warn or error
	LogJSON         bool
	Out             io.Writer // the first start's words for people
	Log             io.Writer
}

// DemoOptions are the flags of `firebreak demo`.
type DemoOptions struct {
	Exit   bool   // end after the table instead of keeping the console open
	JSON   string // file to write the result to; empty for none
	Agents int
	Bin    string // directory with the other binaries; empty: beside this one
	Colour bool
	Out    io.Writer
	Err    io.Writer
}

// program is one run of the command.
type program struct {
	Env
	server    string
	token     string
	tokenFile string
	json      bool
	quiet     bool
	drawing   *progress // the last that was begun; nil: none
}

// Run runs one command and returns its exit code. It ends early when ctx does.
func Run(ctx context.Context, env Env) int {
	p := &program{Env: env}
	root := p.root() //nolint:contextcheck // commands get the context when they run
	root.SetArgs(env.Args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	err := root.ExecuteContext(ctx)
	p.drawing.end()
	var code exitCode
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil:
		_, _ = fmt.Fprintln(env.Err, "interrupted")
		return ExitInterrupted
	}
	err = asFault(err)
	p.complain(err)
	return codeOf(err)
}

// exitCode ends a command that has said everything already.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func (p *program) root() *cobra.Command {
	root := group("firebreak", "Ship updates to fleets so that no single bad one takes the fleet down", `
Firebreak rolls releases out in rings. A host activates a release only with a lease; leases are handed out
no faster than evidence comes in; a sequential test halts a bad release after a few hosts and puts them back.

Commands talk to the control plane at --server with an operator token.

Environment: FIREBREAK_SERVER, FIREBREAK_TOKEN, FIREBREAK_TOKEN_FILE, FIREBREAK_KEYS, NO_COLOR.
Exit codes:  0 ok, 1 failed, 2 wrong usage or input, 3 not found, 4 conflict, 5 denied,
             6 unavailable, 10 the watched rollout was stopped, 130 interrupted.`)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = p.Version
	root.SetVersionTemplate("firebreak {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, "%s", err.Error()) })
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages ", fmt.Sprintf("FlagUsagesWrapped %d ", helpColumns)))
	flags := root.PersistentFlags()
	flags.StringVar(&p.server, "server", "", "control plane (env FIREBREAK_SERVER, default "+defaultServer+")")
	flags.StringVar(&p.token, "token", "", "operator token; other users see it in the process list, so prefer the environment (env FIREBREAK_TOKEN)")
	flags.StringVar(&p.tokenFile, "token-file", "", "file that holds the operator token (env FIREBREAK_TOKEN_FILE)")
	flags.BoolVar(&p.json, "json", false, "print JSON")
	flags.BoolVar(&p.quiet, "quiet", false, "say nothing of progress")
	root.AddCommand(
		p.serveCommand(), p.demoCommand(), p.applyCommand(), p.planCommand(), p.releaseCommand(), p.rolloutCommand(), p.topCommand(), p.freezeCommand(),
		p.fleetCommand(), p.endpointCommand(), p.incidentCommand(), p.simCommand(), p.keyCommand(), p.tokenCommand(), p.backupCommand(), p.gcCommand(), p.migrateCommand(),
		p.restoreCommand(), p.doctorCommand(), p.versionCommand(),
	)
	root.InitDefaultCompletionCmd(p.Args...)
	return root
}

// helpColumns is how wide help may be.
const helpColumns = 100

// group makes a command that only has subcommands.
func group(use, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: reflow(long), Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: 2,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			err := usage(c, "unknown command %q for %q", args[0], c.CommandPath())
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				return err.Hint("Did you mean '%s %s'?", c.CommandPath(), near[0])
			}
			return err
		},
	}
}

// command is what a leaf command consists of.
type command struct {
	use     string // name and arguments, as in "show ID"
	short   string
	long    string
	example string
	args    cobra.PositionalArgs
	run     func(ctx context.Context, args []string) error
	// ids completes the first argument; may be nil.
	ids func(ctx context.Context) ([]string, error)
	// lists is the command that lists what the arguments name, for whoever left one out or got one wrong; may be empty.
	lists string
}

// missing is the name of the first argument that is required and was not given, or "".
func (k command) missing(args []string) string {
	for i, name := range strings.Fields(k.use)[1:] {
		if strings.HasPrefix(name, "-") {
			break // flags, and what they take
		}
		if i >= len(args) && !strings.HasPrefix(name, "[") {
			return name
		}
	}
	return ""
}

// hinted adds where to look to an error about something that is not there.
func (k command) hinted(err error) error {
	if k.lists == "" {
		return err
	}
	return hinted(err, fault.NotFound, "List what there is: %s.", k.lists)
}

func (p *program) leaf(k command) *cobra.Command {
	c := &cobra.Command{
		Use: k.use, Short: k.short, Long: reflow(k.long), Example: indent(k.example), DisableFlagsInUseLine: false,
		Args: func(c *cobra.Command, args []string) error {
			if name := k.missing(args); name != "" {
				err := usage(c, "%s: %s is missing", c.CommandPath(), name)
				if k.lists != "" {
					err = err.Hint("List what there is: %s. More: '%s --help'.", k.lists, c.CommandPath())
				}
				return err
			}
			if err := k.args(c, args); err != nil {
				return usage(c, "%s", err.Error())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return k.hinted(k.run(c.Context(), args)) },
	}
	c.ValidArgsFunction = func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if k.ids == nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		ids, err := k.ids(c.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

func usage(c *cobra.Command, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).Hint("Run '%s --help'.", c.CommandPath())
}

// reflow fits paragraphs to the width of help; those with indented lines are tables and stay.
func reflow(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, paragraph := range paragraphs {
		if !strings.Contains(paragraph, "\n ") {
			paragraphs[i] = strings.Join(wrap("", paragraph, helpColumns), "\n")
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

func indent(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = "  " + strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
