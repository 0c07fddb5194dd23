package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// host is a directory that dpkg installs to, and a component in it.
type host struct {
	root, dir, work string
	options         Options
}

func newHost(t *testing.T) *host {
	t.Helper()
	return hostIn(t, t.TempDir(), filepath.Join(writable(t), "component"))
}

// hostIn is a host whose root and component are in those directories.
func hostIn(t *testing.T, root, dir string) *host {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("needs dpkg")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: dpkg installs files as root, also to a directory")
	}
	h := &host{root: root, dir: dir, work: t.TempDir()}
	for _, name := range []string{"status", "available", "lock-frontend"} {
		writeFile(t, filepath.Join(h.root, "var/lib/dpkg", name), "")
	}
	for _, name := range []string{"updates", "info"} {
		if err := os.MkdirAll(filepath.Join(h.root, "var/lib/dpkg", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.options = options(disk.OS{}, h.dir)
	h.options.Root, h.options.Download, h.options.Reserve = h.root, []string{}, 1
	h.options.Timeout, h.options.LockWait = 30*time.Second, 30*time.Second
	return h
}

func (h *host) open(t *testing.T) *Installer {
	t.Helper()
	i, err := New(h.options)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// spec is a package to build.
type spec struct {
	name, version string
	arch          string            // all if left out
	fields        string            // more lines of its control file
	scripts       map[string]string // maintainer scripts
	triggers      string
	conf          string // contents of /etc/<name>.conf
	file          string // contents of /usr/share/<name>; the version if left out
}

// build makes the .deb and returns its path.
func (h *host) build(t *testing.T, s spec) string {
	t.Helper()
	tree := t.TempDir()
	arch, file := orElse(s.arch, "all"), orElse(s.file, s.version)
	writeFile(t, filepath.Join(tree, "DEBIAN/control"), fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: a <a@example.org>\n%sDescription: for a test\n",
		s.name, s.version, arch, s.fields))
	writeFile(t, filepath.Join(tree, "usr/share", s.name), file)
	for name, text := range s.scripts {
		path := filepath.Join(tree, "DEBIAN", name)
		writeFile(t, path, "#!/bin/sh\n"+text+"\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if s.triggers != "" {
		writeFile(t, filepath.Join(tree, "DEBIAN/triggers"), s.triggers)
	}
	if s.conf != "" {
		writeFile(t, filepath.Join(tree, "etc", s.name+".conf"), s.conf)
		writeFile(t, filepath.Join(tree, "DEBIAN/conffiles"), "/etc/"+s.name+".conf\n")
	}
	path := filepath.Join(h.work, fmt.Sprintf("%s_%s_%s.deb", s.name, escape(s.version), arch))
	if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// stage packs packages into a release and stages it.
func (h *host) stage(t *testing.T, i *Installer, version string, specs ...spec) installer.Slot {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, s := range specs {
		data, err := os.ReadFile(h.build(t, s))
		if err == nil {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: s.name + ".deb", Mode: 0o644, Size: int64(len(data))})
		}
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := artifact(h.work, version, b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	s.Artifact.Format, s.Artifact.Name = release.Tar, "x.tar"
	slot, err := i.Stage(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

// live checks and activates a release.
func live(t *testing.T, i *Installer, s, back installer.Slot) {
	t.Helper()
	if err := i.Check(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := i.Activate(t.Context(), s, back); err != nil {
		t.Fatal(err)
	}
	expectCurrent(t, i, s)
}

func expectCurrent(t *testing.T, i *Installer, want installer.Slot) {
	t.Helper()
	found, err := i.Inspect(t.Context())
	if err != nil || found.Current != want {
		t.Errorf("got current %q, %v, want %q", found.Current, err, want)
	}
}

// byHand is what an administrator does.
func (h *host) byHand(t *testing.T, args ...string) {
	t.Helper()
	argv := append([]string{"--root=" + h.root, "--force-script-chrootless", "--log=/dev/null"}, args...)
	if out, err := exec.CommandContext(t.Context(), "dpkg", argv...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// expect compares what dpkg says of a package, as in "hold installed 1", or "" if it is not there, and the file that it brings.
func (h *host) expect(t *testing.T, name, want string) {
	t.Helper()
	d := &dpkg{Options: h.options}
	out, err := d.ask(t.Context(), "dpkg-query", "--admindir="+d.admin(), "--show", "--showformat=${db:Status-Want} ${db:Status-Status} ${Version}", name)
	if err != nil || strings.HasPrefix(out, "deinstall ") || strings.Contains(out, "not-installed") {
		out = ""
	}
	if out != want {
		t.Errorf("%s: got %q, want %q", name, out, want)
	}
	data, err := os.ReadFile(filepath.Join(h.root, "usr/share", name))
	if version := want[strings.LastIndex(want, " ")+1:]; string(data) != version || (err == nil) != (want != "") {
		t.Errorf("%s: got file %q, %v, want %q", name, data, err, version)
	}
}

func TestInstallUpgradeAndBack(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1"})
	two := h.stage(t, i, "2", spec{name: "tool", version: "2"}, spec{name: "libtool", version: "2"})
	expectCurrent(t, i, "")
	live(t, i, one, "")
	h.expect(t, "tool", "hold installed 1")
	live(t, i, two, one)
	h.expect(t, "tool", "hold installed 2")
	h.expect(t, "libtool", "hold installed 2")
	for range 2 {
		if err := i.Revert(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		expectCurrent(t, i, one)
		h.expect(t, "tool", "hold installed 1")
		h.expect(t, "libtool", "")
	}
	for range 2 {
		if err := i.Revert(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		expectCurrent(t, i, "")
		h.expect(t, "tool", "")
	}
}

func TestASingleFileIsARelease(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	data, err := os.ReadFile(h.build(t, spec{name: "tool", version: "1:1.0-1"}))
	if err != nil {
		t.Fatal(err)
	}
	s, err := artifact(h.work, "1", data)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := i.Stage(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	live(t, i, slot, "")
	h.expect(t, "tool", "hold installed 1:1.0-1")
}

func TestWhatWasThereBeforeIsKeptAndComesBack(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.options.Archives = h.work // apt still has it
	h.byHand(t, "-i", h.build(t, spec{name: "tool", version: "0.9"}))
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1"}, spec{name: "extra", version: "1"})
	live(t, i, one, "")
	h.expect(t, "tool", "hold installed 1")
	if err := os.Remove(filepath.Join(h.work, "tool_0.9_all.deb")); err != nil {
		t.Fatal(err)
	}
	if err := i.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := i.Revert(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	expectCurrent(t, i, "")
	h.expect(t, "tool", "install installed 0.9")
	h.expect(t, "extra", "")
	h.byHand(t, "-i", h.build(t, spec{name: "tool", version: "0.95"})) // theirs: a later activation comes back to it
	if err := i.Revert(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	h.expect(t, "tool", "install installed 0.95")
	live(t, i, one, "")
	if err := i.Revert(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	h.expect(t, "tool", "install installed 0.95")
}

func TestTheWayBackIsDownloadedAheadOrTheReleaseRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	before := h.build(t, spec{name: "tool", version: "0.9"})
	h.byHand(t, "-i", before)
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1"})
	if err := i.Check(t.Context(), one); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.NextOf(err), "tool_0.9_all.deb") {
		t.Errorf("got %v (%s), want it to be unavailable and to name the file", err, fault.NextOf(err))
	}
	if err := i.Activate(t.Context(), one, ""); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want no activation without a way back", err)
	}
	h.expect(t, "tool", "install installed 0.9")
	h.options.Download = []string{"sh", "-c", `test "$1" = tool=0.9 && cp "$0" .`, before}
	i = h.open(t)
	if err := i.Activate(t.Context(), one, ""); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "activating downloads nothing") {
		t.Errorf("got %v, want activating to download nothing", err)
	}
	live(t, i, one, "")
	h.options.Download = nil
	if err := h.open(t).Revert(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	h.expect(t, "tool", "install installed 0.9")
}

func TestNoWayBackMayBeAllowed(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.options.NoWayBack = true
	h.byHand(t, "-i", h.build(t, spec{name: "tool", version: "0.9"}))
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1"})
	live(t, i, one, "")
	if err := i.Revert(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	h.expect(t, "tool", "hold installed 1") // there is nothing to go back to
}

func TestConfigurationFilesOfTheHostStay(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1", conf: "factory 1"})
	two := h.stage(t, i, "2", spec{name: "tool", version: "2", conf: "factory 2"})
	conf := filepath.Join(h.root, "etc/tool.conf")
	check := func(want string) {
		t.Helper()
		if data, err := os.ReadFile(conf); string(data) != want {
			t.Errorf("got %q, %v, want %q", data, err, want)
		}
	}
	live(t, i, one, "")
	live(t, i, two, one)
	check("factory 2") // nobody changed it
	writeFile(t, conf, "mine")
	if err := i.Revert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	check("mine")
	live(t, i, two, one)
	check("mine")
	if err := i.Revert(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	check("mine")
}

func TestAFailingScriptIsRolledBack(t *testing.T) {
	t.Parallel()
	fails := `echo "the database cannot be migrated" >&2; exit 1`
	for _, script := range []string{"preinst", "postinst"} {
		for _, before := range []string{"", "1"} {
			t.Run(fmt.Sprintf("%s from %q", script, before), func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				i := h.open(t)
				var one installer.Slot
				want := ""
				if before != "" {
					one, want = h.stage(t, i, "1", spec{name: "tool", version: "1"}), "hold installed 1"
					live(t, i, one, "")
				}
				two := h.stage(t, i, "2", spec{name: "libtool", version: "2"}, spec{name: "tool", version: "2", scripts: map[string]string{script: fails}})
				if err := i.Check(t.Context(), two); err != nil {
					t.Fatal(err)
				}
				err := i.Activate(t.Context(), two, one)
				if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "the database cannot be migrated") ||
					!strings.Contains(err.Error(), "the packages of before are installed") {
					t.Errorf("got %v, want invalid with the script's words and what became of it", err)
				}
				expectCurrent(t, i, one)
				h.expect(t, "tool", want)
				h.expect(t, "libtool", "")
			})
		}
	}
}

// A release whose scripts fail also when it is to go, and one whose scripts hang.
func TestScriptsCannotHoldOnToTheHost(t *testing.T) {
	t.Parallel()
	for name, scripts := range map[string]map[string]string{
		"fail": {"postinst": "exit 1", "prerm": "exit 1", "postrm": "exit 1"},
		"go":   {"prerm": "exit 1", "postrm": "exit 1"},
		"hang": {"postinst": "exec sleep 1000"},
	} {
		for _, before := range []string{"", "1"} {
			t.Run(fmt.Sprintf("%s from %q", name, before), func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				if name == "hang" {
					h.options.Timeout = 2 * time.Second
				}
				i := h.open(t)
				var one installer.Slot
				want := ""
				if before != "" {
					one, want = h.stage(t, i, "1", spec{name: "tool", version: "1"}), "hold installed 1"
					live(t, i, one, "")
				}
				two := h.stage(t, i, "2", spec{name: "tool", version: "2", scripts: scripts})
				if err := i.Check(t.Context(), two); err != nil {
					t.Fatal(err)
				}
				if err := i.Activate(t.Context(), two, one); (err == nil) != (name == "go") {
					t.Errorf("activate: got %v", err)
				}
				if err := i.Revert(t.Context(), one); err != nil {
					t.Fatal(err)
				}
				expectCurrent(t, i, one)
				h.expect(t, "tool", want)
			})
		}
	}
}

// mortal dies with dpkg: the agent that was killed does nothing any more.
type mortal struct {
	system
	dead bool
}

var errDead = errors.New("killed")

func (m *mortal) change(ctx context.Context, c change) error {
	if m.dead {
		return errDead
	}
	err := m.system.change(ctx, c)
	m.dead = err != nil
	return err
}

// Each script kills dpkg, once, at its step. Whatever is left then, an agent that starts again brings the host to either side.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	once := func(step string) string {
		return fmt.Sprintf(`test -e "$DPKG_ROOT/killed" || { echo %s > "$DPKG_ROOT/killed"; kill -9 $PPID; exit 1; }`, step)
	}
	steps := []struct {
		name     string
		old, new map[string]string
	}{
		{"old prerm", map[string]string{"prerm": once("prerm")}, nil},
		{"new preinst", nil, map[string]string{"preinst": once("preinst")}},
		{"old postrm", map[string]string{"postrm": once("postrm")}, nil},
		{"new postinst", nil, map[string]string{"postinst": once("postinst")}},
	}
	for _, step := range steps {
		for _, way := range []string{"back", "on"} {
			for _, before := range []string{"", "1"} {
				if before == "" && (step.old != nil || way == "on") {
					continue
				}
				t.Run(fmt.Sprintf("%s from %q, then %s", step.name, before, way), func(t *testing.T) {
					t.Parallel()
					if before == "" || step.name != "new postinst" { // the last step, and all others went before
						fulltest.Only(t)
					}
					h := newHost(t)
					i := h.open(t)
					var one installer.Slot
					want := ""
					if before != "" {
						one, want = h.stage(t, i, "1", spec{name: "tool", version: "1", scripts: step.old}, spec{name: "lib", version: "1"}), "hold installed 1"
						live(t, i, one, "")
					}
					two := h.stage(t, i, "2", spec{name: "tool", version: "2", scripts: step.new}, spec{name: "lib", version: "2"}, spec{name: "more", version: "2"})
					i.host = &mortal{system: i.host}
					if err := i.Activate(t.Context(), two, one); err == nil {
						t.Fatal("dpkg was not killed")
					}
					i = h.open(t)
					found, err := i.Inspect(t.Context())
					if err != nil || found.Current == two {
						t.Errorf("got %+v, %v after the kill, want it not to be the new one", found, err)
					}
					if way == "on" {
						live(t, i, two, one)
						h.expect(t, "tool", "hold installed 2")
						h.expect(t, "more", "hold installed 2")
						return
					}
					if err := i.Revert(t.Context(), one); err != nil {
						t.Fatal(err)
					}
					expectCurrent(t, i, one)
					for _, name := range []string{"tool", "lib"} {
						h.expect(t, name, want)
					}
					h.expect(t, "more", "")
				})
			}
		}
	}
}

func TestKilledBetweenDpkgAndTheLink(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1"})
	two := h.stage(t, i, "2", spec{name: "tool", version: "2"})
	live(t, i, one, "")
	if err := i.activate(t.Context(), two, one); err != nil { // all but the link
		t.Fatal(err)
	}
	i = h.open(t)
	if found, err := i.Inspect(t.Context()); err != nil || found.Current != two || found.Previous != one {
		t.Errorf("got %+v, %v, want what dpkg says and the way back", found, err)
	}
	if err := i.Revert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	expectCurrent(t, i, one)
	h.expect(t, "tool", "hold installed 1")
}

func TestTheEndOfItsContextDoesNotInterruptDpkg(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	one := h.stage(t, i, "1", spec{name: "tool", version: "1", scripts: map[string]string{
		"preinst":  `echo > "$DPKG_ROOT/begun"`,
		"postinst": `while test ! -e "$DPKG_ROOT/go"; do sleep 0.05; done`,
	}})
	done := make(chan error, 1)
	go func() { done <- i.Activate(ctx, one, "") }()
	waitFor(t, filepath.Join(h.root, "begun"))
	cancel()
	writeFile(t, filepath.Join(h.root, "go"), "")
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	expectCurrent(t, i, one)
	h.expect(t, "tool", "hold installed 1")
}

func waitFor(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if err := options(disk.OS{}, "").Clock.Sleep(ctx, 10*time.Millisecond); err != nil {
			t.Fatalf("%s does not appear", path)
		}
	}
}

func TestTheLockOfSomebodyElse(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.options.LockWait = 400 * time.Millisecond
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1"})
	if err := i.Check(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	// dpkg itself is the other process: it waits in a script.
	slow := h.build(t, spec{name: "slow", version: "1", scripts: map[string]string{
		"postinst": `echo > "$DPKG_ROOT/locked"; while test ! -e "$DPKG_ROOT/go"; do sleep 0.05; done`,
	}})
	other := exec.CommandContext(t.Context(), "dpkg", "--root="+h.root, "--force-script-chrootless", "--log=/dev/null", "-i", slow)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, filepath.Join(h.root, "locked"))
	err := i.Activate(t.Context(), one, "")
	who := fmt.Sprintf("process %d (dpkg)", other.Process.Pid)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), who) {
		t.Errorf("got %v, want unavailable that names %s", err, who)
	}
	expectCurrent(t, i, "")
	h.options.LockWait = 30 * time.Second
	i = h.open(t)
	done := make(chan error, 1)
	go func() { done <- i.Activate(t.Context(), one, "") }()
	writeFile(t, filepath.Join(h.root, "go"), "")
	if err := errors.Join(other.Wait(), <-done); err != nil {
		t.Fatal(err)
	}
	expectCurrent(t, i, one)
}

func TestWhatDoesNotFitTheHostIsRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.byHand(t, "-i", h.build(t, spec{name: "libc", version: "2.36"}), h.build(t, spec{name: "exim", version: "4", fields: "Provides: mta (= 4), other\n"}))
	h.byHand(t, "-i", h.build(t, spec{name: "plugin", version: "1", fields: "Depends: exim (= 4) | postfix\n"}))
	h.options.Archives = h.work
	i := h.open(t)
	for name, row := range map[string]struct {
		specs []spec
		want  string // of the complaint; "" if it fits
	}{
		"fits":        {[]spec{{name: "a", version: "1", fields: "Depends: libc (>= 2.36), mta (>= 3), nothing | other, b (= 1)\n"}, {name: "b", version: "1"}}, ""},
		"newer libc":  {[]spec{{name: "a", version: "2", fields: "Pre-Depends: libc (>= 2.40)\n"}}, "needs libc (>= 2.40), which is not installed"},
		"missing":     {[]spec{{name: "a", version: "3", fields: "Depends: nothing | nobody (<< 2)\n"}}, "needs nothing or nobody (<< 2), which is not installed"},
		"two":         {[]spec{{name: "a", version: "4", fields: "Depends: one, libc, two\n"}}, "2 problems"},
		"virtual":     {[]spec{{name: "a", version: "5", fields: "Depends: other (>= 1)\n"}}, "needs other (>= 1)"},
		"sibling":     {[]spec{{name: "a", version: "6", fields: "Depends: b (>= 7)\n"}, {name: "b", version: "6"}}, "needs b (>= 7)"},
		"wrong arch":  {[]spec{{name: "a", version: "7", arch: "m68k"}}, "architecture"},
		"conflict":    {[]spec{{name: "a", version: "8", fields: "Conflicts: libc\n"}}, "conflict"},
		"dependant":   {[]spec{{name: "exim", version: "5"}}, "plugin, which is installed, needs exim (= 4) or postfix"},
		"replacement": {[]spec{{name: "exim", version: "6"}, {name: "plugin", version: "6", fields: "Depends: exim (= 6)\n"}}, ""},
	} {
		slot := h.stage(t, i, strings.ReplaceAll(name, " ", "-"), row.specs...)
		err := i.Check(t.Context(), slot)
		if row.want == "" && err != nil || row.want != "" && (fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: got %v, want a conflict with %q", name, err, row.want)
		}
	}
}

func TestWhatIsNoReleaseOfPackagesIsRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	s, err := artifact(h.work, "text", bytes.Repeat([]byte("this is no package\n"), 100))
	if err != nil {
		t.Fatal(err)
	}
	text, err := i.Stage(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	first := h.stage(t, i, "1", spec{name: "tool", version: "1"})
	again := h.stage(t, i, "2", spec{name: "tool", version: "1", file: "built again"})
	for slot, want := range map[installer.Slot]string{
		text:  "not a Debian format archive",
		again: "has other bytes than the one of slot " + string(first),
	} {
		if err := i.Check(t.Context(), slot); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want invalid with %q", slot, err, want)
		}
	}
	expectCurrent(t, i, "") // what is no package does not disturb the others
	if err := i.Collect(t.Context(), []installer.Slot{first}); err != nil {
		t.Fatal(err)
	}
	live(t, i, first, "")
}

func TestRoomIsLookedFor(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	huge := h.stage(t, i, "2", spec{name: "tool", version: "2", fields: "Installed-Size: 2000000000\n"})
	if err := i.Check(t.Context(), huge); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "bytes are free") {
		t.Errorf("got %v, want unavailable for want of room", err)
	}
}

// A dpkg that was killed has left half of a release, and a package of the host that waits for it. Going back does not run the scripts of
// what it leaves behind again, and finishes the other package.
func TestAnInterruptedDpkgIsFinished(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.byHand(t, "-i", h.build(t, spec{name: "cache", version: "1", triggers: "interest /usr/share/tool\n", scripts: map[string]string{
		"postinst": `test "$1" = configure || echo x >> "$DPKG_ROOT/refreshed"`,
	}}))
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1"})
	two := h.stage(t, i, "2", spec{name: "tool", version: "2", scripts: map[string]string{
		"postinst": `echo x >> "$DPKG_ROOT/ran"; kill -9 $PPID; exit 1`,
	}})
	live(t, i, one, "")
	i.host = &mortal{system: i.host}
	if err := i.Activate(t.Context(), two, one); err == nil {
		t.Fatal("dpkg was not killed")
	}
	d := &dpkg{Options: h.options}
	states := func() string {
		out, err := d.ask(t.Context(), "dpkg-query", "--admindir="+d.admin(), "--show", "--showformat=${Package} ${db:Status-Status}, ")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := states(); got == "cache installed, tool installed, " {
		t.Fatalf("got %s after the kill: this proves nothing", got)
	}
	if err := h.open(t).Revert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if got := states(); got != "cache installed, tool installed, " {
		t.Errorf("got %s, want all of it configured", got)
	}
	if data, err := os.ReadFile(filepath.Join(h.root, "ran")); string(data) != "x\n" {
		t.Errorf("the script of what is left behind ran %d times (%v), want once", len(data)/2, err)
	}
}

// The sources of apt are down: what is here already is activated and left again; a way back that is not here makes the host not ready.
func TestAptSourcesThatAreDown(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.options.Download = []string{"sh", "-c", `echo "E: Failed to fetch http://deb.invalid/tool.deb  Could not resolve 'deb.invalid'" >&2; exit 100`}
	h.byHand(t, "-i", h.build(t, spec{name: "tool", version: "0.9"}))
	i := h.open(t)
	replaces := h.stage(t, i, "1", spec{name: "tool", version: "1"})
	err := i.Check(t.Context(), replaces)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "Could not resolve") {
		t.Errorf("got %v, want unavailable with what apt says", err)
	}
	h.expect(t, "tool", "install installed 0.9")
	one, two := h.stage(t, i, "2", spec{name: "new", version: "1"}), h.stage(t, i, "3", spec{name: "new", version: "2"})
	live(t, i, one, "")
	live(t, i, two, one)
	if err := i.Revert(t.Context(), one); err != nil {
		t.Error(err)
	}
	h.expect(t, "new", "hold installed 1")
}

// What was set aside stays while somebody else changes packages: nothing can be unpacked yet.
func TestRoomIsGivenUpOnlyWhenDpkgRuns(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.options.Reserve, h.options.LockWait = 1000, time.Millisecond
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1"})
	live(t, i, one, "")
	release, err := (&dpkg{Options: h.options}).lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Revert(t.Context(), ""); fault.KindOf(err) != fault.Unavailable || i.ballasted() < 1000 {
		t.Errorf("while it is locked: got %v with %d bytes set aside, want all of them", err, i.ballasted())
	}
	if err := errors.Join(release(), i.Revert(t.Context(), "")); err != nil || i.ballasted() != 0 {
		t.Errorf("got %v with %d bytes set aside, want it back and none", err, i.ballasted())
	}
}

// What dpkg says wins over links.
func TestChangedByHand(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1"}, spec{name: "lib", version: "1"})
	two := h.stage(t, i, "2", spec{name: "tool", version: "2"}, spec{name: "lib", version: "2"})
	live(t, i, one, "")
	h.byHand(t, "-i", filepath.Join(h.work, "tool_2_all.deb"))
	expectCurrent(t, i, Unknown)
	if err := i.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	live(t, i, two, one)
	h.byHand(t, "-i", filepath.Join(h.work, "tool_1_all.deb"), filepath.Join(h.work, "lib_1_all.deb"))
	expectCurrent(t, i, one)
	h.byHand(t, "--remove", "tool", "lib")
	expectCurrent(t, i, "")
}
