package e2e

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/command"
)

// agentCommand runs one command of firebreak-agent.
func agentCommand(ctx context.Context, args ...string) (code int, out, complaint string) {
	var stdout, stderr bytes.Buffer
	code = command.Run(ctx, command.Env{Args: args, Out: &stdout, Err: &stderr, Version: "test"})
	return code, stdout.String(), stderr.String()
}

func (p *plane) joinArgs(state, token string) []string {
	return []string{"join", "--state", state, "--server", p.agents, "--token", token, "--ca-fingerprint", p.fingerprint, "--site", "here"}
}

// What can go wrong when a host joins, each with its exit code and the next step; and none of it uses up the token.
func TestJoin(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	token, err := p.client.CreateToken(t.Context(), api.NewToken{Kind: "join"})
	if err != nil {
		t.Fatal(err)
	}
	state, other := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "other")
	wrong := p.joinArgs(state, token.Secret)
	wrong[8] = "sha256:" + strings.Repeat("0", 64)
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plain := p.joinArgs(state, token.Secret)
	plain[4] = strings.Replace(p.agents, "https", "http", 1)
	for _, step := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"run before joining", []string{"run", "--state", state}, 3, []string{"this host has not joined", "next: run 'firebreak-agent join'"}},
		{"status before joining", []string{"status", "--state", state}, 3, []string{"this host has not joined"}},
		{"nothing given", []string{"join", "--state", state}, 2, []string{"--server, --token and --ca-fingerprint are all needed"}},
		{"not https", plain, 2, []string{"must be an https URL"}},
		{"wrong fingerprint", wrong, 6, []string{"no certificate of it has the fingerprint"}},
		{"state directory that cannot be made", p.joinArgs(filepath.Join(blocked, "state"), token.Secret), 1, []string{"not a directory"}},
		{"wrong token", p.joinArgs(state, "fb_join_aaaaaaaa_wrong"), 5, []string{"join:"}},
		{"good", p.joinArgs(state, token.Secret), 0, nil},
		{"joined already", p.joinArgs(state, token.Secret), 4, []string{"this host is ep-", "already", "next: use another --state"}},
		{"used token", p.joinArgs(other, token.Secret), 5, []string{"join:"}},
	} {
		code, out, complaint := agentCommand(t.Context(), step.args...)
		if code != step.code {
			t.Errorf("%s: got exit code %d, want %d: %s", step.name, code, step.code, complaint)
		}
		for _, want := range step.says {
			if !strings.Contains(complaint, want) {
				t.Errorf("%s: got %q, want it to say %q", step.name, complaint, want)
			}
		}
		if code == 0 && !strings.Contains(out, "joined as ep-") {
			t.Errorf("%s: got %q, want who the host is now", step.name, out)
		}
	}
	code, out, complaint := agentCommand(t.Context(), "status", "--state", state)
	if code != 0 || !strings.Contains(out, "control      "+p.agents) || !strings.Contains(out, "certificate  until") {
		t.Errorf("status: got %d, %q, %q, want who the host is and where it belongs", code, out, complaint)
	}
	info, err := os.Stat(filepath.Join(state, "identity", "identity.json"))
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("identity: got mode %v (%v), want one that only its owner reads", info.Mode(), err)
	}
}

// The command as a user runs it, with the kind of rights that a user has: a state directory of its own and nothing else.
func TestAgentCommandRuns(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	h := p.newHost()
	files := filepath.Join(h.dir, "components.d")
	for name, text := range map[string]string{
		"sensor.yaml": "component: sensor-content\nkind: content\nsoak: 100ms\ninterval: 50ms\n",
		"broken.yaml": "component: Broken!\nsurprise: yes\n",
	} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done, logged := make(chan int, 1), &words{}
	go func() {
		done <- command.Run(ctx, command.Env{Args: []string{"run", "--state", h.dir}, Out: &words{}, Err: logged})
	}()
	id := p.roll("v1", "good rules 1", atOnce())
	p.await(id, "v1 to be confirmed", complete)
	if code, _, complaint := agentCommand(t.Context(), "run", "--state", h.dir); code != 4 || !strings.Contains(complaint, "two agents cannot share") {
		t.Errorf("a second agent on the state directory: got %d, %q, want 4 and why", code, complaint)
	}
	if text := logged.String(); !strings.Contains(text, "these component files are left out") || !strings.Contains(text, "broken.yaml") {
		t.Errorf("log: got %s, want it to name the component file that was left out", text)
	}
	code, out, _ := agentCommand(t.Context(), "status", "--state", h.dir)
	if want := "sensor-content: runs v1, " + string(install.Idle); code != 0 || !strings.Contains(out, want) {
		t.Errorf("status: got %d, %q, want %q", code, out, want)
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("run: got exit code %d, want 0 after an orderly end: %s", code, logged)
	}
	if code, _, complaint := agentCommand(t.Context(), "run", "--state", filepath.Join(h.dir, "nowhere")); code != 3 {
		t.Errorf("run without joining: got %d, %q, want 3", code, complaint)
	}
}
