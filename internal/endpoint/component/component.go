// Package component has the component file: what an endpoint's owner says about one component on this host.
//
// The file names the consumer, how it is told of a new release, how the endpoint knows that it is well, and what it provides to content.
// It belongs to the host: the endpoint executes commands that stand in it and no others, never one from the server or from a release.
package component

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Duration is written as "15m" in files.
type Duration = plan.Duration

// Placeholders that commands, URLs and paths of a component file may hold.
const (
	Staged  = "{dir}"     // in Validator: the directory that holds the staged release
	Current = "{current}" // elsewhere: the path under which the consumer finds the release in use
	Address = "{address}" // in a URL: what AddressFile says
)

// File is a component file. Decode fills nothing in: call [File.Defaulted].
type File struct {
	Component string            `json:"component"`
	Kind      release.Kind      `json:"kind"`
	Installer []string          `json:"installer,omitempty"` // argv; of a kind that begins with "x-": the program that installs it
	Provides  map[string]string `json:"provides,omitempty"`  // what a release's contract may ask for, by the same keys
	Package   Package           `json:"package,omitzero"`    // of kind package
	Validator []string          `json:"validator,omitempty"` // argv; run on the staged release, must exit with 0
	Limits    Limits            `json:"limits,omitzero"`
	Consumer  Consumer          `json:"consumer,omitzero"`
	Probes    []Probe           `json:"probes,omitempty"`
	Soak      Duration          `json:"soak,omitempty"`     // how long the probes must pass before an activation is confirmed
	Interval  Duration          `json:"interval,omitempty"` // between two rounds of probes
	Grace     Duration          `json:"grace,omitempty"`    // after telling the consumer: failing probes do not count yet
	Watch     Duration          `json:"watch,omitempty"`    // how long the probes go on after the confirmation
	Boot      *bool             `json:"boot,omitempty"`     // it matters at boot: a release is good only after a boot with it ended well
	Factory   bool              `json:"factory,omitempty"`  // the first release that a boot ended well with is kept for the boot guard's last resort
}

// Package says how packages are installed on this host.
type Package struct {
	// Runner is put before every command of the package system, for hosts where the agent itself may not write everywhere.
	Runner []string `json:"runner,omitempty"`
	// NoWayBack allows an activation although the package that is installed now cannot be had any more.
	NoWayBack bool `json:"no_way_back,omitempty"`
}

// Limits bound what a release may unpack to.
type Limits struct {
	Size  int64 `json:"size,omitempty"`  // bytes of all files
	Files int   `json:"files,omitempty"` // files and directories
}

// Consumer is the program that reads the component.
type Consumer struct {
	Run  []string `json:"run,omitempty"`  // argv: the agent starts and supervises it; for hosts whose service manager does not
	Unit string   `json:"unit,omitempty"` // or: the systemd unit that runs it
	Tell Tell     `json:"tell,omitzero"`
}

// Tell is how the consumer learns of a new release: at most one of Signal, Command, Unit and Restart. None means that it looks by itself.
type Tell struct {
	Signal  string   `json:"signal,omitempty"`   // such as HUP; to the supervised process, or to the one that PIDFile names
	PIDFile string   `json:"pid_file,omitempty"` // with Signal
	Command []string `json:"command,omitempty"`  // argv; must exit with 0
	Unit    string   `json:"unit,omitempty"`     // "reload" or "restart" of Consumer.Unit
	Restart bool     `json:"restart,omitempty"`  // of the supervised process
	Timeout Duration `json:"timeout,omitempty"`
}

// Probe asks whether the consumer is well: exactly one of its kinds.
type Probe struct {
	Name     string    `json:"name,omitempty"` // for people; made from the kind if left out
	Exec     []string  `json:"exec,omitempty"` // argv; must exit with 0
	HTTP     *HTTP     `json:"http,omitempty"`
	TCP      string    `json:"tcp,omitempty"`      // host:port that must accept a connection
	Unit     string    `json:"unit,omitempty"`     // systemd unit that must be active, and not be restarted since the activation
	Restarts *Restarts `json:"restarts,omitempty"` // of the supervised process since the activation
	Loaded   *Loaded   `json:"loaded,omitempty"`
	Timeout  Duration  `json:"timeout,omitempty"`
}

// HTTP is a GET.
type HTTP struct {
	URL         string `json:"url"`                    // "{address}" in it is what AddressFile says
	Status      int    `json:"status,omitempty"`       // wanted; 0 means any of 200 to 299
	AddressFile string `json:"address_file,omitempty"` // file that holds host:port
}

// Restarts bounds the restarts that are not held against a release.
type Restarts struct {
	Max int `json:"max,omitempty"`
}

// Loaded compares the digest of a file of the release in use with the one that the consumer says it loaded: the first "sha256:..." in
// what it answers. Exactly one of HTTP, Exec and Path says how to ask.
type Loaded struct {
	File string   `json:"file"` // within the release
	HTTP *HTTP    `json:"http,omitempty"`
	Exec []string `json:"exec,omitempty"`
	Path string   `json:"path,omitempty"` // file that the consumer writes
}

// Defaults for what a file leaves out.
const (
	DefaultSoak        = Duration(10 * time.Minute)
	DefaultInterval    = Duration(10 * time.Second)
	DefaultGrace       = Duration(5 * time.Second)
	DefaultWatch       = Duration(72 * time.Hour)
	DefaultTellTimeout = Duration(30 * time.Second)
	DefaultTimeout     = Duration(5 * time.Second) // of a probe
	DefaultSize        = 1 << 30
	DefaultFiles       = 10_000
)

// Defaulted fills in what the file leaves out. The receiver is not changed.
func (f File) Defaulted() File {
	f.Soak = orElse(f.Soak, DefaultSoak)
	f.Interval = orElse(f.Interval, min(DefaultInterval, f.Soak))
	f.Grace = orElse(f.Grace, min(DefaultGrace, f.Soak))
	f.Watch = orElse(f.Watch, DefaultWatch)
	f.Limits.Size = orElse(f.Limits.Size, DefaultSize)
	f.Limits.Files = orElse(f.Limits.Files, DefaultFiles)
	f.Consumer.Tell.Timeout = orElse(f.Consumer.Tell.Timeout, DefaultTellTimeout)
	if f.Boot == nil {
		boot := f.Kind == release.Package
		f.Boot = &boot
	}
	f = f.executable()
	f.Probes = slices.Clone(f.Probes)
	for i, p := range f.Probes {
		f.Probes[i].Timeout = orElse(p.Timeout, DefaultTimeout)
		f.Probes[i].Name = orElse(p.Name, freeName(p.kind(), f.Probes))
	}
	return f
}

// executable fills in what follows from a component being the consumer's own executable: it has to be started again to run the new one,
// and one that does not stay up is no good.
func (f File) executable() File {
	told := f.Consumer.Tell.Signal != "" || f.Consumer.Tell.Command != nil || f.Consumer.Tell.Unit != "" || f.Consumer.Tell.Restart
	if f.Kind != release.Binary {
		return f
	}
	if !told && f.Consumer.Unit != "" {
		f.Consumer.Tell.Unit = "restart"
	}
	if !told && len(f.Consumer.Run) > 0 {
		f.Consumer.Tell.Restart = true
	}
	switch {
	case len(f.Probes) > 0:
	case len(f.Consumer.Run) > 0:
		f.Probes = []Probe{{Restarts: &Restarts{}}}
	case f.Consumer.Unit != "":
		f.Probes = []Probe{{Unit: f.Consumer.Unit}}
	}
	return f
}

// Agent is the name of the component that the agent itself is.
const Agent = "firebreak-agent"

// OfAgent is the component file of the agent itself, on a host whose launcher can start another one. It needs no probes: the agent knows
// whether it reaches the control plane.
func OfAgent() File {
	return File{Component: Agent, Kind: release.Agent}.Defaulted()
}

// freeName makes a name that no probe has: "http", "http-2", "http-3".
func freeName(kind string, probes []Probe) string {
	name := kind
	for n := 2; slices.ContainsFunc(probes, func(p Probe) bool { return p.Name == name }); n++ {
		name = fmt.Sprintf("%s-%d", kind, n)
	}
	return name
}

// Resolve returns the file with the path of the release in use put in place of "{current}" everywhere.
func (f File) Resolve(current string) File {
	r := strings.NewReplacer(Current, current)
	f.Consumer.Run = replace(r, f.Consumer.Run)
	f.Consumer.Tell.Command = replace(r, f.Consumer.Tell.Command)
	f.Consumer.Tell.PIDFile = r.Replace(f.Consumer.Tell.PIDFile)
	f.Probes = slices.Clone(f.Probes)
	for i, p := range f.Probes {
		p.Exec = replace(r, p.Exec)
		p.HTTP = p.HTTP.resolve(r)
		if p.Loaded != nil {
			l := *p.Loaded
			l.HTTP, l.Exec, l.Path = l.HTTP.resolve(r), replace(r, l.Exec), r.Replace(l.Path)
			p.Loaded = &l
		}
		f.Probes[i] = p
	}
	return f
}

func (h *HTTP) resolve(r *strings.Replacer) *HTTP {
	if h == nil {
		return nil
	}
	c := *h
	c.AddressFile = r.Replace(c.AddressFile)
	return &c
}

func replace(r *strings.Replacer, argv []string) []string {
	argv = slices.Clone(argv)
	for i := range argv {
		argv[i] = r.Replace(argv[i])
	}
	return argv
}

// kinds lists the kinds of probe that p is, which should be one.
func (p Probe) kinds() []string {
	var kinds []string
	for _, k := range []struct {
		name string
		set  bool
	}{
		{"exec", p.Exec != nil},
		{"http", p.HTTP != nil},
		{"tcp", p.TCP != ""},
		{"unit", p.Unit != ""},
		{"restarts", p.Restarts != nil},
		{"loaded", p.Loaded != nil},
	} {
		if k.set {
			kinds = append(kinds, k.name)
		}
	}
	return kinds
}

func (p Probe) kind() string {
	if kinds := p.kinds(); len(kinds) > 0 {
		return kinds[0]
	}
	return ""
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
