package storetest

import (
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/store"
)

func deltaTests() []test {
	return []test{
		{"deltas are kept by artifact, base and form, the shortest first", func(t *testing.T, s *store.Store) {
			long := store.Delta{Artifact: digest("3"), Base: digest("1"), Form: "windows", Blob: digest("1-3"), Size: 900}
			short := store.Delta{Artifact: digest("3"), Base: digest("2"), Form: "windows", Blob: digest("2-3"), Size: 100}
			none := store.Delta{Artifact: digest("3"), Form: "zstd", Blob: digest("-3"), Size: 5000}
			other := store.Delta{Artifact: digest("2"), Base: digest("1"), Form: "dcz", Blob: digest("1-2"), Size: 7}
			for _, d := range []store.Delta{none, long, other, short} {
				ok(t, s.PutDelta(t.Context(), d))
			}
			ok(t, s.PutDelta(t.Context(), short)) // again
			long.Blob, long.Size = digest("better"), 800
			ok(t, s.PutDelta(t.Context(), long))
			same(t, must[[]store.Delta](t)(s.Deltas(t.Context(), digest("3"))), []store.Delta{short, long, none})
			same(t, len(must[[]store.Delta](t)(s.Deltas(t.Context(), ""))), 4)
			same(t, len(must[[]store.Delta](t)(s.Deltas(t.Context(), digest("9")))), 0)
		}},
		{"deltas go with either end", func(t *testing.T, s *store.Store) {
			to := store.Delta{Artifact: digest("2"), Base: digest("1"), Form: "dcz", Blob: digest("1-2"), Size: 7}
			from := store.Delta{Artifact: digest("3"), Base: digest("2"), Form: "dcz", Blob: digest("2-3"), Size: 7}
			stays := store.Delta{Artifact: digest("3"), Base: digest("1"), Form: "dcz", Blob: digest("1-3"), Size: 7}
			for _, d := range []store.Delta{to, from, stays} {
				ok(t, s.PutDelta(t.Context(), d))
			}
			ok(t, s.DropDeltas(t.Context(), digest("2")))
			same(t, must[[]store.Delta](t)(s.Deltas(t.Context(), "")), []store.Delta{stays})
		}},
	}
}
