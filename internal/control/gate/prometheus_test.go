package gate

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
)

// FuzzParse: whatever Prometheus answers, parse does not panic, gives no samples beside an error, and none that the answer does not hold.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1435781451.781,"0.5"]}]}}`,
		`{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1"}]}]}}`,
		`{"status":"success","warnings":["w"],"data":{"resultType":"vector","result":[]}}`,
		`{"status":"error","errorType":"bad_data","error":"e"}`, `{"data":{"result":[[]]}}`, `[]`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		samples, err := parse(body)
		if err != nil && (len(samples) > 0 || err.Error() == "") {
			t.Errorf("got %v beside the error %q", samples, err)
		}
		if len(samples) == 0 {
			return
		}
		if !json.Valid(body) || strings.Count(string(body), `"`) < 2*len(samples) {
			t.Errorf("got %v of %q", samples, body)
		}
		limit := math.Inf(1)
		if result := (evidence.Gate{Below: &limit}).Judge(samples); result.Text == "" {
			t.Errorf("got %+v, which says nothing", result)
		}
	})
}

// A server runs for months and sees many plans: what nobody asks about any more is forgotten.
func TestOldAnswersAreForgotten(t *testing.T) {
	t.Parallel()
	now := clock.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	g, err := New(Options{Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	const asking = 1
	for i := range 100 {
		s := g.find(question{query: strings.Repeat("x", i+1)})
		s.asked = now.Now()
		if i != asking {
			g.leave(s)
		}
	}
	if got := len(g.seen); got != 100 {
		t.Errorf("got %d answers at first, want 100", got)
	}
	now.Move(Freshness)
	g.leave(g.find(question{query: "up"}))
	if got := len(g.seen); got != 2 {
		t.Errorf("got %d answers afterwards, want the new one and the one that is still in use", got)
	}
}
