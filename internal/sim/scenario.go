package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// Duration is written as "15m" in files.
type Duration = evidence.Duration

// Scenario is a fleet and what a release does to it. Files of kind Scenario hold one; docs/simulator.md explains each field.
type Scenario struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Text    string    `json:"text,omitempty"`    // what happened, for people
	Plan    string    `json:"plan,omitempty"`    // shipped plan that it is usually played with
	Stopped string    `json:"stopped,omitempty"` // what would have stopped it
	Start   time.Time `json:"start"`             // of the rollout: the online hosts depend on it
	Day     Day       `json:"day,omitzero"`
	Fleet   Fleet     `json:"fleet"`
	Fault   Fault     `json:"fault"`
	Outages []Outage  `json:"outages,omitempty"`
	Repair  Repair    `json:"repair,omitzero"`

	Defences Defences `json:"defences,omitzero"`
}

// Day is what happened, for the picture: a push with no rings.
type Day struct {
	Hosts  int64      `json:"hosts,omitempty"`  // that were harmed
	Curve  []DayPoint `json:"curve,omitempty"`  // share of them that had it, by time; the last one is when it was stopped
	Source string     `json:"source,omitempty"` // of the figures
}

// DayPoint is a point of the curve of the day.
type DayPoint struct {
	At    Duration `json:"at"`
	Share float64  `json:"share"`
}

// Fleet is the hosts.
type Fleet struct {
	Hosts   int64    `json:"hosts"`
	Classes []Class  `json:"classes"`
	Regions []Region `json:"regions,omitempty"` // none: one in UTC
	Sites   int64    `json:"sites,omitempty"`   // default 1 for each 40 hosts
	Tenants int64    `json:"tenants,omitempty"` // default 1 for each 10 sites
	Strata  int64    `json:"strata,omitempty"`  // of equal size; default 1
	Poll    Duration `json:"poll,omitempty"`    // between two check-ins of an idle host; default 1m
	Proving Duration `json:"proving,omitempty"` // between two check-ins of one that proves; default 10s
	Prepare Duration `json:"prepare,omitempty"` // mean time from lease to activation: downloads are ahead; default 10s
	Soak    Duration `json:"soak,omitempty"`    // from activation to confirmation; default 1m
	Swing   float64  `json:"swing,omitempty"`   // log-normal sigma by which silence and goodbyes swing every quarter of an hour
	Groups  []Group  `json:"-"`                 // the hosts themselves, instead of all shares above: see FromProfile
}

// Class is a kind of host.
type Class struct {
	Name    string  `json:"name"`              // server, desktop or laptop
	Share   float64 `json:"share"`             // of the fleet
	Day     float64 `json:"day"`               // share that is online at noon, local time
	Night   float64 `json:"night"`             // and at midnight
	Silence float64 `json:"silence,omitempty"` // share that falls silent within a watch, for no reason
	Goodbye float64 `json:"goodbye,omitempty"` // share that leaves in good order within a watch
	Boots   float64 `json:"boots,omitempty"`   // a day
}

// Region is a part of the fleet with its own local time.
type Region struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
	Zone  string  `json:"zone"`
}

// Fault is what the release does to a host that activates it.
type Fault struct {
	Effect  float64  `json:"effect"`            // share of the concerned hosts that it harms; 0: a good release
	Strata  float64  `json:"strata,omitempty"`  // share of the strata that are concerned; 0 means all
	Classes []string `json:"classes,omitempty"` // concerned classes; none means all
	Delay   Duration `json:"delay,omitempty"`   // mean time from activation to harm, exponential
	AtBoot  bool     `json:"at_boot,omitempty"` // the harm comes with the next boot instead
	Reports bool     `json:"reports,omitempty"` // agent or boot guard report the harm; otherwise harmed hosts only fall silent
	After   Duration `json:"after,omitempty"`   // mean time from harm to its report
	Floor   float64  `json:"floor,omitempty"`   // share of hosts that report harm without the release being to blame
	Latent  Duration `json:"latent,omitempty"`  // from activation, before which nobody is harmed: the crash that comes after the gates
	Trigger Duration `json:"trigger,omitempty"` // from the start, before which nobody is harmed: a time bomb
	Flap    Duration `json:"flap,omitempty"`    // good and bad take turns of this length, good first: hosts get anew what is made anew
}

// Outage silences hosts for reasons of its own.
type Outage struct {
	At    Duration `json:"at"` // after the start
	For   Duration `json:"for"`
	Scope string   `json:"scope"`            // fleet, region or site
	Share float64  `json:"share"`            // of the fleet's hosts, of the sites, that are cut off
	Name  string   `json:"region,omitempty"` // of the region
}

// Repair is how people mend hosts by hand.
type Repair struct {
	Technicians float64  `json:"technicians,omitempty"` // per 1,000 harmed hosts
	PerHour     float64  `json:"per_hour,omitempty"`    // hosts that one mends in an hour
	Start       Duration `json:"start,omitempty"`       // until they begin
}

// Defences are what stands between the release and the fleet. In a file they say what the day lacked: the zero value has them all.
type Defences struct {
	NoValidation bool `json:"no_validation,omitempty"` // nothing checks the release in its real consumer
	NoRings      bool `json:"no_rings,omitempty"`      // all hosts at once
	NoBreaker    bool `json:"no_breaker,omitempty"`    // nobody halts
	NoRecovery   bool `json:"no_recovery,omitempty"`   // hosts do not come back by themselves
	Validator    bool `json:"validator,omitempty"`     // a check in the real consumer would have caught this fault
}

// Defaulted fills what the scenario leaves out.
func (s Scenario) Defaulted() Scenario {
	f := &s.Fleet
	f.Regions = slices.Clone(f.Regions)
	if len(f.Regions) == 0 {
		f.Regions = []Region{{Name: "all", Share: 1, Zone: "UTC"}}
	}
	set(&f.Sites, max(1, f.Hosts/40))
	set(&f.Tenants, max(1, f.Sites/10))
	set(&f.Strata, 1)
	set(&f.Poll, Duration(time.Minute))
	set(&f.Proving, Duration(10*time.Second))
	set(&f.Prepare, Duration(10*time.Second))
	set(&f.Soak, Duration(time.Minute))
	set(&s.Fault.Strata, 1)
	set(&s.Fault.Delay, Duration(10*time.Second))
	set(&s.Fault.After, Duration(5*time.Second))
	set(&s.Repair.Technicians, 1)
	set(&s.Repair.PerHour, 6)
	if s.Plan == "" {
		s.Plan = "content"
	}
	return s
}

func set[T comparable](field *T, v T) {
	var zero T
	if *field == zero {
		*field = v
	}
}

// Sized is the scenario on a fleet of another size: its sites and tenants become as many more or fewer, so that they keep their own size.
// Strata stay: a smaller fleet has not fewer builds. The scenario is defaulted, as is what is returned.
func (s Scenario) Sized(hosts int64) Scenario {
	f := &s.Fleet
	if f.Hosts > 0 && hosts > 0 {
		factor := float64(hosts) / float64(f.Hosts)
		f.Sites = min(max(1, int64(float64(f.Sites)*factor)), hosts)
		f.Tenants = min(max(1, int64(float64(f.Tenants)*factor)), f.Sites)
	}
	f.Hosts = hosts
	return s
}

// MaxHosts bounds a simulated fleet: twelve bytes of memory each.
const MaxHosts = 100_000_000

// Check lists everything that is wrong with a defaulted scenario, each with its path.
func (s Scenario) Check() []fault.Problem {
	var c checker
	c.require(plan.Name(s.Name), "name", "must be 1 to 63 lower-case letters, digits and dashes, is %q", s.Name)
	c.require(!s.Start.IsZero(), "start", "must say when the rollout begins, as 2024-07-19T04:09:00Z")
	c.fleet(s.Fleet)
	c.fault(s.Fault, s.Fleet)
	c.require(len(s.Outages) <= maxOutages, "outages", "are %d; %d are the most", len(s.Outages), maxOutages)
	for i, o := range s.Outages {
		c.outage(fmt.Sprintf("outages[%d]", i), o, s.Fleet)
	}
	c.day(s.Day)
	c.require(plan.Name(s.Plan), "plan", "must be the name of a plan, is %q", s.Plan)
	c.require(s.Repair.Technicians > 0 && s.Repair.PerHour > 0 && s.Repair.Start >= 0, "repair",
		"technicians and per_hour must be above 0, start not negative")
	return c.problems
}

type checker struct{ problems []fault.Problem }

func (c *checker) require(ok bool, path, format string, args ...any) {
	if !ok {
		c.problems = append(c.problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) share(path string, v float64) {
	c.require(v >= 0 && v <= 1, path, "is a share; must be between 0 and 1, is %g", v)
}

// Bounds of what can be played: a run counts seconds, and ends after days.
const (
	shortest   = Duration(time.Second)
	longest    = Duration(30 * 24 * time.Hour)
	maxOutages = 64
)

func (c *checker) positive(path string, d Duration) {
	c.require(d >= shortest && d <= longest, path, "must be between %s and %s, is %s", shortest, longest, d)
}

func (c *checker) notNegative(path string, d Duration) {
	c.require(d >= 0 && d <= longest, path, "must be between 0s and %s, is %s", longest, d)
}

func (c *checker) day(d Day) {
	c.require(d.Hosts >= 0, "day.hosts", "must not be negative, is %d", d.Hosts)
	last := DayPoint{}
	for i, p := range d.Curve {
		path := fmt.Sprintf("day.curve[%d]", i)
		c.share(path+".share", p.Share)
		c.require(p.At >= last.At && p.Share >= last.Share, path, "must not be before or below the point before it")
		last = p
	}
}

func (c *checker) fleet(f Fleet) {
	c.require(f.Hosts > 0, "fleet.hosts", "must be above 0: there is nobody to update, is %d", f.Hosts)
	c.require(f.Hosts <= MaxHosts, "fleet.hosts", "is %d; %d is the most that can be simulated", f.Hosts, MaxHosts)
	c.classes(f.Classes)
	c.regions(f.Regions)
	c.require(f.Sites > 0 && f.Sites <= max(f.Hosts, 1), "fleet.sites", "must be between 1 and the number of hosts, is %d", f.Sites)
	c.require(f.Tenants > 0 && f.Tenants <= max(f.Sites, 1), "fleet.tenants", "must be between 1 and the number of sites, is %d", f.Tenants)
	c.require(f.Strata > 0 && f.Strata <= 100_000, "fleet.strata", "must be between 1 and 100000, is %d", f.Strata)
	c.require(f.Swing >= 0 && f.Swing <= 3, "fleet.swing", "must be between 0 and 3, is %g", f.Swing)
	c.positive("fleet.poll", f.Poll)
	c.positive("fleet.proving", f.Proving)
	c.positive("fleet.prepare", f.Prepare)
	c.positive("fleet.soak", f.Soak)
}

func (c *checker) classes(classes []Class) {
	c.require(len(classes) > 0 && len(classes) <= 8, "fleet.classes", "needs 1 to 8 classes, has %d", len(classes))
	total := 0.0
	seen := map[string]bool{}
	for i, class := range classes {
		path := fmt.Sprintf("fleet.classes[%d]", i)
		c.require(class.Name != "", path+".name", "is missing; use server, desktop or laptop")
		c.require(class.Name == "" || !seen[class.Name], path+".name", "is there twice: %q", class.Name)
		seen[class.Name] = true
		c.share(path+".share", class.Share)
		c.share(path+".day", class.Day)
		c.share(path+".night", class.Night)
		c.share(path+".silence", class.Silence)
		c.share(path+".goodbye", class.Goodbye)
		c.require(class.Boots >= 0 && class.Boots <= 1000, path+".boots", "must be between 0 and 1000 a day, is %g", class.Boots)
		total += class.Share
	}
	c.require(len(classes) == 0 || total > 0.999 && total < 1.001, "fleet.classes", "shares must add up to 1, they add up to %g", total)
}

func (c *checker) regions(regions []Region) {
	total := 0.0
	for i, r := range regions {
		path := fmt.Sprintf("fleet.regions[%d]", i)
		c.share(path+".share", r.Share)
		if _, err := time.LoadLocation(r.Zone); err != nil || r.Zone == "" {
			c.require(false, path+".zone", "must be an IANA name as in Europe/Vienna, is %q", r.Zone)
		}
		total += r.Share
	}
	c.require(total > 0.999 && total < 1.001, "fleet.regions", "shares must add up to 1, they add up to %g", total)
	c.require(len(regions) <= 64, "fleet.regions", "has %d regions; 64 are the most", len(regions))
}

func (c *checker) fault(f Fault, fleet Fleet) {
	c.share("fault.effect", f.Effect)
	c.share("fault.strata", f.Strata)
	c.share("fault.floor", f.Floor)
	c.positive("fault.delay", f.Delay)
	c.positive("fault.after", f.After)
	c.notNegative("fault.latent", f.Latent)
	c.notNegative("fault.trigger", f.Trigger)
	if f.Flap != 0 {
		c.positive("fault.flap", f.Flap)
	}
	for i, name := range f.Classes {
		known := slices.ContainsFunc(fleet.Classes, func(class Class) bool { return class.Name == name })
		c.require(known, fmt.Sprintf("fault.classes[%d]", i), "the fleet has no class %q", name)
	}
	if f.AtBoot {
		boots := slices.ContainsFunc(fleet.Classes, func(class Class) bool { return class.Boots > 0 })
		c.require(boots, "fault.at_boot", "no class boots; give one of them boots a day")
	}
}

func (c *checker) outage(path string, o Outage, f Fleet) {
	c.require(slices.Contains([]string{"fleet", "region", "site"}, o.Scope), path+".scope", "must be fleet, region or site, is %q", o.Scope)
	c.share(path+".share", o.Share)
	c.notNegative(path+".at", o.At)
	c.positive(path+".for", o.For)
	if o.Scope == "region" {
		known := slices.ContainsFunc(f.Regions, func(r Region) bool { return r.Name == o.Name })
		c.require(known, path+".region", "the fleet has no region %q", o.Name)
	}
}

// String names the defences that are off.
func (d Defences) String() string {
	var off []string
	for _, defence := range []struct {
		name string
		off  bool
	}{{"validation", d.NoValidation}, {"rings", d.NoRings}, {"breaker", d.NoBreaker}, {"recovery", d.NoRecovery}} {
		if defence.off {
			off = append(off, defence.name)
		}
	}
	if off == nil {
		return "all defences on"
	}
	return "without " + strings.Join(off, ", ")
}
