package store

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func TestMemo(t *testing.T) { //nolint:paralleltest // it counts allocations
	var m memo[fleet.Labels]
	var got fleet.Labels
	const text = `{"role": "web"}`
	for _, src := range []any{text, []byte(text), text} {
		got = nil
		if err := m.into(&got).Scan(src); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fleet.Labels{"role": "web"}, got); diff != "" {
			t.Errorf("%T (-want +got):\n%s", src, diff)
		}
	}
	if allocations := testing.AllocsPerRun(100, func() { _ = m.read(text, &got) }); allocations > 0 {
		t.Errorf("got %v allocations for what is known, want none", allocations)
	}
	for _, bad := range []any{`{`, 7, nil} {
		if err := m.into(&got).Scan(bad); err == nil {
			t.Errorf("%v: got no error", bad)
		}
	}
}

// What no other endpoint says does not fill the memory.
func TestMemoIsBounded(t *testing.T) {
	t.Parallel()
	var m memo[fleet.Labels]
	var got fleet.Labels
	for i := range 50_000 {
		if err := m.read(fmt.Sprintf(`{"n": "%d"}`, i), &got); err != nil || got["n"] != fmt.Sprint(i) {
			t.Fatalf("got %v, %v, want %d", got, err, i)
		}
		if m.size > memoBytes || len(m.known) > memoBytes/200 {
			t.Fatalf("got %d bytes of %d texts, want at most %d", m.size, len(m.known), memoBytes)
		}
	}
}
