// Package command is the command line of the endpoint agent: join, run, status, and what the launcher and systemd call.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/agent"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/identity"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
	"github.com/firebreak-dev/firebreak/internal/endpoint/launcher"
	"github.com/firebreak-dev/firebreak/internal/endpoint/uplink"
)

// Env is the agent's surroundings.
type Env struct {
	Args    []string // without the program's name
	Out     io.Writer
	Err     io.Writer
	Version string
	Home    string // default state directory's parent for unprivileged users; empty means /var/lib

	// Components is where a package of the operating system has owners put their component files; used for the system's state directory if
	// it exists. Empty: nowhere.
	Components string

	In     io.Reader                // may be nil
	Getenv func(name string) string // may be nil: nothing is set
	Self   string                   // path of this executable, links resolved; "" if it is not known
	Notify io.Writer                // what the launcher listens to; nil if no launcher started this process
}

// Exit codes: the kinds of faults, as in the firebreak command.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitMissing = 3
	exitInUse   = 4
	exitDenied  = 5
	exitAway    = 6

	exitSwitched = 10 // of check: another agent is current now
	exitNotAsked = 20 // of check: the control plane could not be asked
	exitRenew    = 75 // of run: start the agent that is current now
)

// Run carries out one command until it ends or ctx does, and returns the exit code.
func Run(ctx context.Context, env Env) int {
	p := &program{Env: env}
	root := p.root() //nolint:contextcheck // commands get the context that they are executed with
	root.SetArgs(env.Args)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return p.exit
	}
	_, _ = fmt.Fprintln(env.Err, "error:", err)
	if next := fault.NextOf(err); next != "" {
		_, _ = fmt.Fprintln(env.Err, "next:", next)
	}
	if p.exit != 0 {
		return p.exit
	}
	return code(err)
}

func code(err error) int {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return exitUsage
	case fault.NotFound:
		return exitMissing
	case fault.Conflict:
		return exitInUse
	case fault.Denied:
		return exitDenied
	case fault.Unavailable:
		return exitAway
	case fault.Internal:
	}
	return exitFailed
}

type program struct {
	Env
	state string
	exit  int // what the command ends with; 0: what its error says
}

func (p *program) getenv(name string) string {
	if p.Getenv == nil {
		return ""
	}
	return p.Getenv(name)
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use: "firebreak-agent", Short: "The Firebreak endpoint agent", Version: p.Version, SilenceErrors: true, SilenceUsage: true,
		Long: `The Firebreak endpoint agent keeps the components of this host up to date.

It activates a release only with a lease of the control plane, proves it with the probes of the component file, and goes back by itself
when they fail. It needs no privileges beyond the directories and consumers that the component files name.

Exit codes: 0 ok, 1 failed, 2 wrong usage or input, 3 not joined, 4 in use or in the way, 5 denied, 6 control plane unreachable,
75 another agent is current and is to be started. Those of check: see 'firebreak-agent check --help'.`,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fault.New(fault.Invalid, "%w", err) })
	root.PersistentFlags().StringVar(&p.state, "state", p.defaultState(), "directory for everything that the agent keeps")
	root.AddCommand(p.join(), p.run(), p.status(), p.forgive(), p.check(), p.exited(), p.dropIn())
	return root
}

// systemState is the state directory of the host's own agent.
const systemState = "/var/lib/firebreak-agent"

func (p *program) defaultState() string {
	if p.Home == "" {
		return systemState
	}
	return filepath.Join(p.Home, ".local", "state", "firebreak-agent")
}

// componentDir is where component files are, unless a flag says otherwise.
func (p *program) componentDir() string {
	if p.Components != "" && p.state == systemState {
		if _, err := (disk.OS{}).Lstat(p.Components); err == nil {
			return p.Components
		}
	}
	return filepath.Join(p.state, "components.d")
}

func (p *program) join() *cobra.Command {
	var token, fingerprint string
	var servers []string
	var record identity.Record
	c := &cobra.Command{
		Use: "join", Short: "Give this host an identity", Args: cobra.NoArgs,
		Long: `Gives this host an identity: a key that never leaves it, and a certificate of the control plane for it.

The control plane prints the whole command when it starts first; 'firebreak token create --kind join' makes further tokens.`,
		Example: "  firebreak-agent join --server https://updates.example.net:7443 --token fb_join_... --ca-fingerprint sha256:... --site berlin",
		RunE: func(c *cobra.Command, _ []string) error {
			if len(servers) == 0 || token == "" || fingerprint == "" {
				return fault.New(fault.Invalid, "join: --server, --token and --ca-fingerprint are all needed").
					Hint("copy the whole command that the control plane printed")
			}
			if err := checkServers(servers); err != nil {
				return fmt.Errorf("join: %w", err)
			}
			record.Server, record.Others = servers[0], servers[1:]
			return p.doJoin(c.Context(), record, token, fingerprint)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&servers, "server", nil,
		"the control plane's agent port, as https://host:7443; may be given several times, for replicas without a load balancer")
	f.StringVar(&token, "token", "", "join token")
	f.StringVar(&fingerprint, "ca-fingerprint", "", "of the control plane's authority, as sha256:<hex>")
	f.StringVar(&record.Attributes.Class, "class", "server", "server, desktop or laptop")
	f.StringVar(&record.Attributes.Site, "site", "", "where the host is: hosts that may fail together for reasons of the place")
	f.StringVar(&record.Attributes.Region, "region", "", "region of the site")
	f.StringToStringVar(&record.Labels, "label", nil, "key=value, for plans to select by; may be given several times")
	return c
}

func (p *program) doJoin(ctx context.Context, r identity.Record, token, fingerprint string) error {
	dir := filepath.Join(p.state, "identity")
	switch old, errLoad := identity.Load(disk.OS{}, dir); {
	case errLoad == nil:
		return fault.New(fault.Conflict, "join: this host is %s at %s already", old.Endpoint, old.Server).
			Hint("use another --state, or remove %s to give the host a new identity", dir)
	case fault.KindOf(errLoad) != fault.NotFound:
		return errLoad
	}
	key, err := identity.NewKey()
	if err != nil {
		return fmt.Errorf("join: make a key: %w", err)
	}
	csr, err := identity.Request(key)
	if err != nil {
		return fmt.Errorf("join: make a certificate request: %w", err)
	}
	if err = disk.MkdirAll(disk.OS{}, p.state, 0o755); err == nil { // consumers read current below it, as other users
		err = disk.MkdirAll(disk.OS{}, dir, 0o700)
	}
	if err != nil { // before the token is used up
		return fault.New(fault.KindOf(err), "join: make the state directory: %w", err).Hint("choose a directory that this user may write to with --state")
	}
	described, _ := agent.Describe()
	reply, err := enrol(ctx, r.Addresses(), fingerprint, api.EnrolRequest{
		Token: token, CSR: csr, Attributes: overlay(described, r.Attributes), Labels: r.Labels,
	})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if r, err = r.Complete(key, reply); err == nil {
		err = r.Save(disk.OS{}, dir)
	}
	if err != nil {
		return fmt.Errorf("join: keep the identity: %w", err)
	}
	if err = disk.MkdirAll(disk.OS{}, p.componentDir(), 0o755); err != nil {
		return fmt.Errorf("join: make the directory for component files: %w", err)
	}
	_, err = fmt.Fprintf(p.Out, "joined as %s, tenant %s\ncomponent files go to %s\nstart the agent: firebreak-agent run --state %s\n",
		reply.Endpoint, reply.Tenant, p.componentDir(), p.state)
	return err
}

// enrol asks one address after the other, until one can be reached.
func enrol(ctx context.Context, servers []string, fingerprint string, request api.EnrolRequest) (reply api.EnrolReply, err error) {
	for _, server := range servers {
		address, errURL := url.Parse(server)
		if errURL != nil {
			return reply, errURL
		}
		client := uplink.New(server, identity.Pinned(fingerprint, address.Hostname()))
		reply, err = client.Enrol(ctx, request)
		client.Close()
		if fault.KindOf(err) != fault.Unavailable || err == nil {
			return reply, err
		}
	}
	return reply, err
}

// checkServers finds what is wrong with addresses of a control plane.
func checkServers(servers []string) error {
	for _, server := range servers {
		address, err := url.Parse(server)
		if err != nil || address.Scheme != "https" || address.Host == "" {
			return fault.New(fault.Invalid, "--server must be an https URL, is %q", server)
		}
		if len(servers) > 1 && strings.Trim(address.Path, "/") != "" {
			return fault.New(fault.Invalid, "--server must have no path when there are several, is %q", server)
		}
	}
	return nil
}

// overlay puts what the owner chose over what the host says of itself.
func overlay(described, chosen api.Attributes) api.Attributes {
	described.Class, described.Site, described.Region = chosen.Class, chosen.Site, chosen.Region
	return described
}

func (p *program) forgive() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use: "forgive COMPONENT", Short: "Let this host try releases again that it refuses", Args: cobra.ExactArgs(1),
		Long: `Makes this host forget which releases of a component harmed it or failed its preflight, so that it tries them again. Use it when the
cause was this host's, such as a wrong probe in the component file. Recalled releases stay refused. The agent must not run meanwhile, nor,
for the component ` + component.Agent + `, its launcher, which forgets which agents were no good.`,
		Example: "  systemctl stop firebreak-agent && firebreak-agent forgive sensor-content && systemctl start firebreak-agent",
		RunE:    func(_ *cobra.Command, args []string) (err error) { return p.doForgive(s, args[0]) },
	}
	s.guardFlag(c)
	return c
}

func (p *program) doForgive(s settings, name string) (err error) {
	unlock, err := disk.Lock(filepath.Join(p.state, "lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock.Close()) }()
	memory, err := journal.Open(disk.OS{}, filepath.Join(p.state, "journal"), agent.SlotSize)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, memory.Close()) }()
	quarantined := 0
	if dir := s.guardDir(); name == component.Agent && dir != "" {
		if quarantined, err = launcher.Forgive(disk.OS{}, dir); err != nil {
			return err
		}
	}
	forgiven, err := agent.Forgive(memory, name)
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(p.Out, "%s: %d refusals forgotten\n", name, forgiven); err == nil && quarantined > 0 {
		_, err = fmt.Fprintf(p.Out, "the launcher runs %d agents again that it had quarantined\n", quarantined)
	}
	return err
}

func (p *program) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show what this host is and runs", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			record, err := identity.Load(disk.OS{}, filepath.Join(p.state, "identity"))
			if err != nil {
				return err
			}
			end, _, err := record.Expiry(clock.Wall{}.Now())
			if err != nil {
				return err
			}
			lines := []string{
				"endpoint     " + record.Endpoint, "tenant       " + record.Tenant, "control      " + strings.Join(record.Addresses(), ", "),
				"certificate  until " + end.Format("2006-01-02 15:04 MST"),
			}
			memory, err := journal.Open(disk.OS{}, filepath.Join(p.state, "journal"), agent.SlotSize)
			if err != nil {
				return err
			}
			defer func() { _ = memory.Close() }()
			states, err := agent.Remembered(memory)
			if err != nil {
				return err
			}
			for _, s := range states {
				lines = append(lines, fmt.Sprintf("component    %s: runs %s, %s", s.Component, version(s.Current.Version), s.Phase))
				if s.Why != "" {
					lines = append(lines, "             "+s.Why)
				}
			}
			_, err = fmt.Fprintln(p.Out, strings.Join(lines, "\n"))
			return err
		},
	}
}

func version(v string) string {
	if v == "" {
		return "nothing"
	}
	return v
}
