//go:build unix

package exec_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/exec"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/installertest"
)

// The example is a worked one: it keeps the contract. Faults of the file system do not reach into its process.
func TestContractOfTheExample(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "installer-exec")
	build := osexec.CommandContext(t.Context(), "go", "build", "-o", program, "./examples/installer-exec")
	build.Dir = filepath.Join("..", "..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	installertest.Run(t, func(t *testing.T) installertest.World {
		dir, downloads := filepath.Join(t.TempDir(), "component"), t.TempDir()
		return installertest.World{
			Open: func(fsys disk.FS) (installer.Installer, error) {
				return exec.New(exec.Options{FS: fsys, Component: "document", Dir: dir, Argv: []string{program}})
			},
			Make: func(version string) (installer.Stage, error) { return artifact(downloads, version) },
			Active: func() (string, error) {
				data, err := os.ReadFile(filepath.Join(dir, "current", "document"))
				if errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
				return string(data), err
			},
		}
	})
}

func artifact(dir, version string) (installer.Stage, error) {
	path := filepath.Join(dir, "artifact-"+version)
	return installer.Stage{Version: version, Path: path, Artifact: release.Artifact{
		Format: release.File, Name: "document", Digest: release.DigestOf([]byte(version)), Size: int64(len(version)),
	}}, os.WriteFile(path, []byte(version), 0o600)
}

// script is an installer that is a shell script.
func script(t *testing.T, text string, timeout time.Duration) (_ *exec.Installer, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "component")
	i, err := exec.New(exec.Options{FS: disk.OS{}, Component: "thing", Dir: dir, Argv: []string{"/bin/sh", "-c", text}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return i, dir
}

const well = `echo '{"protocol": 1, "result": {}}'`

func TestRequests(t *testing.T) {
	t.Parallel()
	i, dir := script(t, "cat >> requests; "+well, time.Minute)
	s, err := artifact(t.TempDir(), "7")
	if err != nil {
		t.Fatal(err)
	}
	slot, err := i.Stage(t.Context(), s)
	for _, err := range []error{
		err, i.Check(t.Context(), slot), i.Activate(t.Context(), slot, "old"), i.Activate(t.Context(), slot, ""),
		i.Revert(t.Context(), "old"), i.Revert(t.Context(), ""), i.Collect(t.Context(), []installer.Slot{"old"}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := i.Inspect(t.Context()); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "requests"))
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf(`"component":"thing","dir":%q`, dir)
	want := []string{
		fmt.Sprintf(`{"protocol":1,"method":"stage",%s,"slot":%q,"version":"7","artifact":{"path":%q,"format":"file","name":"document","digest":%q,"size":1}}`,
			head, slot, s.Path, s.Artifact.Digest),
		fmt.Sprintf(`{"protocol":1,"method":"check",%s,"slot":%q}`, head, slot),
		fmt.Sprintf(`{"protocol":1,"method":"activate",%s,"slot":%q,"back":"old"}`, head, slot),
		fmt.Sprintf(`{"protocol":1,"method":"activate",%s,"slot":%q}`, head, slot),
		fmt.Sprintf(`{"protocol":1,"method":"revert",%s,"slot":"old"}`, head),
		fmt.Sprintf(`{"protocol":1,"method":"revert",%s}`, head),
		fmt.Sprintf(`{"protocol":1,"method":"collect",%s,"keep":["old"]}`, head),
		fmt.Sprintf(`{"protocol":1,"method":"inspect",%s}`, head),
		"",
	}
	if diff := cmp.Diff(want, strings.Split(string(data), "\n")); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	say := func(s string) string { return "cat <<'E'\n" + s + "\nE\n" }
	for name, row := range map[string]struct {
		program string
		kind    fault.Kind // "" if it is well
		want    string     // of the error
		hint    string
	}{
		"well":              {program: say(`{"protocol": 1, "result": {"current": "a", "slots": ["b", "a"]}}`)},
		"chatty":            {program: "echo working >&2; " + say(`{"protocol": 1, "result": {"current": "a", "slots": ["a", "b"]}}`)},
		"its own error":     {say(`{"protocol": 1, "error": {"kind": "conflict", "message": "the service is not there", "hint": "install it"}}`), fault.Conflict, "inspect of thing: the service is not there", "install it"},
		"error and status":  {say(`{"protocol": 1, "error": {"kind": "denied", "message": "no"}}`) + "exit 3", fault.Denied, "no", ""},
		"unknown kind":      {say(`{"protocol": 1, "error": {"kind": "odd", "message": "hm"}}`), fault.Unavailable, "hm", ""},
		"control":           {say(`{"protocol": 1, "error": {"kind": "invalid", "message": "a\u001b[31mb"}}`), fault.Invalid, "a[31mb", ""},
		"result and status": {say(`{"protocol": 1, "result": {}}`) + "echo oh >&2; exit 3", fault.Unavailable, "ended with exit status 3: oh", "docs/installers.md"},
		"signal":            {"kill -SEGV $$", fault.Unavailable, "segmentation fault", "docs/installers.md"},
		"nothing":           {"echo why >&2", fault.Unavailable, "wrote no reply: why", "docs/installers.md"},
		"no JSON":           {"echo why >&2; echo hello", fault.Unavailable, "wrote no reply that can be read", "docs/installers.md"},
		"the words with it": {"echo a traceback >&2; echo hello", fault.Unavailable, "a traceback", ""},
		"two":               {well + "; " + well, fault.Unavailable, "something follows it", ""},
		"unknown field":     {say(`{"protocol": 1, "result": {}, "more": 1}`), fault.Unavailable, "more", ""},
		"other protocol":    {say(`{"protocol": 2, "result": {}}`), fault.Unavailable, "speaks protocol 2, and not 1", ""},
		"no protocol":       {say(`{"result": {}}`), fault.Unavailable, "speaks protocol 0, and not 1", ""},
		"neither":           {say(`{"protocol": 1}`), fault.Unavailable, "either a result or an error", ""},
		"both":              {say(`{"protocol": 1, "result": {}, "error": {"kind": "invalid", "message": "x"}}`), fault.Unavailable, "either a result or an error", ""},
		"bad slot":          {say(`{"protocol": 1, "result": {"current": "../a"}}`), fault.Unavailable, "../a", ""},
		"bad slots":         {say(`{"protocol": 1, "result": {"slots": ["a/b"]}}`), fault.Unavailable, "a/b", ""},
		"too much":          {"yes | head -c 3000000", fault.Unavailable, "wrote more than 1048576 bytes", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, _ := script(t, row.program, time.Minute)
			got, err := i.Inspect(t.Context())
			if row.kind == "" {
				want := installer.Inspection{Current: "a", Slots: []installer.Slot{"a", "b"}}
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
				return
			}
			if fault.KindOf(err) != row.kind || err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(fault.NextOf(err), row.hint) {
				t.Errorf("got %s %v (%s), want %s with %q (%s)", fault.KindOf(err), err, fault.NextOf(err), row.kind, row.want, row.hint)
			}
		})
	}
}

func TestAProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	i, err := exec.New(exec.Options{FS: disk.OS{}, Component: "thing", Dir: t.TempDir(), Argv: []string{"/no/such/program"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Check(t.Context(), "a"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want unavailable: nobody said anything about the release", err)
	}
}

func TestTheProgramSeesOnlyWhatIsSigned(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*installer.Stage){
		"digest": func(s *installer.Stage) { s.Artifact.Digest = release.DigestOf([]byte("8")) },
		"size":   func(s *installer.Stage) { s.Artifact.Size = 2 },
	} {
		i, dir := script(t, "touch ran; "+well, time.Minute)
		s, err := artifact(t.TempDir(), "7")
		if err != nil {
			t.Fatal(err)
		}
		change(&s)
		if _, err = i.Stage(t.Context(), s); fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: got %v, want denied", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "ran")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the program ran", name)
		}
	}
}

func TestATimeoutKillsTheWholeGroup(t *testing.T) {
	t.Parallel()
	i, dir := script(t, `sleep 1000 & echo $! > pid; echo stuck >&2; wait`, 500*time.Millisecond)
	err := i.Activate(t.Context(), "a", "")
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "did not end within 500ms and was killed: stuck") {
		t.Errorf("got %v, want unavailable after 500ms", err)
	}
	waitGone(t, filepath.Join(dir, "pid"))
}

// waitGone waits until the process whose number is in the file has ended; one that nobody waited for yet has too.
func waitGone(t *testing.T, pidFile string) {
	t.Helper()
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		stat, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(data)), "stat"))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if err := (clock.Wall{}).Sleep(ctx, 5*time.Millisecond); err != nil {
			t.Fatalf("process %s is still there", data)
		}
	}
}

// What changes the host is not cut short by an agent that ends; what only looks is.
func TestTheEndOfItsContext(t *testing.T) {
	t.Parallel()
	i, dir := script(t, `touch begun; while test ! -e go; do sleep 0.02; done; `+well, time.Minute)
	wait := func(ctx context.Context) {
		for {
			if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
				return
			}
			if err := (clock.Wall{}).Sleep(ctx, 5*time.Millisecond); err != nil {
				t.Error("the program does not begin")
				return
			}
		}
	}
	for name, row := range map[string]struct {
		call func(ctx context.Context) error
		cut  bool
	}{
		"check":    {func(ctx context.Context) error { return i.Check(ctx, "a") }, true},
		"activate": {func(ctx context.Context) error { return i.Activate(ctx, "a", "") }, false},
		"revert":   {func(ctx context.Context) error { return i.Revert(ctx, "a") }, false},
		"revert 2": {func(ctx context.Context) error { return i.Revert(ctx, "") }, false},
	} {
		_, _ = os.Remove(filepath.Join(dir, "go")), os.Remove(filepath.Join(dir, "begun"))
		ctx, cancel := context.WithCancel(t.Context())
		var call sync.WaitGroup
		call.Go(func() {
			if err := row.call(ctx); errors.Is(err, context.Canceled) != row.cut || !row.cut && err != nil {
				t.Errorf("%s: got %v", name, err)
			}
		})
		wait(t.Context())
		cancel()
		if !row.cut {
			if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
		call.Wait()
	}
}

func FuzzReplies(f *testing.F) {
	f.Add([]byte(`{"protocol": 1, "result": {"current": "a", "slots": ["b", "a"]}}`))
	f.Add([]byte(`{"protocol": 1, "error": {"kind": "conflict", "message": "m", "hint": "h"}}`))
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "reply")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		i, err := exec.New(exec.Options{FS: disk.OS{}, Component: "thing", Dir: t.TempDir(), Argv: []string{"/bin/cat", path}})
		if err != nil {
			t.Fatal(err)
		}
		found, err := i.Inspect(t.Context())
		if err == nil && !json.Valid(data) {
			t.Errorf("got %+v of what is no JSON", found)
		}
	})
}
