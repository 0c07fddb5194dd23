package vm

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/clock"
)

// plane is a control plane: the real program, in a process on this machine. The virtual machines reach it through qemu's user network.
type plane struct {
	t       *testing.T
	dir     string
	program string
	env     []string
	join    string // the flags with which a virtual machine joins
	client  *client.Client
}

// settings are a plan of one host and then all others, with a breaker that one crash trips: there are only a few machines.
const settings = `
kind: Component
spec: {name: sensor-content, kind: content, plan: careful, validation: none}
---
kind: Component
spec: {name: firebreak-agent, kind: agent, plan: careful, validation: none}
---
kind: Plan
spec:
  name: careful
  rings:
    - {name: first, hosts: 1, evidence: {bake: 5s}}
    - {name: rest, share: 1}
  window: {start: 1, growth: 4, max: 8}
  lease: {expires: 5m, deadline: 30m}
  breaker: {alpha: 0.01, ceiling: 0.00001}
`

var (
	tokenLine = regexp.MustCompile(`FIREBREAK_TOKEN=(\S+)`)
	urlLine   = regexp.MustCompile(`FIREBREAK_SERVER=(\S+)`)
	joinLine  = regexp.MustCompile(`--server https://[^:]+:(\d+) --token \S+ (--ca-fingerprint \S+)`)
)

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, dir: t.TempDir(), program: build(t, "cmd/firebreak")}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, p.program, "serve", "--data", filepath.Join(p.dir, "control"), "--listen-operator", "127.0.0.1:0",
		"--listen-agents", "127.0.0.1:0", "--agent-host", gateway, "--poll-idle", "3s", "--poll-active", "1s")
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		if said, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("control plane:\n%s", last(string(said), 40))
		}
	})
	p.greet(out)
	p.prepare()
	return p
}

// greet reads what the control plane prints for people when it starts first.
func (p *plane) greet(out io.Reader) {
	p.t.Helper()
	var text strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "Console:"); {
		text.WriteString(lines.Text() + "\n")
	}
	token, url, join := tokenLine.FindStringSubmatch(text.String()), urlLine.FindStringSubmatch(text.String()), joinLine.FindStringSubmatch(text.String())
	if token == nil || url == nil || join == nil {
		p.t.Fatalf("the control plane's greeting: got %q", text.String())
	}
	p.env = append(os.Environ(), "FIREBREAK_TOKEN="+token[1], "FIREBREAK_SERVER="+url[1], "FIREBREAK_KEYS="+filepath.Join(p.dir, "keys"))
	var err error
	if p.client, err = client.New(url[1], token[1]); err != nil {
		p.t.Fatal(err)
	}
	secret := strings.TrimSpace(p.cli("token", "create", "--kind", "join", "--uses", "-1"))
	p.join = "--server https://" + gateway + ":" + join[1] + " --token " + secret + " " + join[2]
}

func (p *plane) prepare() {
	p.t.Helper()
	file := filepath.Join(p.dir, "settings.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.cli("apply", "-f", file)
	p.cli("key", "init", "sensor-content", "firebreak-agent")
}

// cli runs the operators' command and returns its standard output.
func (p *plane) cli(args ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.program, args...)
	cmd.Env = p.env
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			p.t.Fatalf("firebreak %s: %v: %s", strings.Join(args, " "), err, exit.Stderr)
		}
		p.t.Fatal(err)
	}
	return string(out)
}

// roll publishes content of one file with that text and starts its rollout.
func (p *plane) roll(version, rules string) string {
	p.t.Helper()
	return p.ship("sensor-content", version, "rules", []byte(rules))
}

// ship publishes a release of one file and starts its rollout.
func (p *plane) ship(component, version, name string, data []byte) string {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.cli("release", "publish", component, version, file)
	r, err := p.client.StartRollout(p.t.Context(), api.StartRollout{Component: component, Version: version})
	if err != nil {
		p.t.Fatal(err)
	}
	return r.ID
}

// await waits until a rollout is as wanted.
func (p *plane) await(id, what string, within time.Duration, wanted func(api.Rollout) bool) api.Rollout {
	p.t.Helper()
	var r api.Rollout
	eventually(p.t, what, within, func() bool {
		var err error
		r, err = p.client.Rollout(p.t.Context(), id)
		return err == nil && wanted(r)
	}, func() any { return r })
	return r
}

// eventually waits until check holds; last is what is shown if it never does.
func eventually(t *testing.T, what string, within time.Duration, check func() bool, last func() any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for !check() {
		if t.Failed() || (clock.Wall{}).Sleep(ctx, 500*time.Millisecond) != nil {
			t.Fatalf("%s: not within %s; last: %+v", what, within, last())
		}
	}
}
