package forecast

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

func TestScaleKeepsShares(t *testing.T) {
	t.Parallel()
	groups := []api.FleetGroup{
		{Site: "a", Hosts: 50_000, Heard: 25_000}, {Site: "b", Hosts: 30_000, Heard: 30_000}, {Site: "c", Hosts: 19_999, Heard: 1}, {Site: "d", Hosts: 1, Heard: 1},
	}
	want := []api.FleetGroup{{Site: "a", Hosts: 50, Heard: 25}, {Site: "b", Hosts: 30, Heard: 30}, {Site: "c", Hosts: 20}}
	if diff := cmp.Diff(want, scale(groups, 100)); diff != "" {
		t.Errorf("scaled to 100 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(groups, scale(groups, 100_000)); diff != "" {
		t.Errorf("a fleet that fits has changed:\n%s", diff)
	}
	var dust []api.FleetGroup
	for range 1000 {
		dust = append(dust, api.FleetGroup{Hosts: 1, Heard: 1})
	}
	if got := scale(dust, 10); len(got) != 10 || sizeOf(got) != 10 {
		t.Errorf("1,000 single hosts scaled to 10: got %d groups with %d hosts", len(got), sizeOf(got))
	}
}

func TestRounded(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]int64{0: 0, 7: 7, 99: 99, 100: 100, 104: 100, 105: 110, 999: 1000, 8_512_345: 8_500_000} {
		if got := rounded(n); got != want {
			t.Errorf("%d: got %d, want %d", n, got, want)
		}
	}
}

func TestTheLeastWantedIsForgotten(t *testing.T) {
	t.Parallel()
	var m memory
	at := time.Unix(0, 0)
	for i := range mostKept {
		m.put(fmt.Sprint(i), api.Forecast{Taken: at})
	}
	if _, ok := m.get("0", at); !ok {
		t.Error("the first of as many as fit is gone")
	}
	m.put("one more", api.Forecast{Taken: at})
	if _, ok := m.get("0", at); !ok {
		t.Error("what was asked for a moment ago is gone")
	}
	if _, ok := m.get("1", at); ok || len(m.kept) != mostKept {
		t.Errorf("%d are kept and the one that nobody asked for is there: %v", len(m.kept), ok)
	}
}

func TestOneAtATimeAndFewWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := New(clock.At(time.Unix(0, 0)))
		done, err := f.wait(t.Context(), plan.Plan{})
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan int, mostWaiting)
		for i := range mostWaiting {
			go func() {
				end, err := f.wait(t.Context(), plan.Plan{})
				if err != nil {
					t.Error(err)
					return
				}
				order <- i
				end()
			}()
		}
		synctest.Wait()
		if len(order) > 0 {
			t.Error("two play at once")
		}
		if _, err := f.wait(t.Context(), plan.Plan{}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("one more than may wait: got %v, want it unavailable", err)
		}
		done()
		synctest.Wait()
		if len(order) != mostWaiting {
			t.Errorf("%d of %d who waited have played", len(order), mostWaiting)
		}
	})
}
