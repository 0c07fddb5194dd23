//go:build unix

package probe_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/probe"
)

// verdict words what a check said.
func verdict(ctx context.Context, err error) string {
	switch {
	case err == nil:
		return "well"
	case probe.Inconclusive(ctx, err):
		return "inconclusive"
	default:
		return "bad"
	}
}

// only builds the single probe that a YAML snippet describes.
func only(t *testing.T, site probe.Site, snippet string) probe.Probe {
	t.Helper()
	doc := "component: c\nkind: content\nconsumer: {run: [/bin/x]}\nprobes:\n  - " + snippet + "\n"
	f, err := component.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if site.FS == nil {
		site.FS = disk.OS{}
	}
	probes, err := probe.Build(t.Context(), f, site)
	if err != nil || len(probes) != 1 {
		t.Fatalf("got %d probes, %v", len(probes), err)
	}
	return probes[0]
}

func expect(t *testing.T, p probe.Probe, want, saying string) {
	t.Helper()
	err := p.Check(t.Context())
	if got := verdict(t.Context(), err); got != want || !strings.Contains(fmt.Sprint(err), saying) {
		t.Errorf("%s: got %s (%v), want %s with %q", p.Name(), got, err, want, saying)
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	for snippet, want := range map[string][2]string{
		`exec: ["true"]`: {"well", ""},
		`exec: [sh, -c, "echo the reason >&2; exit 3"]`: {"bad", "exit status 3: the reason"},
		`{exec: [sleep, "1000"], timeout: 50ms}`:        {"bad", "did not end within 50ms"},
		`exec: [/no/such/program]`:                      {"inconclusive", "cannot be run"},
	} {
		expect(t, only(t, probe.Site{}, snippet), want[0], want[1])
	}
}

func TestACheckThatIsInterruptedIsInconclusive(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, snippet := range []string{`exec: ["true"]`, "http: {url: 'http://127.0.0.1:1/'}", "tcp: '127.0.0.1:1'"} {
		if got := verdict(ctx, only(t, probe.Site{}, snippet).Check(ctx)); got != "inconclusive" {
			t.Errorf("%s: got %s, want inconclusive", snippet, got)
		}
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
		case "/teapot":
			w.WriteHeader(http.StatusTeapot)
		case "/moved":
			http.Redirect(w, r, "/healthz", http.StatusFound)
		case "/hangs":
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at := strings.TrimPrefix(server.URL, "http://")
	good, evil := file("good", at+"\n"), file("evil", "x@"+at)
	for snippet, want := range map[string][2]string{
		"http: {url: '" + server.URL + "/healthz'}":                                 {"well", ""},
		"http: {url: '" + server.URL + "/teapot', status: 418}":                     {"well", ""},
		"http: {url: '" + server.URL + "/teapot'}":                                  {"bad", "answered 418 I'm a teapot, wanted 200 to 299"},
		"http: {url: '" + server.URL + "/moved'}":                                   {"bad", "answered 302"},
		"http: {url: '" + server.URL + "/broken'}":                                  {"bad", "answered 500"},
		"{http: {url: '" + server.URL + "/hangs'}, timeout: 50ms}":                  {"bad", "deadline exceeded"},
		"http: {url: 'http://127.0.0.1:1/'}":                                        {"bad", "refused"},
		"http: {url: 'http://{address}/healthz', address_file: " + good + "}":       {"well", ""},
		"http: {url: 'http://{address}/healthz', address_file: " + evil + "}":       {"bad", "not host:port"},
		"http: {url: 'http://{address}/healthz', address_file: " + dir + "/absent}": {"bad", "no such file"},
	} {
		expect(t, only(t, probe.Site{}, snippet), want[0], want[1])
	}
}

func TestTCP(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := only(t, probe.Site{}, "tcp: '"+l.Addr().String()+"'")
	t.Cleanup(func() { _ = l.Close() })
	expect(t, p, "well", "")
	expect(t, only(t, probe.Site{}, "tcp: '127.0.0.1:1'"), "bad", "refused")
}

// supervised is a process as a test wants it.
type supervised struct {
	restarts int
	down     bool
}

func (s *supervised) Restarts() int { return s.restarts }
func (s *supervised) Running() bool { return !s.down }

func TestRestartsCountsFromTheActivation(t *testing.T) {
	t.Parallel()
	s := &supervised{restarts: 7}
	p := only(t, probe.Site{Supervised: s}, "restarts: {max: 1}")
	expect(t, p, "well", "")
	s.restarts, s.down = 8, true
	expect(t, p, "inconclusive", "is not running")
	s.restarts, s.down = 9, false
	expect(t, p, "bad", "ended 2 times since the activation; 1 is the most")
}

func TestRestartsNeedsASupervisor(t *testing.T) {
	t.Parallel()
	f := component.File{Probes: []component.Probe{{Name: "r", Restarts: &component.Restarts{}}}}
	if _, err := probe.Build(t.Context(), f, probe.Site{}); err == nil {
		t.Error("got no error, want one")
	}
}

func TestUnitAsksSystemd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	answer, systemctl := filepath.Join(dir, "answer"), filepath.Join(dir, "systemctl")
	say := func(text string) {
		if err := os.WriteFile(answer, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\ntest \"$*\" = 'show --property=ActiveState --property=NRestarts -- x.service' && cat " + answer + "\n"
	if err := os.WriteFile(systemctl, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	say("ActiveState=active\nNRestarts=2\n")
	p := only(t, probe.Site{Systemctl: systemctl}, "unit: x.service")
	expect(t, p, "well", "")
	for _, row := range [][3]string{
		{"ActiveState=activating\nNRestarts=2\n", "inconclusive", "is activating"},
		{"ActiveState=failed\nNRestarts=2\n", "bad", "is failed, not active"},
		{"ActiveState=active\nNRestarts=3\n", "bad", "was restarted 1 times"},
		{"ActiveState=active\nNRestarts=0\n", "well", ""},
		{"ActiveState=active\nNRestarts=1\n", "bad", "was restarted 1 times"},
		{"Failed to connect to bus\n", "inconclusive", "did not tell"},
	} {
		say(row[0])
		expect(t, p, row[1], row[2])
	}
	expect(t, only(t, probe.Site{Systemctl: filepath.Join(dir, "none")}, "unit: x.service"), "inconclusive", "cannot be run")
}

func TestLoadedComparesDigests(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, said) }))
	t.Cleanup(server.Close)
	slot := t.TempDir()
	write(filepath.Join(slot, "detections.json"), "new")
	site := probe.Site{Dir: slot}
	good, old := release.DigestOf([]byte("new")), release.DigestOf([]byte("old"))
	for _, how := range []string{"path: " + said, "exec: [cat, " + said + "]", "http: {url: '" + server.URL + "'}"} {
		p := only(t, site, "loaded: {file: detections.json, "+how+"}")
		write(said, fmt.Sprintf(`{"file":"detections.json","digest":%q}`, good))
		expect(t, p, "well", "")
		write(said, fmt.Sprintf(`{"file":"detections.json","digest":%q}`, old))
		expect(t, p, "bad", "the consumer loaded "+old.Short()+", installed is "+good.Short())
		write(said, `{"file":"","digest":""}`)
		expect(t, p, "bad", "does not say")
	}
	expect(t, only(t, site, "loaded: {file: other.json, path: "+said+"}"), "inconclusive", "read what is installed")
	expect(t, only(t, site, "loaded: {file: detections.json, path: /no/such}"), "bad", "no such file")
	expect(t, only(t, site, "loaded: {file: detections.json, exec: [/no/such]}"), "inconclusive", "cannot be run")
	expect(t, only(t, site, "{loaded: {file: detections.json, exec: [sleep, '1000']}, timeout: 50ms}"), "bad", "did not end")
}

func TestProbesHaveTheirOwnTimeouts(t *testing.T) {
	t.Parallel()
	f := component.File{Probes: []component.Probe{{Name: "x", Exec: []string{"true"}}}} // not defaulted
	probes, err := probe.Build(t.Context(), f, probe.Site{FS: disk.OS{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := probes[0].Check(ctx); err != nil {
		t.Errorf("got %v, want the default timeout to be used", err)
	}
}
