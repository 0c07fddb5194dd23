package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// programs builds the real ones, once for all tests; TestMain removes them.
var programs = sync.OnceValues(func() (string, error) {
	dir := programDir()
	build := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "../../cmd/firebreak-agent", "../../cmd/firebreak-guard")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return dir, nil
})

func programDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("firebreak-programs-%d", os.Getpid()))
}

// launched is a host whose agent runs under the real launcher, as its package sets it up.
type launched struct {
	*host
	guardDir string
	agent    string // the real one, which is the factory's too
	log      *words
}

func (p *plane) newLaunched() *launched {
	p.t.Helper()
	if runtime.GOOS != "linux" {
		p.t.Skip("the launcher hears its agent on Linux only")
	}
	dir, err := programs()
	if err != nil {
		p.t.Fatal(err)
	}
	h := &launched{host: p.newHost(), guardDir: filepath.Join(p.t.TempDir(), "guard"), agent: filepath.Join(dir, component.Agent), log: &words{}}
	h.writes("agent.yaml", "component: firebreak-agent\nkind: agent\nsoak: 300ms\ninterval: 100ms\n")
	cmd := exec.Command(filepath.Join(dir, "firebreak-guard"), "launch", "--dir", h.guardDir, "--state", h.dir, "--factory", h.agent) //nolint:noctx // ended below
	cmd.Stdout, cmd.Stderr = h.log, h.log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
		if p.t.Failed() {
			p.t.Logf("the launcher says:\n%s", tail(h.log.String()))
		}
	})
	return h
}

// knows is what the guard was told of the agent.
func (h *launched) knows() bootguard.Entry {
	h.t.Helper()
	book, err := guard.Open(disk.OS{}, h.guardDir)
	if err != nil {
		h.t.Fatal(err)
	}
	entries, err := book.Entries()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := book.Close(); err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Component == component.Agent {
			return e
		}
	}
	return bootguard.Entry{}
}

// A released agent that is good takes over; one that crashes at once is gone from by the launcher, refused, and reported by the good one.
// All programs are the real ones.
func TestABadAgentHealsByItself(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	p := newPlane(t)
	p.owns(component.Agent, release.Agent)
	h := p.newLaunched()
	program, err := os.ReadFile(h.agent)
	if err != nil {
		t.Fatal(err)
	}
	first := p.ship(component.Agent, release.Agent, "v1", component.Agent, string(program)+"the same, and yet another release")
	p.await(first, "v1 to be confirmed", complete)
	h.is(component.Agent, "v1", install.Idle)
	good := h.knows()
	if good.Pending || good.Good != good.Current || !strings.HasPrefix(good.Current, "v1-") {
		t.Errorf("the guard knows %+v, want v1 to be good", good)
	}
	second := p.ship(component.Agent, release.Agent, "v2", component.Agent, "#!/bin/sh\nexit 3\n")
	p.await(second, "v2 to be harm", func(r api.Rollout) bool { return r.Harmed == 1 })
	h.is(component.Agent, "v1", install.Idle)
	refused := h.of(component.Agent).Refused
	if len(refused) != 1 || !strings.Contains(refused[0].Why, "exit") {
		t.Errorf("got refusals %+v, want v2 refused because it exited", refused)
	}
	if now := h.knows(); now.Pending || now.Current != good.Current || now.Good != good.Good {
		t.Errorf("the guard knows %+v, want v1 to be good and nothing pending", now)
	}
}
