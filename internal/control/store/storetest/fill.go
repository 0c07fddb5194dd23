package storetest

import (
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Fill writes something into every table of a store.
func Fill(t testing.TB, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	ok(t, s.PutToken(ctx, token("t1")))
	ok(t, s.PutComponent(ctx, component("sensor-content")))
	ok(t, s.PutPlan(ctx, somePlan("careful"), now))
	ok(t, s.PutSetting(ctx, "k", "é\x01"))
	ok(t, s.SaveMetadata(ctx, map[string][]byte{"1.root.json": {0, 1, 0xff}, "empty": {}}, []release.Published{published("sensor-content", "v2", 2)}))
	ok(t, s.PutEndpoint(ctx, endpoint("ep-1")))
	ok(t, s.PutEndpoint(ctx, endpoint("ep-2")))
	must[int64](t)(s.AddReports(ctx, "ep-1", now, reports(1, 2, 3)))
	ok(t, s.AddHearings(ctx, "a", now, []byte{1, 0}))
	ok(t, s.Commit(ctx, commit("r1", 1)))
	ok(t, s.Commit(ctx, full("r1", 2)))
	ok(t, s.PutDirective(ctx, directive("sensor-content", 3)))
	must[[]byte](t)(s.ClaimAnswer(ctx, store.Keyed{Token: "t1", Key: "k1", Sum: []byte{1}, At: now}))
	ok(t, s.PutDelta(ctx, store.Delta{Artifact: digest("a"), Base: digest("b"), Form: "f", Blob: digest("c"), Size: 5}))
	ok(t, s.PutSession(ctx, session("s1", "t1"), nil))
	ok(t, s.AddAudit(ctx, deed(1, "alice", "halt", "rollout r1")))
	ok(t, s.AddSamples(ctx, []store.Sample{sample(0, "sensor-content", "v2", 3)}))
}
