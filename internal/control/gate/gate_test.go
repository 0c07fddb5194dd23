package gate_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/gate"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// serve starts a server for the test and gives its base URL.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// answers is a handler that says always the same.
func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func open(t *testing.T, o gate.Options) *gate.Gates {
	t.Helper()
	if o.Clock == nil {
		o.Clock = clock.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	}
	gates, err := gate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return gates
}

func host(t *testing.T, base string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func query(text string) evidence.Gate {
	limit := 0.01
	return evidence.Gate{Name: "errors", Query: text, Below: &limit}
}

func check(where string) evidence.Gate { return evidence.Gate{Name: "health", URL: where} }

func vector(values ...string) string {
	elements := make([]string, len(values))
	for i, v := range values {
		elements[i] = fmt.Sprintf(`{"metric":{"instance":"i%d"},"value":[1435781451.781,%q]}`, i, v)
	}
	return success("vector", "["+strings.Join(elements, ",")+"]")
}

func success(kind, result string) string {
	return fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, result)
}

func TestQueries(t *testing.T) {
	t.Parallel()
	huge := vector(slices.Repeat([]string{"0"}, 20_000)...)
	for name, test := range map[string]struct {
		status int
		body   string
		ok     bool
		text   string
	}{
		"one sample":            {200, vector("0.003"), true, "0.003"},
		"three samples":         {200, vector("0.003", "0", "0.001"), true, "0 to 0.003 in 3 samples"},
		"one of three too high": {200, vector("0.003", "0.2", "0.001"), false, "0.001 to 0.2 in 3 samples"},
		"scalar":                {200, success("scalar", `[1435781451.781,"0.003"]`), true, "0.003"},
		"scalar too high":       {200, success("scalar", `[1435781451.781,"1"]`), false, "1"},
		"exponent":              {200, vector("1e-05"), true, "1e-05"},
		"infos": {
			200, strings.Replace(vector("0"), `"data"`, `"infos":["metric might not be a counter"],"data"`, 1),
			true, "0",
		},
		"empty":      {200, vector(), false, "no data"},
		"null":       {200, success("vector", "null"), false, "no data"},
		"NaN":        {200, vector("NaN"), false, "no data: a sample is NaN"},
		"one NaN":    {200, vector("0", "NaN"), false, "no data: a sample is NaN"},
		"infinite":   {200, vector("-Inf"), false, "no data: a sample is -Inf"},
		"scalar NaN": {200, success("scalar", `[1435781451.781,"NaN"]`), false, "no data: a sample is NaN"},
		"matrix": {
			200, success("matrix", `[]`),
			false, `no data: the query gives a "matrix"; a gate needs a vector or a scalar`,
		},
		"string": {
			200, success("string", `[1,"0"]`),
			false, `no data: the query gives a "string"; a gate needs a vector or a scalar`,
		},
		"histogram": {
			200, success("vector", `[{"metric":{},"histogram":[1,{"count":"1","sum":"0"}]}]`),
			false, "no data: the query gives a histogram; a gate needs numbers",
		},
		"a bare number":        {200, success("vector", `[{"metric":{},"value":[1,0]}]`), false, "no data: a sample has no value"},
		"a sample without one": {200, success("vector", `[{"metric":{},"value":[1]}]`), false, "no data: a sample has no value"},
		"no number":            {200, vector("few"), false, `no data: a sample is "few", which is no number`},
		"too large a number":   {200, vector("-1e999"), false, `no data: a sample is "-1e999", which is no number`},
		"not a vector":         {200, success("vector", `{}`), false, "no data: the query's vector cannot be read"},
		"not a scalar":         {200, success("scalar", `{}`), false, "no data: the query's scalar cannot be read"},
		"warnings": {
			200, strings.Replace(vector("0"), `"data"`, `"warnings":["store a is away","b too"],"data"`, 1),
			false, "no data: Prometheus warns: store a is away; b too",
		},
		"error": {
			400, `{"status":"error","errorType":"bad_data","error":"parse error:\n\u001b[31munexpected end"}`,
			false, "no data: Prometheus says bad_data: parse error:  [31munexpected end",
		},
		"error in a 200": {
			200, `{"status":"error","errorType":"timeout","error":"too slow","data":{"resultType":"scalar","result":[1,"0"]}}`,
			false, "no data: Prometheus says timeout: too slow",
		},
		"success in a 503": {503, vector("0"), false, "no data: Prometheus answered 503 Service Unavailable"},
		"a page in a 502":  {502, "<html>", false, "no data: Prometheus answered 502 Bad Gateway"},
		"a page":           {200, "<html>", false, "no data: what Prometheus answered is not the JSON of its API"},
		"nothing":          {200, "", false, "no data: what Prometheus answered is not the JSON of its API"},
		"half":             {200, vector("0")[:40], false, "no data: what Prometheus answered is not the JSON of its API"},
		"no status": {
			200, `{"data":{"resultType":"scalar","result":[1,"0"]}}`,
			false, `no data: Prometheus answered the status ""`,
		},
		"huge": {
			200, huge,
			false, "no data: Prometheus answered more than 1048576 bytes; make the query give fewer samples",
		},
		"a long error": {
			400, `{"status":"error","errorType":"x","error":"` + strings.Repeat("é", 900) + `"}`,
			false, "no data: Prometheus says x: " + strings.Repeat("é", 171) + "…",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := serve(t, answers(test.status, test.body))
			got := open(t, gate.Options{Prometheus: base}).Ask(t.Context(), []evidence.Gate{query("up")})
			want := []evidence.GateResult{{Name: "errors", OK: test.ok, Text: test.text}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("results differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestQueryIsPostedToTheAPI(t *testing.T) {
	t.Parallel()
	text := `sum(rate(errors_total{job="a&b"}[5m])) / 2`
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got := []string{r.Method, r.URL.String(), r.PostFormValue("query"), r.PostFormValue("timeout"), user, password}
		want := []string{http.MethodPost, "/behind/api/v1/query", text, "5000ms", "reader", "secret"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("request differs (-want +got):\n%s", diff)
		}
		answers(200, vector("0"))(w, r)
	})
	base = strings.Replace(base, "http://", "http://reader:secret@", 1) + "/behind/"
	if got := open(t, gate.Options{Prometheus: base}).Ask(t.Context(), []evidence.Gate{query(text)}); !got[0].OK {
		t.Errorf("got %+v, want OK", got)
	}
}

// endless answers until the other side has enough.
func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return
		}
	}
}

func TestEndlessAnswersAreCutOff(t *testing.T) {
	t.Parallel()
	got := open(t, gate.Options{Prometheus: serve(t, endless)}).Ask(t.Context(), []evidence.Gate{query("up")})[0]
	if got.OK || !strings.Contains(got.Text, "more than 1048576 bytes") {
		t.Errorf("got %+v, want the answer cut off", got)
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		ok      bool
		text    string
	}{
		"200":       {answers(200, "well"), true, "answered 200 OK"},
		"204":       {answers(204, ""), true, "answered 204 No Content"},
		"299":       {answers(299, ""), true, "answered 299"},
		"404":       {answers(404, ""), false, "answered 404 Not Found"},
		"503":       {answers(503, ""), false, "answered 503 Service Unavailable"},
		"huge body": {endless, true, "answered 200 OK"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ready" {
				http.Redirect(w, r, "/login", http.StatusFound)
			}
		}, false, "answered 302 Found, and redirects are not followed"},
		"no answer": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "no data: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := serve(t, test.handler)
			got := open(t, gate.Options{Allowed: []string{host(t, base)}}).Ask(t.Context(), []evidence.Gate{check(base + "/ready")})
			if diff := cmp.Diff([]evidence.GateResult{{Name: "health", OK: test.ok, Text: test.text}}, got); diff != "" {
				t.Errorf("results differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 128<<10)) })
	got := open(t, gate.Options{Allowed: []string{host(t, base)}}).Ask(t.Context(), []evidence.Gate{check(base)})[0]
	if got.OK || !strings.Contains(got.Text, "headers exceeded") {
		t.Errorf("got %+v, want the headers refused", got)
	}
}

// A redirect must not lead the server where the list does not, for a query as for a check.
func TestRedirectsLeadNowhere(t *testing.T) {
	t.Parallel()
	inner := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s inside", r.URL) })
	outer := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inner+"/admin", http.StatusTemporaryRedirect)
	})
	gates := open(t, gate.Options{Prometheus: outer, Allowed: []string{host(t, outer)}})
	want := []evidence.GateResult{
		{Name: "errors", Text: "no data: Prometheus answered 307 Temporary Redirect, and redirects are not followed"},
		{Name: "health", Text: "answered 307 Temporary Redirect, and redirects are not followed"},
	}
	if diff := cmp.Diff(want, gates.Ask(t.Context(), []evidence.Gate{query("up"), check(outer)})); diff != "" {
		t.Errorf("results differ (-want +got):\n%s", diff)
	}
}

// recorder is a transport that notes who was asked and answers 200.
type recorder struct {
	mu    sync.Mutex
	asked []string
}

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, request.URL.String())
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: request}, nil
}

func TestOnlyAllowedHostsAreAsked(t *testing.T) {
	t.Parallel()
	allowed := []string{"status.example.com", "Other.example.com:8080", "[::1]:9090"}
	for where, ok := range map[string]bool{
		"http://status.example.com/":            true,
		"https://status.example.com/ready?a=b":  true,
		"HTTP://STATUS.example.com:80/":         true,
		"https://status.example.com:443/":       true,
		"http://other.example.com:8080/":        true,
		"http://[::1]:9090/":                    true,
		"http://status.example.com:443/":        true,
		"http://status.example.com:22/":         false,
		"http://other.example.com/":             false,
		"https://other.example.com:8081/":       false,
		"http://[::1]/":                         false,
		"http://127.0.0.1/":                     false,
		"http://169.254.169.254/latest/":        false,
		"http://a.status.example.com/":          false,
		"http://status.example.com.evil.net/":   false,
		"http://status.example.com@evil.net/":   false,
		"http://evil.net/?status.example.com":   false,
		"http://evil.net#status.example.com":    false,
		"http://evil.net\\@status.example.com/": false,
		"http://u:p@status.example.com/":        false,
		"ftp://status.example.com/":             false,
		"//status.example.com/":                 false,
		"":                                      false,
	} {
		asked := &recorder{}
		gates := open(t, gate.Options{Allowed: allowed, Transport: asked})
		got := gates.Ask(t.Context(), []evidence.Gate{check(where)})[0]
		if got.OK != ok || len(asked.asked) > 0 != ok || got.Text == "" {
			t.Errorf("%s: got %+v after asking %q, want OK %t", where, got, asked.asked, ok)
		}
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	asked := &recorder{}
	gates := open(t, gate.Options{Transport: asked})
	both := evidence.Gate{Name: "both", Query: "up", URL: "http://a"}
	got := gates.Ask(t.Context(), []evidence.Gate{query("up"), check("https://status.example.com/"), both})
	want := []evidence.GateResult{
		{Name: "errors", Text: "no Prometheus is configured; start the server with --prometheus URL"},
		{Name: "health", Text: "status.example.com:443 is not allowed; start the server with --gate-host status.example.com:443"},
		{Name: "both", Text: "the gate must have either a query or a url"},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(asked.asked) > 0 {
		t.Errorf("results differ after asking %q (-want +got):\n%s", asked.asked, diff)
	}
}

func TestNewListsMistakes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options gate.Options
		want    []string
	}{
		"nothing": {gate.Options{}, nil},
		"sound": {
			gate.Options{Prometheus: "https://p.example.com/prometheus", Allowed: []string{"a", "a:1", "127.0.0.1:80", "[::1]"}}, nil,
		},
		"prometheus": {gate.Options{Prometheus: "p.example.com:secret"}, []string{"prometheus"}},
		"a query":    {gate.Options{Prometheus: "http://p.example.com/?secret"}, []string{"prometheus"}},
		"no host":    {gate.Options{Prometheus: "http:///secret"}, []string{"prometheus"}},
		"no http":    {gate.Options{Prometheus: "file:///secret"}, []string{"prometheus"}},
		"all hosts": {
			gate.Options{Allowed: []string{"", ":80", "a:", "http://a", "a/b", "u@a", "a b", "a?b"}},
			slices.Repeat([]string{"gate-host"}, 8),
		},
		"everything": {gate.Options{Prometheus: "secret", Allowed: []string{":"}}, []string{"prometheus", "gate-host"}},
	} {
		test.options.Clock = clock.Wall{}
		_, err := gate.New(test.options)
		var got []string
		for _, problem := range fault.ProblemsOf(err) {
			got = append(got, problem.Path)
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v, problems differ (-want +got):\n%s", name, err, diff)
		}
	}
	if _, err := gate.New(gate.Options{}); fault.KindOf(err) != fault.Internal || err == nil {
		t.Errorf("got error %v without a clock, want an internal fault", err)
	}
}

// hangs is a transport that answers nobody: it waits for the end of the request. Inside a synctest bubble no time passes for real.
type hangs struct{ started, most, now atomic.Int64 }

func (h *hangs) RoundTrip(request *http.Request) (*http.Response, error) {
	h.started.Add(1)
	now := h.now.Add(1)
	defer h.now.Add(-1)
	for most := h.most.Load(); now > most && !h.most.CompareAndSwap(most, now); most = h.most.Load() {
	}
	<-request.Context().Done()
	return nil, request.Context().Err()
}

func many(n int) []evidence.Gate {
	gates := make([]evidence.Gate, n)
	for i := range gates {
		gates[i] = query(fmt.Sprintf("up{n=%q}", fmt.Sprint(i)))
	}
	return gates
}

func TestTimeoutEndsAQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, wall := &hangs{}, clock.Wall{}
		gates, start := open(t, gate.Options{Prometheus: "http://p", Transport: asked, Clock: wall}), wall.Now()
		for i, got := range gates.Ask(t.Context(), many(20)) {
			if want := (evidence.GateResult{Name: "errors", Text: "no data: no answer within 5s"}); got != want {
				t.Errorf("gate %d: got %+v, want %+v", i, got, want)
			}
		}
		if took := wall.Now().Sub(start); took != 15*time.Second || asked.most.Load() != gate.AtOnce {
			t.Errorf("got %d at once in %s, want %d in 15s: three batches of at most eight", asked.most.Load(), took, gate.AtOnce)
		}
	})
}

// A caller who leaves ends their questions at once, those that wait for their turn as well; and what they gave up does not stand.
func TestCallerMayLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, wall := &hangs{}, clock.Wall{}
		gates, start := open(t, gate.Options{Prometheus: "http://p", Transport: asked, Clock: wall}), wall.Now()
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			for i, got := range gates.Ask(ctx, append(many(20), many(20)...)) {
				want := "no data: gave up before the answer: context deadline exceeded"
				if got.OK || got.Text != want {
					t.Errorf("gate %d: got %+v, want %q", i, got, want)
				}
			}
			cancel()
		}
		if took := wall.Now().Sub(start); took != 2*time.Second || asked.started.Load() != 2*gate.AtOnce {
			t.Errorf("got %d questions in %s, want %d in 2s", asked.started.Load(), took, 2*gate.AtOnce)
		}
	})
}

// The same question is asked once in 15 seconds, by however many at a time and with whatever bounds, and failures stand as long.
func TestAnswersStandForAWhile(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{"answer": answers(200, vector("0.005")), "failure": answers(500, "")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				answer(w, r)
			})
			now := clock.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			gates := open(t, gate.Options{Prometheus: base, Clock: now})
			strict, limit := query("up"), 0.001
			strict.Below = &limit
			look := func(want int64) {
				t.Helper()
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						got := gates.Ask(t.Context(), []evidence.Gate{query("up"), strict, query("up")})
						if well := name == "answer"; got[0].OK != well || got[1].OK || got[2].OK != well {
							t.Errorf("got %+v, want the bounds of each gate", got)
						}
					})
				}
				all.Wait()
				if got := asked.Load(); got != want {
					t.Errorf("got %d questions, want %d", got, want)
				}
			}
			look(1)
			now.Move(gate.Freshness - time.Nanosecond)
			look(1)
			now.Move(time.Nanosecond)
			look(2)
			now.Move(-time.Hour) // a clock that was set back makes no answer fresh
			look(3)
		})
	}
}

func TestResultsKeepTheOrderOfTheGates(t *testing.T) {
	t.Parallel()
	base := serve(t, func(w http.ResponseWriter, r *http.Request) { answers(200, vector(r.PostFormValue("query")))(w, r) })
	gates := open(t, gate.Options{Prometheus: base})
	asked := make([]evidence.Gate, 50)
	for i := range asked {
		asked[i] = query(fmt.Sprintf("%d", i))
		asked[i].Name = fmt.Sprintf("g%d", i)
	}
	for i, got := range gates.Ask(t.Context(), asked) {
		if want := (evidence.GateResult{Name: asked[i].Name, OK: i == 0, Text: asked[i].Query}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if got := gates.Ask(t.Context(), nil); len(got) != 0 {
		t.Errorf("got %+v of no gates", got)
	}
}

func TestPrometheusAway(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	base := strings.Replace(server.URL, "http://", "http://reader:secret@", 1)
	server.Close()
	got := open(t, gate.Options{Prometheus: base}).Ask(t.Context(), []evidence.Gate{query("up")})[0]
	if got.OK || !strings.HasPrefix(got.Text, "no data: ") || strings.Contains(got.Text, "secret") || strings.Contains(got.Text, "reader") {
		t.Errorf("got %+v, want no data and no secret", got)
	}
}
