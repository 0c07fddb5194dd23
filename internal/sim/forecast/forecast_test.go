package forecast_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
	"github.com/firebreak-dev/firebreak/internal/resource"
	"github.com/firebreak-dev/firebreak/internal/sim/forecast"
	"github.com/firebreak-dev/firebreak/plans"
)

func shipped(t testing.TB, name string) plan.Plan {
	t.Helper()
	data, ok := plans.Named(name)
	if !ok {
		t.Fatalf("there is no plan %s", name)
	}
	var document struct {
		Kind string    `json:"kind"`
		Spec plan.Plan `json:"spec"`
	}
	if err := resource.Decode(data, &document); err != nil {
		t.Fatal(err)
	}
	return document.Spec.Defaulted()
}

// hosts is a fleet of a few sites, of which most hosts are heard.
func hosts(n int64) []api.FleetGroup {
	var groups []api.FleetGroup
	for i := range int64(20) {
		groups = append(groups, api.FleetGroup{
			Class: []string{"server", "desktop"}[i%2], OS: []string{"linux", "windows"}[i%2], Site: fmt.Sprint("site-", i), Tenant: "acme",
			Hosts: n / 20, Heard: n / 20 * 8 / 10,
		})
	}
	return groups
}

func now() time.Time { return time.Date(2026, time.November, 20, 12, 0, 0, 0, time.UTC) }

func play(t *testing.T, f *forecast.Forecaster, p plan.Plan, groups []api.FleetGroup) api.Forecast {
	t.Helper()
	answer, err := f.Forecast(t.Context(), p, groups)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestForecast(t *testing.T) {
	t.Parallel()
	wanted := shipped(t, "emergency")
	got := play(t, forecast.New(clock.At(now())), wanted, hosts(200))
	if got.Plan != "emergency" || got.Hosts != 200 || got.Fleet != 200 || got.Bound != wanted.Bound().Hosts || !got.Taken.Equal(now()) || len(got.Cases) != 4 {
		t.Errorf("got %+v", got)
	}
	for _, k := range got.Cases {
		if k.Runs == 0 || k.Stopped+k.Frozen > k.Runs || k.P99 < int64(k.Mean) || k.Stopped > 0 && k.Minutes <= 0 {
			t.Errorf("%s does not add up: %+v", k.Name, k)
		}
	}
	for i, most := range []float64{3, 8} { // what harms every host is found in the first ring
		if k := got.Cases[i]; k.Runs != 10 || k.Stopped != k.Runs || k.Mean < 1 || k.Mean > most {
			t.Errorf("%s: got %+v, want all of 10 runs stopped with 1 to %g harmed", k.Name, k, most)
		}
	}
	if crash, silence := got.Cases[0], got.Cases[1]; crash.Minutes >= silence.Minutes {
		t.Errorf("crashes stop it after %.1f minutes, silence after %.1f; want bad news to travel faster", crash.Minutes, silence.Minutes)
	}
	if diff := cmp.Diff(got, play(t, forecast.New(clock.At(now())), wanted, hosts(200))); diff != "" {
		t.Errorf("played again (-once +again):\n%s", diff)
	}
}

// A fleet of any size is played within the time that somebody waits; under every plan that comes with Firebreak.
func TestLargeFleetsArePlayedSmaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // it takes seconds; a day of simulated time on all hosts would not fit
	defer cancel()
	names := []string{"emergency"}
	if fulltest.Asked() {
		names = plans.Names()
	}
	for _, name := range names {
		got, err := forecast.New(clock.At(now())).Forecast(ctx, shipped(t, name), hosts(8_500_000))
		if err != nil {
			t.Fatal(err)
		}
		if got.Fleet != 8_500_000 || got.Hosts != 10_000 {
			t.Errorf("%s: played %d hosts of %d, want 10,000 of 8,500,000", name, got.Hosts, got.Fleet)
		}
	}
}

func TestWhatWasPlayedIsToldAgain(t *testing.T) {
	t.Parallel()
	stands := clock.At(now())
	f := forecast.New(stands)
	wanted := shipped(t, "emergency")
	first := play(t, f, wanted, hosts(200))
	stands.Move(59 * time.Minute)

	slept := hosts(200)
	slept[3].Heard--
	again := play(t, f, wanted, slept)
	if !again.Taken.Equal(first.Taken) {
		t.Errorf("one host of 200 sleeps: played anew at %s, want what was played at %s", again.Taken, first.Taken)
	}
	again.Cases[0].Mean = 1e9
	if got := play(t, f, wanted, hosts(200)); got.Cases[0].Mean == 1e9 {
		t.Error("an answer shares memory with what is remembered")
	}
	if grown := play(t, f, wanted, hosts(400)); grown.Taken.Equal(first.Taken) || grown.Fleet != 400 {
		t.Errorf("a fleet of twice the size: got the forecast of %s for %d hosts", grown.Taken, grown.Fleet)
	}
	slower := wanted
	slower.Window.Max++
	if got := play(t, f, slower, hosts(200)); got.Taken.Equal(first.Taken) {
		t.Error("another plan of the same name: got the forecast of the first")
	}
	stands.Move(time.Minute)
	if got := play(t, f, wanted, hosts(200)); got.Taken.Equal(first.Taken) {
		t.Error("after an hour it is told again, want it played anew")
	}
}

func TestAFleetThatNobodyHearsCannotBePlayed(t *testing.T) {
	t.Parallel()
	quiet := hosts(200)
	for i := range quiet {
		quiet[i].Heard = 0
	}
	for name, groups := range map[string][]api.FleetGroup{"nobody": nil, "all silent": quiet} {
		_, err := forecast.New(clock.At(now())).Forecast(t.Context(), shipped(t, "emergency"), groups)
		if fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s: got %v, want a conflict", name, err)
		}
	}
}

func TestWhoGivesUpFreesTheTurn(t *testing.T) {
	t.Parallel()
	f := forecast.New(clock.At(now()))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, err := f.Forecast(ended, shipped(t, "emergency"), hosts(200)); fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("got %v, want it unavailable", err)
		}
	}
	play(t, f, shipped(t, "emergency"), hosts(200))
}
