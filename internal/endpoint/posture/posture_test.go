package posture_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/posture"
)

const (
	state = "/var/lib/firebreak-agent"
	guard = "/var/lib/firebreak-guard"
)

// root is a host in a directory: files by path, links where the content begins with "->".
type root struct {
	t   *testing.T
	dir string
}

func (r root) write(path, content string) {
	r.t.Helper()
	path = filepath.Join(r.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	var err error
	if len(content) > 2 && content[:2] == "->" {
		err = os.Symlink(content[2:], path)
	} else {
		err = os.WriteFile(path, []byte(content), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r root) remove(path string) {
	r.t.Helper()
	if err := os.RemoveAll(filepath.Join(r.dir, path)); err != nil {
		r.t.Fatal(err)
	}
}

// roomy is a disk with so much space.
type roomy struct {
	disk.FS
	free int64
}

func (r roomy) Free(string) (int64, error) { return r.free, nil }

func (r root) look(free int64) api.Posture {
	return posture.Look(posture.Options{FS: roomy{disk.OS{}, free}, Root: r.dir, State: state, Guard: guard})
}

// well is a host that misses nothing.
func well(t *testing.T) root {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("windows has another kernel, and other links")
	}
	r := root{t, t.TempDir()}
	for path, content := range map[string]string{
		"/proc/cmdline":                          "BOOT_IMAGE=/vmlinuz root=/dev/vda1 panic=0 quiet panic=10\n",
		"/proc/sys/kernel/panic":                 "10\n",
		"/proc/sys/kernel/random/boot_id":        "b-1\n",
		"/proc/self/status":                      "Name:\tfirebreak-agent\nPPid:\t41\nTracerPid:\t7\n",
		"/proc/41/comm":                          "firebreak-guard\n",
		"/proc/7/comm":                           "strace\n",
		"/sys/class/watchdog/watchdog0/state":    "inactive\n",
		"/sys/class/watchdog/watchdog0/identity": "Software Watchdog\n",
		"/sys/class/watchdog/watchdog1/state":    "active\n",
		"/sys/class/watchdog/watchdog1/identity": "i6300ESB timer\n",
		"/dev/watchdog0":                         "",
		"/run/firebreak/guard":                   "b-1",
		"/run/firebreak/guard-early":             "b-1\n",
		"/usr/lib/systemd/system/sysinit.target.wants/firebreak-deadline.timer": "->../firebreak-deadline.timer",
		guard + "/state": "",
		state + "/components/sensor-content/slots/1-aa/rules.json": "",
		state + "/components/sensor-content/slots/2-bb/rules.json": "",
		state + "/components/sensor-content/current":               "->slots/2-bb",
		state + "/components/sensor-content/.back":                 "->slots/1-aa",
		state + "/components/nginx-config/slots/.keep":             "",
	} {
		r.write(path, content)
	}
	return r
}

func TestWellHostMissesNothing(t *testing.T) {
	t.Parallel()
	got := well(t).look(32 << 20)
	want := api.Posture{Have: fleet.Posture(0).Missing()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("posture (-want +got):\n%s", diff)
	}
}

// Each change takes away what is named, and nothing else.
func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	guards := []string{"guard", "guard-early", "guard-enabled"}
	sensor := state + "/components/sensor-content/"
	replace := func(path, content string) func(root) {
		return func(r root) { r.remove(path); r.write(path, content) }
	}
	remove := func(path string) func(root) { return func(r root) { r.remove(path) } }
	for name, test := range map[string]struct {
		change func(root)
		want   []string
	}{
		"nothing":                    {func(root) {}, nil},
		"a panic is for ever":        {replace("/proc/sys/kernel/panic", "0\n"), []string{"panic-reboot"}},
		"a panic reboots at once":    {replace("/proc/sys/kernel/panic", "-1\n"), nil},
		"no panic to be read":        {remove("/proc/sys/kernel/panic"), []string{"panic-reboot"}},
		"panic= is overruled":        {replace("/proc/cmdline", "panic=10 panic=0"), []string{"panic-early"}},
		"panic= is missing":          {replace("/proc/cmdline", "quiet paniclog=10 panic"), []string{"panic-early"}},
		"only softdog":               {replace("/sys/class/watchdog/watchdog1/identity", "Software Watchdog\n"), []string{"watchdog-hardware"}},
		"a watchdog of unknown make": {remove("/sys/class/watchdog/watchdog1/identity"), []string{"watchdog-hardware"}},
		"nobody armed it":            {replace("/sys/class/watchdog/watchdog1/state", "inactive"), []string{"watchdog", "watchdog-hardware"}},
		"no watchdog":                {func(r root) { r.remove("/sys/class/watchdog"); r.remove("/dev/watchdog0") }, []string{"watchdog", "watchdog-hardware"}},
		"the initramfs has no guard": {remove("/run/firebreak/guard-early"), []string{"guard-early"}},
		"the unit saw another boot":  {replace("/run/firebreak/guard", "b-0"), []string{"guard"}},
		"the boot has no id":         {remove("/proc/sys/kernel/random/boot_id"), []string{"guard", "guard-early"}},
		"marks and boot are empty": {func(r root) {
			replace("/run/firebreak/guard", "")(r)
			replace("/proc/sys/kernel/random/boot_id", "")(r)
		}, []string{"guard", "guard-early"}},
		"the guard is switched off":    {func(r root) { r.write(guard+"/disabled", "") }, guards},
		"switched off for a boot":      {replace("/proc/cmdline", "panic=10 firebreak.disable"), guards},
		"not switched off":             {replace("/proc/cmdline", "panic=10 firebreak.disable=0"), nil},
		"switched off with a value":    {replace("/proc/cmdline", "panic=10 firebreak.disable=1"), guards},
		"there is no guard":            {remove(guard), guards},
		"no deadline":                  {remove("/usr/lib/systemd/system/sysinit.target.wants"), []string{"deadline"}},
		"the deadline is masked":       {func(r root) { r.write("/etc/systemd/system/firebreak-deadline.timer", "->/dev/null") }, []string{"deadline"}},
		"what runs is gone":            {remove(sensor + "slots/2-bb"), []string{"good"}},
		"the way back leads nowhere":   {remove(sensor + "slots/1-aa"), []string{"good"}},
		"a file where the link was":    {replace(sensor+"current", "2-bb"), []string{"good"}},
		"no way back is needed":        {func(r root) { r.remove(sensor + ".back"); r.remove(sensor + "slots/1-aa") }, nil},
		"nothing was ever activated":   {func(r root) { r.remove(sensor + ".back"); r.remove(sensor + "current") }, nil},
		"there is no state":            {remove(state), []string{"good"}},
		"somebody else is the parent":  {replace("/proc/41/comm", "systemd"), []string{"launcher"}},
		"the parent cannot be told":    {remove("/proc/self/status"), []string{"launcher"}},
		"a file that is no small text": {replace("/proc/sys/kernel/panic", string(make([]byte, 1<<17))), []string{"panic-reboot"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := well(t)
			test.change(r)
			got := r.look(1 << 40)
			if diff := cmp.Diff(sorted(test.want), sorted(got.Missing)); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if n := len(got.Have) + len(got.Missing); n != len(fleet.Posture(0).Missing()) {
				t.Errorf("got %d words, want each once", n)
			}
		})
	}
}

func sorted(words []string) []string { return slices.Sorted(slices.Values(words)) }

func TestRoom(t *testing.T) {
	t.Parallel()
	r := well(t)
	if got := r.look(32<<20 - 1).Missing; !slices.Equal(got, []string{"space"}) {
		t.Errorf("got %v missing on a full disk, want space", got)
	}
	got := posture.Look(posture.Options{FS: roomy{disk.OS{}, 7}, Root: r.dir, State: state, Guard: guard, Room: 7})
	if len(got.Missing) > 0 {
		t.Errorf("got %v missing where 7 bytes are enough, want nothing", got.Missing)
	}
}

// A kernel that does not tell the state of its watchdogs leaves what systemd was told.
func TestWatchdogWithoutSysfs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"nothing":              {nil, false},
		"set":                  {map[string]string{"/etc/systemd/system.conf": "[Manager]\n#RuntimeWatchdogSec=1\nRuntimeWatchdogSec=30s\n"}, true},
		"a comment":            {map[string]string{"/etc/systemd/system.conf": "#RuntimeWatchdogSec=30s\n"}, false},
		"off":                  {map[string]string{"/etc/systemd/system.conf": "RuntimeWatchdogSec=off\n"}, false},
		"0 s":                  {map[string]string{"/etc/systemd/system.conf": "RuntimeWatchdogSec=0s\n"}, false},
		"0 min":                {map[string]string{"/etc/systemd/system.conf": "RuntimeWatchdogSec=0min\n"}, false},
		"taken back":           {map[string]string{"/etc/systemd/system.conf": "RuntimeWatchdogSec=30s\nRuntimeWatchdogSec=\n"}, false},
		"a drop-in":            {map[string]string{"/usr/lib/systemd/system.conf.d/50-watchdog.conf": "RuntimeWatchdogSec=1min"}, true},
		"no drop-in":           {map[string]string{"/usr/lib/systemd/system.conf.d/50-watchdog.conf.bak": "RuntimeWatchdogSec=1min"}, false},
		"a drop-in turns off":  {map[string]string{"/etc/systemd/system.conf": "RuntimeWatchdogSec=30", "/run/systemd/system.conf.d/a.conf": "RuntimeWatchdogSec=0"}, false},
		"a drop-in is hidden":  {map[string]string{"/usr/lib/systemd/system.conf.d/a.conf": "RuntimeWatchdogSec=30", "/etc/systemd/system.conf.d/a.conf": ""}, false},
		"the later drop-in":    {map[string]string{"/etc/systemd/system.conf.d/a.conf": "RuntimeWatchdogSec=0", "/usr/lib/systemd/system.conf.d/b.conf": "RuntimeWatchdogSec=9"}, true},
		"/etc before /usr/lib": {map[string]string{"/usr/lib/systemd/system.conf": "RuntimeWatchdogSec=0", "/etc/systemd/system.conf": "RuntimeWatchdogSec=9"}, true},
	} {
		r := well(t)
		r.remove("/sys/class/watchdog")
		for path, content := range test.files {
			r.write(path, content)
		}
		if got := slices.Contains(r.look(1<<40).Have, "watchdog"); got != test.want {
			t.Errorf("%s: got watchdog %v, want %v", name, got, test.want)
		}
	}
}

// Nothing is written, and nothing need be there.
func TestLookOnlyReads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := posture.Look(posture.Options{FS: readOnly{disk.OS{}, t}, Root: filepath.Join(dir, "none"), State: state, Guard: guard})
	if len(got.Have) != 0 {
		t.Errorf("got %v of no host at all, want nothing", got.Have)
	}
	posture.Look(posture.Options{FS: readOnly{disk.OS{}, t}, Root: well(t).dir, State: state, Guard: guard})
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("got %v, %v after the look, want nothing there", entries, err)
	}
}

// readOnly fails the test when something is opened to be written; what else would change the disk has no file system behind it.
type readOnly struct {
	disk.Reader
	t *testing.T
}

func (r readOnly) Open(path string, flag int, perm fs.FileMode) (disk.File, error) {
	if flag != os.O_RDONLY {
		r.t.Errorf("%s is opened with %x", path, flag)
	}
	return disk.OS{}.Open(path, flag, perm)
}

func (r readOnly) Mkdir(path string, _ fs.FileMode) error { return r.refuse(path) }
func (r readOnly) Symlink(_, path string) error           { return r.refuse(path) }
func (r readOnly) Rename(_, path string) error            { return r.refuse(path) }
func (r readOnly) Remove(path string) error               { return r.refuse(path) }
func (r readOnly) Chmod(path string, _ fs.FileMode) error { return r.refuse(path) }
func (r readOnly) SyncDir(path string) error              { return r.refuse(path) }

func (r readOnly) refuse(path string) error {
	r.t.Errorf("%s is changed", path)
	return fs.ErrPermission
}

func BenchmarkLook(b *testing.B) {
	for b.Loop() {
		posture.Look(posture.Options{FS: disk.OS{}, Root: "/", State: state, Guard: guard})
	}
}
