package component

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Bounds of a component file.
const (
	MaxProbes  = 32
	MaxTimeout = Duration(10 * time.Minute)
)

// Signals are those that a consumer can be told with.
func Signals() []string { return []string{"HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH"} }

// Check lists everything that is wrong with a defaulted file, each with its path. An empty list means that it may be used.
func (f File) Check() []fault.Problem {
	var c checker
	c.require(plan.Name(f.Component), "component", "must be 1 to 63 lower-case letters, digits and dashes, is %q", f.Component)
	c.kind(f)
	c.argv(f.Validator, "validator")
	c.require(len(f.Validator) == 0 || slices.ContainsFunc(f.Validator, func(s string) bool { return strings.Contains(s, Staged) }),
		"validator", "does not say where the staged release goes; put %s among its arguments", Staged)
	c.require(f.Limits.Size > 0, "limits.size", "must be above 0 bytes, is %d", f.Limits.Size)
	c.require(f.Limits.Files > 0, "limits.files", "must be above 0, is %d", f.Limits.Files)
	c.consumer(f.Consumer)
	c.require(len(f.Probes) <= MaxProbes, "probes", "are %d; %d is the most", len(f.Probes), MaxProbes)
	names := map[string]bool{}
	for i, p := range f.Probes {
		where := fmt.Sprintf("probes[%d]", i)
		c.probe(p, f.Consumer, where)
		c.require(!names[p.Name] || len(p.kinds()) != 1, where+".name", "is used by an earlier probe: %q; name one of them", p.Name)
		names[p.Name] = true
	}
	c.require(f.Soak > 0, "soak", "must be positive, is %s", f.Soak)
	c.require(f.Interval > 0 && f.Interval <= f.Soak, "interval", "must be positive and no longer than soak (%s), is %s", f.Soak, f.Interval)
	c.require(f.Grace >= 0 && f.Grace <= f.Soak, "grace", "must not be negative or longer than soak (%s), is %s", f.Soak, f.Grace)
	c.require(f.Watch >= 0, "watch", "must not be negative, is %s", f.Watch)
	return c.problems
}

type checker struct{ problems []fault.Problem }

func (c *checker) require(ok bool, path, format string, args ...any) {
	if !ok {
		c.problems = append(c.problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

// kind checks the kind, and what only some kinds have.
func (c *checker) kind(f File) {
	c.require(f.Kind.Installable(), "kind", "must be %s, is %q", release.Kinds, f.Kind)
	c.argv(f.Installer, "installer")
	c.argv(f.Package.Runner, "package.runner")
	c.require(f.Kind == release.Package || f.Package.Runner == nil && !f.Package.NoWayBack, "package", "is only for kind package")
	c.require(!f.Kind.Foreign() || f.Installer != nil, "installer", "is missing: kind %q is installed by a program of yours", f.Kind)
	c.require(f.Kind.Foreign() || f.Installer == nil, "installer", `is only for a kind that begins with "x-"`)
	c.require((f.Kind == release.Agent) == (f.Component == Agent), "kind", "%q is the component of kind agent, and the only one", Agent)
	c.require(!f.Factory || f.Kind != release.Package && !f.Kind.Foreign(), "factory", "is only for kinds that the boot guard can switch")
	alone := len(f.Consumer.Run) == 0 && f.Consumer.Unit == "" && len(f.Probes) == 0
	c.require(f.Kind != release.Agent || alone, "consumer", "the agent has no consumer and no probes: it is started by its launcher, and knows itself")
}

// argv checks a command that may be left out.
func (c *checker) argv(argv []string, path string) {
	if argv == nil {
		return
	}
	c.require(len(argv) > 0 && argv[0] != "", path, "names no program; write a list such as [/usr/bin/tool, --flag]")
	for i, arg := range argv {
		c.require(!strings.Contains(arg, "\x00"), fmt.Sprintf("%s[%d]", path, i), "has a zero byte")
	}
}

func (c *checker) timeout(d Duration, path string) {
	c.require(d > 0 && d <= MaxTimeout, path, "must be positive and at most %s, is %s", MaxTimeout, d)
}

func (c *checker) unit(name, path string) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@"
	ok := name != "" && len(name) <= 255 && name[0] != '-' && name[0] != '.' && strings.Trim(name, allowed) == ""
	c.require(ok, path, "is no name of a systemd unit: %q", name)
}

func (c *checker) consumer(k Consumer) {
	c.argv(k.Run, "consumer.run")
	c.require(k.Run == nil || k.Unit == "", "consumer", "has both run and unit; one of the agent and systemd runs it, not both")
	if k.Unit != "" {
		c.unit(k.Unit, "consumer.unit")
	}
	c.tell(k.Tell, k)
}

func (c *checker) tell(t Tell, k Consumer) {
	const path = "consumer.tell"
	ways := 0
	for _, set := range []bool{t.Signal != "", t.Command != nil, t.Unit != "", t.Restart} {
		if set {
			ways++
		}
	}
	c.require(ways <= 1, path, "has %d ways to tell the consumer; use one of signal, command, unit and restart", ways)
	if t.Signal != "" {
		c.require(slices.Contains(Signals(), t.Signal), path+".signal", "must be one of %s, is %q", strings.Join(Signals(), ", "), t.Signal)
		c.require((t.PIDFile != "") != (k.Run != nil), path+".signal",
			"needs to know the process: either consumer.run, which the agent supervises, or pid_file")
	}
	c.require(t.PIDFile == "" || t.Signal != "", path+".pid_file", "is only for a signal")
	c.argv(t.Command, path+".command")
	if t.Unit != "" {
		c.require(t.Unit == "reload" || t.Unit == "restart", path+".unit", `must be "reload" or "restart", is %q`, t.Unit)
		c.require(k.Unit != "", path+".unit", "needs consumer.unit: the name of the unit")
	}
	c.require(!t.Restart || k.Run != nil, path+".restart", "needs consumer.run: the agent restarts only what it supervises")
	c.timeout(t.Timeout, path+".timeout")
}

func (c *checker) probe(p Probe, k Consumer, path string) {
	kinds := p.kinds()
	c.require(len(kinds) == 1, path, "must have exactly one of exec, http, tcp, unit, restarts and loaded, has %d", len(kinds))
	c.timeout(p.Timeout, path+".timeout")
	c.argv(p.Exec, path+".exec")
	c.http(p.HTTP, path+".http")
	if p.TCP != "" {
		_, port, err := net.SplitHostPort(p.TCP)
		c.require(err == nil && port != "", path+".tcp", "must be host:port, is %q", p.TCP)
	}
	if p.Unit != "" {
		c.unit(p.Unit, path+".unit")
	}
	if p.Restarts != nil {
		c.require(k.Run != nil, path+".restarts", "needs consumer.run; for a systemd unit use the probe unit")
		c.require(p.Restarts.Max >= 0, path+".restarts.max", "must not be negative, is %d", p.Restarts.Max)
	}
	c.loaded(p.Loaded, path+".loaded")
}

func (c *checker) http(h *HTTP, path string) {
	if h == nil {
		return
	}
	asked := h.URL
	if h.AddressFile != "" {
		c.require(strings.Contains(h.URL, Address), path+".url", "does not use address_file; put %s where its host:port goes", Address)
		asked = strings.ReplaceAll(asked, Address, "127.0.0.1:80")
	}
	u, err := url.Parse(asked)
	c.require(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", path+".url",
		"must be an http or https URL, is %q", h.URL)
	c.require(h.Status == 0 || h.Status >= 100 && h.Status <= 599, path+".status", "must be an HTTP status, is %d", h.Status)
}

func (c *checker) loaded(l *Loaded, where string) {
	if l == nil {
		return
	}
	ok := l.File != "" && path.Clean(l.File) == l.File && !path.IsAbs(l.File) && l.File != ".." && !strings.HasPrefix(l.File, "../")
	c.require(ok, where+".file", "must be the path of a file within the release, is %q", l.File)
	ways := 0
	for _, set := range []bool{l.HTTP != nil, l.Exec != nil, l.Path != ""} {
		if set {
			ways++
		}
	}
	c.require(ways == 1, where, "must have exactly one of http, exec and path, has %d", ways)
	c.http(l.HTTP, where+".http")
	c.argv(l.Exec, where+".exec")
}

// Provided lists what a release's contract asks for and this host does not provide. An empty list means that the contract is kept.
func (f File) Provided(m release.Manifest) []fault.Problem {
	var c checker
	for key, want := range m.Contract {
		have, ok := f.Provides[key]
		c.require(ok, "contract."+key, "asks for %q, and this host provides nothing of that name", want)
		c.require(!ok || have == want, "contract."+key, "asks for %q, and this host provides %q", want, have)
	}
	slices.SortFunc(c.problems, func(a, b fault.Problem) int { return strings.Compare(a.Path, b.Path) })
	return c.problems
}
