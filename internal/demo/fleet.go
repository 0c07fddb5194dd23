package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// resources are what an operator would keep in git.
const resources = `kind: Component
spec:
  name: sensor-content
  kind: content
  plan: demo
---
kind: Plan
spec:
  name: demo
  rings:
    - {name: first, hosts: 2, evidence: {bake: 1s}}
    - {name: early, hosts: %d, evidence: {bake: 1s}}
    - {name: rest, share: 1}
  window: {start: 2, growth: 2, max: 16}
  lease: {expires: 10s, deadline: 30s}
  caps: {site: 0.5}
  budget: {hosts: 20}
`

// early is the size of the second ring: the caps let half of each site into the first two, and a small fleet has small sites.
func early(agents int) int { return min(8, max(3, agents/4)) }

// componentFile is what the owner of each host would put there.
const componentFile = `component: sensor-content
kind: content
validator: ["%[1]s", validate, --trust-definition, "{dir}"]
consumer:
  run: ["%[1]s", --content, "{current}", --listen, "127.0.0.1:0", --addr-file, "%[2]s"]
  tell: {signal: HUP}
probes:
  - restarts: {}
  - http: {url: "http://{address}/healthz", address_file: "%[2]s"}
  - loaded: {file: detections.json, http: {url: "http://{address}/loaded", address_file: "%[2]s"}}
soak: 1500ms
interval: 500ms
grace: 1s
watch: 1h
`

// perSite is how many hosts share a place. The plan lets half of a site into the early rings.
const perSite = 5

// fleet is every process of the demo.
type fleet struct {
	dir, bin string
	control  control

	mu        sync.Mutex
	processes []*exec.Cmd
}

// control is what the control plane printed at its first start.
type control struct {
	url, token, agents, join, fingerprint string
}

func (f *fleet) program(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(f.bin, name)
}

// start runs a program until the demo ends, its log in a file of its own.
func (f *fleet) start(ctx context.Context, logName string, stdout io.Writer, argv ...string) error {
	logFile, err := os.Create(filepath.Join(f.dir, logName))
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }()                                     // the process has its own handle
	c := exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...) //nolint:gosec // our own binaries; stop ends them, in order
	c.Stderr, c.Stdout = logFile, logFile
	if stdout != nil {
		c.Stdout = stdout
	}
	alone(c)
	if err := c.Start(); err != nil {
		return fault.New(fault.NotFound, "start %s: %w", argv[0], err).Hint("build the binaries first: make build")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.processes = append(f.processes, c)
	return nil
}

// stopWithin is how long processes may take to end in good order.
const stopWithin = 5 * time.Second

// stop ends all processes, the agents before the control plane.
func (f *fleet) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ended sync.WaitGroup
	for i, c := range slices.Backward(f.processes) {
		if i == 0 {
			ended.Wait()
		}
		_ = terminate(c.Process)
		kill := time.AfterFunc(stopWithin, func() { _ = c.Process.Kill() }) //nolint:forbidigo // a limit for a process, not a decision
		ended.Go(func() {
			_ = c.Wait()
			kill.Stop()
		})
	}
	ended.Wait()
	f.processes = nil
}

// startControl starts the control plane and reads what it prints for people.
func (f *fleet) startControl(ctx context.Context) error {
	out, in := io.Pipe()
	defer func() { _ = out.Close() }()
	err := f.start(ctx, "control.log", in, f.program("firebreak"), "serve", "--data", filepath.Join(f.dir, "control"),
		"--listen-operator", "127.0.0.1:0", "--listen-agents", "127.0.0.1:0", "--poll-idle", "1s", "--poll-active", "300ms")
	if err != nil {
		return err
	}
	f.control, err = readGreeting(out)
	return err
}

var (
	serverLine = regexp.MustCompile(`FIREBREAK_SERVER=(\S+)`)
	tokenLine  = regexp.MustCompile(`FIREBREAK_TOKEN=(\S+)`)
	joinLine   = regexp.MustCompile(`firebreak-agent join --server (\S+) --token (\S+) --ca-fingerprint (\S+)`)
)

func readGreeting(r io.Reader) (control, error) {
	var c control
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if m := serverLine.FindStringSubmatch(line); m != nil {
			c.url = m[1]
		}
		if m := tokenLine.FindStringSubmatch(line); m != nil {
			c.token = m[1]
		}
		if m := joinLine.FindStringSubmatch(line); m != nil {
			c.agents, c.join, c.fingerprint = m[1], m[2], m[3]
		}
		if strings.HasPrefix(line, "Console:") {
			return c, nil
		}
	}
	return c, errors.Join(fault.New(fault.Internal, "read what the control plane printed: it ended early; its log says why"), lines.Err())
}

// startAgent joins one host and runs its agent.
func (f *fleet) startAgent(ctx context.Context, number int) error {
	state := filepath.Join(f.dir, fmt.Sprintf("host-%02d", number))
	join := exec.CommandContext(ctx, f.program("firebreak-agent"), "join", "--state", state, "--server", f.control.agents, "--token", f.control.join, //nolint:gosec // our own binary
		"--ca-fingerprint", f.control.fingerprint, "--site", fmt.Sprintf("site-%d", number/perSite+1))
	if out, err := join.CombinedOutput(); err != nil {
		return fault.New(fault.Internal, "join host %d: %w: %s", number, err, out)
	}
	file := fmt.Sprintf(componentFile, f.program("sensor"), filepath.Join(state, "sensor.addr"))
	if err := os.WriteFile(filepath.Join(state, "components.d", "sensor-content.yaml"), []byte(file), 0o600); err != nil {
		return err
	}
	return f.start(ctx, fmt.Sprintf("host-%02d.log", number), nil, f.program("firebreak-agent"), "run", "--state", state)
}
