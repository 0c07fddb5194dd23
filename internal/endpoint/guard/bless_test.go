package guard_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
)

// answer is what the host's commands say, by their first two words; a command that is not in it cannot be run.
func answer(says map[string]string) func(context.Context, ...string) (string, error) {
	return func(_ context.Context, argv ...string) (string, error) {
		if out, ok := says[strings.Join(argv[:2], " ")]; ok {
			return out, nil
		}
		return "", fmt.Errorf("%s: %w", argv[0], exec.ErrNotFound)
	}
}

func TestBless(t *testing.T) {
	t.Parallel()
	const route = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\neth0 00000000 0202000A 0003 0 0 100 00000000 0 0 0\n"
	units := map[string]string{"systemctl list-units": "old.service loaded failed failed Old\n", "systemctl show": "0\n", "getent hosts": "::1 localhost\n"}
	well := func(w *world) {
		w.write(filepath.Join(w.Proc, "sys/kernel/tainted"), "4096\n")
		w.write(filepath.Join(w.Proc, "pressure/memory"), "some avg10=0.00 avg60=1.50 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
		w.write(filepath.Join(w.Proc, "net/route"), route)
		w.write(filepath.Join(w.Sys, "class/net/eth0/carrier"), "1\n")
		w.write(filepath.Join(w.Sys, "class/net/eth0/device"), "")
		w.Command = answer(units)
	}
	for name, test := range map[string]struct {
		change func(w *world)
		bad    string // what is said; "" if the boot is blessed
	}{
		"nothing":       {func(*world) {}, ""},
		"a unit failed": {says(units, "systemctl list-units", "new.service loaded failed failed New\n"), "unit new.service failed"},
		"restarts":      {says(units, "systemctl show", "7\n"), "unit sensor.service was restarted 7 times, at the baseline 0"},
		"an oops":       {file("proc/sys/kernel/tainted", "4224"), "the kernel is tainted by an oops"},
		"pressure":      {file("proc/pressure/memory", "some avg10=9 avg60=88.10 avg300=1 total=1\n"), "pressure on memory is 88 %, at the baseline 1 %"},
		"no route":      {file("proc/net/route", "Iface Destination\n"), "there is no default route"},
		"unplugged":     {func(w *world) { file("proc/net/route", "Iface\n")(w); file("sys/class/net/eth0/carrier", "0")(w) }, ""},
		"only IPv6": {func(w *world) {
			file("proc/net/route", "Iface\n")(w)
			zero := strings.Repeat("0", 32)
			file("proc/net/ipv6_route", zero+" 00 "+zero+" 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n")(w)
		}, ""},
		"a default route to nowhere": {func(w *world) {
			file("proc/net/route", "Iface\n")(w)
			zero := strings.Repeat("0", 32)
			file("proc/net/ipv6_route", zero+" 00 "+zero+" 00 "+zero+" ffffffff 00000001 00000000 00200200 lo\n")(w)
		}, "there is no default route"},
		"no systemd": {func(w *world) { w.Command = answer(nil) }, ""},
		"names are not resolved": {func(w *world) {
			w.Command = func(ctx context.Context, argv ...string) (string, error) {
				if argv[0] == "getent" {
					return "", exec.CommandContext(ctx, "sh", "-c", "exit 2").Run()
				}
				return answer(units)(ctx, argv...)
			}
		}, "names are not resolved"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			well(w)
			b := guard.Blessing{Wait: 2 * time.Minute, Again: 10 * time.Second, Units: []string{"sensor.service"}}
			if code := guard.Bless(t.Context(), w.Host, b, w.log); code != 0 {
				t.Fatalf("the first boot is not blessed:\n%s", w.log)
			}
			w.boot()
			test.change(w)
			before, out := w.clock.Now(), &lines{}
			code := guard.Bless(t.Context(), w.Host, b, out)
			s := w.state()
			if test.bad == "" {
				if code != 0 || s.Boots != 0 || s.Blessed != "b2" || w.clock.Now().Sub(before) != b.Wait {
					t.Errorf("got exit code %d, %+v after %s, want that it is blessed after %s\n%s", code, s, w.clock.Now().Sub(before), b.Wait, out)
				}
				return
			}
			if code != 1 || s.Boots != 1 || s.Blessed != "b1" || !strings.Contains(out.String(), test.bad) {
				t.Errorf("got exit code %d, %d boots, want that it is not blessed because %s\n%s", code, s.Boots, test.bad, out)
			}
		})
	}
}

func file(path, text string) func(w *world) {
	return func(w *world) { w.write(filepath.Join(filepath.Dir(w.Proc), path), text) }
}

func says(units map[string]string, command, out string) func(w *world) {
	return func(w *world) {
		changed := map[string]string{command: out}
		for c, o := range units {
			if c != command {
				changed[c] = o
			}
		}
		w.Command = answer(changed)
	}
}

// A unit that fails since an update of the system: nothing that is proved is left for it, and the third boot is blessed as it is.
func TestWhatStaysBadIsUsual(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entry := w.install(content, "v0", "v1", "v2")
	entry.Pending, entry.Good, entry.Older = false, "v2", "v1"
	w.sync(entry)
	bless := func(units string) int {
		w.Command = answer(map[string]string{"systemctl list-units": units})
		return guard.Bless(t.Context(), w.Host, guard.Blessing{}, w.log)
	}
	if code := bless("\n"); code != 0 {
		t.Fatalf("the first boot is not blessed:\n%s", w.log)
	}
	const bad = "new.service loaded failed failed New\n"
	for n := 1; n <= 2; n++ {
		w.boot()
		for range 3 { // however often it is looked at, it is one boot
			if code := bless(bad); code != 1 {
				t.Fatalf("boot %d is blessed though the host is worse", n)
			}
		}
	}
	w.boot()
	safe := filepath.Join(w.Run, "safe-mode")
	w.write(safe, "")
	if code := bless(bad); code != 0 {
		t.Errorf("the third boot is not blessed:\n%s", w.log)
	}
	if _, err := os.Lstat(safe); err == nil {
		t.Error("safe mode goes on in a boot that is blessed")
	}
	for range 2 {
		w.boot()
		if code := bless(bad); code != 0 || w.state().Boots != 0 {
			t.Errorf("what is usual by now is bad again:\n%s", w.log)
		}
	}
	if got := w.current(content); got != "v2" {
		t.Errorf("current is %s, want v2", got)
	}
}

// A host that was worse before a release was activated does not lose it, however often it is rebooted. One that is worse since then does.
func TestAReleaseIsNotBlamedForWhatWasBadBefore(t *testing.T) {
	t.Parallel()
	const old, fresh = "old.service loaded failed failed Old\n", "new.service loaded failed failed New\n"
	for name, test := range map[string]struct{ before, after, want string }{
		"bad before": {old, old, "v2"}, "bad since": {"\n", fresh, "v1"}, "worse since": {old, old + fresh, "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			bless := func(units string) {
				w.Command = answer(map[string]string{"systemctl list-units": units})
				guard.Bless(t.Context(), w.Host, guard.Blessing{}, w.log)
			}
			bless("\n")
			w.boot()
			bless(test.before)
			w.sync(w.install(content, "v1", "v2"))
			for range 5 {
				w.boot()
				bless(test.after)
			}
			if got := w.current(content); got != test.want {
				t.Errorf("current is %s, want %s\n%s", got, test.want, w.log)
			}
		})
	}
}

// What is bad only for a moment is not bad.
func TestBlessLooksAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failed := []string{"", "late.service loaded failed\n", ""}
	w.Command = func(_ context.Context, argv ...string) (string, error) {
		if argv[0] != "systemctl" {
			return "", exec.ErrNotFound
		}
		out := failed[0]
		failed = failed[1:]
		return out, nil
	}
	for range 2 {
		if code := guard.Bless(t.Context(), w.Host, guard.Blessing{Again: time.Second}, w.log); code != 0 {
			t.Errorf("not blessed:\n%s", w.log)
		}
	}
	if len(failed) != 0 {
		t.Errorf("looked %d times too few", len(failed))
	}
}

func TestABootThatEndsIsNotBlessed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Command = answer(nil)
	w.boot()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := guard.Bless(ctx, w.Host, guard.Blessing{Wait: time.Minute}, w.log); code != 1 || w.state().Boots != 1 {
		t.Errorf("got exit code %d and %d boots, want that it is not blessed", code, w.state().Boots)
	}
}

// I6: the host is rebooted only out of a hang, while something is pending, at most four times, and on record before.
func TestInvariantI6Deadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reboots := 0
	w.Command = func(_ context.Context, argv ...string) (string, error) {
		if slices.Equal(argv, []string{"systemctl", "reboot", "--force"}) {
			reboots++
			if got := w.state().Forced; got != reboots { //nolint:contextcheck // its lock is waited for within a limit of its own
				t.Errorf("reboot %d with %d on record", reboots, got)
			}
		}
		return "", errors.New("no systemd")
	}
	overdue := func(want int, why string) {
		t.Helper()
		guard.Deadline(t.Context(), w.Host, w.log)
		if reboots != want {
			t.Errorf("%s: got %d reboots, want %d\n%s", why, reboots, want, w.log)
		}
	}
	entry := w.install(content, "v1", "v2")
	w.boot()
	overdue(0, "nothing is pending")
	w.sync(entry)
	w.write(filepath.Join(w.Proc, "7/comm"), "fsck.ext4\n")
	overdue(0, "a file system is being checked")
	w.write(filepath.Join(w.Proc, "7/comm"), "sh\n")
	overdue(1, "a hang")
	guard.Bless(t.Context(), w.Host, guard.Blessing{}, w.log)
	overdue(1, "blessed")
	w.boot()
	w.write(filepath.Join(w.Run, "unwell"), "")
	overdue(1, "judged")
	w.boot()
	w.write(filepath.Join(w.dir(), "disabled"), "")
	overdue(1, "disabled")
	w2 := newWorld(t)
	w2.Command = w.Command
	w, reboots = w2, 0
	lost := w.install(content, "v1", "v2")
	lost.Good = "v-lost"
	w.sync(lost)
	for range 10 {
		w.boot()
		guard.Deadline(t.Context(), w.Host, w.log)
	}
	overdue(4, "what cannot be gone back from")
}
