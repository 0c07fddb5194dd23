package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/examples/sensor/detection"
)

// asSensor is the argument that turns the test binary into the sensor.
const asSensor = "run-as-sensor"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asSensor {
		os.Args = append(os.Args[:1], os.Args[2:]...)
		main()
		return
	}
	m.Run()
}

// process is a running sensor. Its log is read line by line, so that no test has to wait for a fixed time.
type process struct {
	*exec.Cmd
	log  *bufio.Scanner
	seen strings.Builder
	addr string
}

// start runs the sensor as a process of its own. It is killed at the end of the test, or when it takes far too long.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	addrFile := filepath.Join(t.TempDir(), "addr")
	args = append([]string{asSensor, "--event-every", "1ms", "--addr-file", addrFile}, args...)
	p := &process{Cmd: exec.CommandContext(ctx, os.Args[0], args...)}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		p.Wait()
	})
	p.log = bufio.NewScanner(stderr)
	p.await(t, "sensor started")
	addr, err := os.ReadFile(addrFile)
	if err != nil {
		t.Fatal(err)
	}
	p.addr = strings.TrimSpace(string(addr))
	return p
}

// await reads the log up to the first line with text in it.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	for p.log.Scan() {
		p.seen.WriteString(p.log.Text() + "\n")
		if strings.Contains(p.log.Text(), text) {
			return
		}
	}
	t.Fatalf("log: got its end, want %q; it was:\n%s", text, p.seen.String())
}

// end reads the rest of the log and returns how the process ended.
func (p *process) end(t *testing.T) *os.ProcessState {
	t.Helper()
	for p.log.Scan() {
		p.seen.WriteString(p.log.Text() + "\n")
	}
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState
}

// get fetches a path from the running sensor.
func (p *process) get(t *testing.T, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Errorf("GET %s: got status %d, want 200", path, response.StatusCode)
	}
	return string(body)
}

func (p *process) wantLoaded(t *testing.T, digest string) {
	t.Helper()
	var got loadedBody
	if err := json.Unmarshal([]byte(p.get(t, "/loaded")), &got); err != nil {
		t.Fatal(err)
	}
	want := loadedBody{File: "detections.json", Digest: digest}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("GET /loaded (-want +got):\n%s", diff)
	}
}

// digestOf is the digest of an example content's file.
func digestOf(t *testing.T, dir string) string {
	t.Helper()
	content, err := detection.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return content.Digest
}

func TestSensorServesWhatItLoaded(t *testing.T) {
	t.Parallel()
	p := start(t, "--content", "content/v1")
	p.await(t, "rule=c2-beacon-pipe") // it really matches events
	if got, want := p.get(t, "/healthz"), "ok\n"; got != want {
		t.Errorf("GET /healthz: got %q, want %q", got, want)
	}
	p.wantLoaded(t, digestOf(t, "content/v1"))
}

func TestSensorIdlesWithoutContent(t *testing.T) {
	t.Parallel()
	p := start(t, "--content", filepath.Join(t.TempDir(), "current"))
	p.get(t, "/healthz")
	p.wantLoaded(t, "")
}

func TestSensorIdlesWithBrokenContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, detection.File), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "--content", dir)
	p.wantLoaded(t, "")
}

func TestSensorReallyCrashes(t *testing.T) {
	t.Parallel()
	p := start(t, "--content", "content/v2")
	state := p.end(t)
	if got, want := state.ExitCode(), 2; got != want {
		t.Errorf("exit code: got %d, want %d", got, want)
	}
	const want = "panic: runtime error: index out of range [20] with length 20"
	if !strings.Contains(p.seen.String(), want) {
		t.Errorf("last words: got\n%s\nwant %q among them", p.seen.String(), want)
	}
}

func TestRunVerdictsAndMisuse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args string
		code int
		want string // in what was printed
	}{
		{"validate content/v1", exitFine, "passed: 2 rules of 20 fields, held against the sensor's number"},
		{"validate content/v2", exitFailed, "has 21 criteria, the sensor supplies 20 inputs"},
		{"validate --trust-definition content/v2", exitFine, "passed: 3 rules of 21 fields, held against the definition's number"},
		{"validate content/v3", exitFine, "passed: 3 rules of 20 fields"},
		{"validate content", exitFailed, "rejected: load content"},
		{"validate", exitMisused, "want exactly one directory"},
		{"validate --help", exitFine, "-trust-definition"},
		{"", exitMisused, "--content is missing"},
		{"--content x --event-every 0s", exitMisused, "--event-every must be above 0"},
		{"--content x serve", exitMisused, `unknown command "serve"`},
		{"--nonsense", exitMisused, "flag provided but not defined"},
		{"--content x --listen nowhere:-1", exitFailed, "listen on nowhere:-1"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if got := run(t.Context(), strings.Fields(test.args), &out, &out); got != test.code {
				t.Errorf("exit code: got %d, want %d", got, test.code)
			}
			if !strings.Contains(out.String(), test.want) {
				t.Errorf("output: got\n%s\nwant %q in it", out.String(), test.want)
			}
		})
	}
}
