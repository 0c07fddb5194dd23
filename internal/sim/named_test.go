package sim_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/sim"
	"github.com/firebreak-dev/firebreak/plans"
)

func TestNames(t *testing.T) {
	t.Parallel()
	want := []string{
		"azure-2025-10-29", "bitdefender-2010-03-20", "cloudflare-2019-07-02", "cloudflare-2025-11-18", "cloudflare-2025-12-05",
		"crowdstrike-2024-07-19", "crowdstrike-linux-2024-04", "datadog-2023-03-08", "facebook-2021-10-04", "google-2025-06-12",
		"malwarebytes-2013-04-15", "mcafee-2010-04-21", "panda-2015-03-11", "rogers-2022-07-08", "sentinelone-2025-05-29",
		"sophos-2012-09-19", "webroot-2017-04-24",
	}
	if diff := cmp.Diff(want, sim.Names()); diff != "" {
		t.Errorf("scenarios differ (-want +got):\n%s", diff)
	}
}

// Each file says what its figures rest on, for people too, and can be played on the plan that it names.
func TestNamedScenarios(t *testing.T) {
	t.Parallel()
	for _, name := range sim.Names() {
		s, err := sim.Named(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Name != name {
			t.Errorf("%s.yaml: got the name %q", name, s.Name)
		}
		if s.Title == "" || s.Text == "" || s.Stopped == "" {
			t.Errorf("%s: got title %q, text %q, stopped %q, want all of them said", name, s.Title, s.Text, s.Stopped)
		}
		if _, ok := plans.Named(s.Plan); !ok {
			t.Errorf("%s: got the plan %q, which does not come with Firebreak", name, s.Plan)
		}
		day := s.Start.Format("2006-01-02")
		if !strings.Contains(name, day) && !strings.Contains(name, day[:len("2006-01")]) {
			t.Errorf("%s: starts on %s", name, day)
		}
		source, err := sim.Source(name)
		if err != nil {
			t.Error(err)
		}
		for _, mark := range []string{"[V]", "[A]"} {
			if !strings.Contains(string(source), mark) {
				t.Errorf("%s: nothing is marked %s: it must say what was read and what is assumed", name, mark)
			}
		}
		if len(s.Day.Curve) > 0 && s.Day.Source == "" {
			t.Errorf("%s: the curve of the day has no source", name)
		}
	}
}

func TestNamedUnknown(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "nothing", "../named", "crowdstrike-2024-07-19.yaml"} {
		_, err := sim.Named(name)
		if fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.NextOf(err), "crowdstrike-2024-07-19") {
			t.Errorf("scenario %q: got %v, hint %q, want not found and the names that there are", name, err, fault.NextOf(err))
		}
	}
}

// All mistakes of a file are told at once and always in the same order, each with file, line and path.
func TestLoadMistakes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".txt")
		if err != nil {
			t.Error(err)
		}
		for range 5 {
			_, err = sim.Load(filepath.Base(file), data)
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: got %v, want an invalid input", file, err)
			}
			if diff := cmp.Diff(strings.TrimSpace(string(want)), fmt.Sprint(err)); diff != "" {
				t.Fatalf("%s: mistakes differ (-want +got):\n%s", file, diff)
			}
		}
	}
}

// A fleet of another size keeps the size of its sites and tenants.
func TestSized(t *testing.T) {
	t.Parallel()
	s, err := sim.Named("crowdstrike-2024-07-19")
	if err != nil {
		t.Fatal(err)
	}
	for _, hosts := range []int64{1, 39, 1000, 20_000_000} {
		small := s.Sized(hosts)
		if problems := small.Check(); len(problems) > 0 {
			t.Errorf("%d hosts: got %v", hosts, problems)
		}
		if want := max(1, hosts/40); small.Fleet.Hosts != hosts || small.Fleet.Sites != want || small.Fleet.Tenants != max(1, want/10) {
			t.Errorf("%d hosts: got %d hosts, %d sites, %d tenants", hosts, small.Fleet.Hosts, small.Fleet.Sites, small.Fleet.Tenants)
		}
	}
	if problems := s.Sized(0).Check(); len(problems) == 0 {
		t.Error("got a fleet of no hosts accepted")
	}
}

// A scenario that is accepted can be played: no value of it makes the simulator fail or run for ever.
func FuzzLoad(f *testing.F) {
	for _, name := range sim.Names() {
		source, err := sim.Source(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	f.Add([]byte("kind: Scenario\nspec: {name: x, start: 2024-07-19T04:09:00Z, fleet: {hosts: 1, classes: [{name: a, share: 1}]}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := sim.Load("fuzz.yaml", data)
		if err != nil {
			if len(fault.ProblemsOf(err)) == 0 {
				t.Errorf("got %v, want its problems listed", err)
			}
			return
		}
		if problems := s.Check(); len(problems) > 0 {
			t.Errorf("accepted with %v", problems)
		}
		s = s.Sized(min(s.Fleet.Hosts, 50))
		s.Fleet.Strata = min(s.Fleet.Strata, 10)
		s.Defences.NoValidation = true
		play(t, s, 1, time.Hour)
	})
}

func play(t *testing.T, s sim.Scenario, seed uint64, horizon time.Duration) sim.Result {
	t.Helper()
	r, err := sim.Run(t.Context(), s, shipped(t, "content"), seed, sim.Options{Horizon: horizon})
	if err != nil {
		t.Fatal(err)
	}
	if r.Harmed > r.Exposed || r.Exposed > s.Fleet.Hosts || r.NeedsHands > r.Harmed {
		t.Errorf("got %d harmed, %d of them for hands, of %d exposed, of %d hosts", r.Harmed, r.NeedsHands, r.Exposed, s.Fleet.Hosts)
	}
	return r
}

// The control plane is away for seven hours, from the middle of a bake or of a ring. Nothing trips, nobody gets a lease meanwhile, and
// afterwards the rollout goes on.
func TestControlPlaneAway(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Duration{10 * time.Minute, 30 * time.Minute} {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			s, err := sim.Named("sentinelone-2025-05-29")
			if err != nil {
				t.Fatal(err)
			}
			s = s.Sized(100_000)
			s.Fleet.Strata = 1
			s.Outages[0].At = sim.Duration(at)
			from := s.Start.Add(at + time.Minute)
			leases := leasesAround(t, s, from, from.Add(7*time.Hour-time.Minute))
			if leases[0] == 0 || leases[1] > 0 || leases[2] == 0 {
				t.Errorf("got %d leases before the outage, %d during and %d after it", leases[0], leases[1], leases[2])
			}
		})
	}
}

// leasesAround plays a good release and counts its leases before, during and after a time.
func leasesAround(t *testing.T, s sim.Scenario, from, to time.Time) [3]int {
	t.Helper()
	var leases [3]int
	tape := func(e rollout.Event, _ rollout.State, effects []rollout.Effect) {
		for _, effect := range effects {
			if _, granted := effect.(rollout.GrantLease); !granted {
				continue
			}
			switch at := e.When(); {
			case at.Before(from):
				leases[0]++
			case at.Before(to):
				leases[1]++
			default:
				leases[2]++
			}
		}
	}
	r, err := sim.Run(t.Context(), s, shipped(t, s.Plan), 1, sim.Options{Horizon: 12 * time.Hour, Tape: tape})
	if err != nil {
		t.Fatal(err)
	}
	if r.Halted || r.Held > 0 || r.Harmed > 0 || r.Done == 0 {
		t.Errorf("got %+v, want a good update that is neither halted nor held, and is done", r)
	}
	return leases
}

// What a rollout cannot do: a fault that sleeps until everybody has it harms everybody. What is left is recovery.
func TestTimeBomb(t *testing.T) {
	t.Parallel()
	s, err := sim.Named("google-2025-06-12")
	if err != nil {
		t.Fatal(err)
	}
	s = s.Sized(4000)
	s.Fleet.Sites = 1 // no cap on what is the whole fleet: in so small a one the caps leave no room for the early ring
	s.Fault.Trigger = sim.Duration(8 * time.Hour)
	r := play(t, s, 1, 12*time.Hour)
	if r.Harmed < s.Fleet.Hosts*8/10 || r.NeedsHands > 0 {
		t.Errorf("got %d of %d harmed and %d for hands, want nearly all and none: %s after %g min, %d exposed",
			r.Harmed, s.Fleet.Hosts, r.NeedsHands, r.Phase, r.ToHalt, r.Exposed)
	}
	s.Fault.Trigger = sim.Duration(20 * time.Minute)
	if r := play(t, s, 1, 12*time.Hour); !r.Halted || r.Harmed > 100 {
		t.Errorf("got %d harmed, halted %t, want at most the first ring when the bomb goes off early", r.Harmed, r.Halted)
	}
}
