package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
)

// Blessing is how a boot is judged.
type Blessing struct {
	Wait  time.Duration // before the first look; a boot that is over earlier is not blessed
	Again time.Duration // between looks, of which there are three: what is bad only once is not bad
	Units []string      // whose restarts are counted
	Name  string        // that must be resolved; "" is one that needs no network
}

const looks = 3

// Bless waits, compares the host with what it was like when it was blessed last, and ends the count of boots and safe mode if nothing is
// worse, or if it is the third boot that is and no release is to blame. What cannot be judged is never bad, and whether the control plane can
// be reached is not asked. It tells what it found, and the exit code.
func Bless(ctx context.Context, h Host, b Blessing, out io.Writer) int {
	if why := h.disabled(); why != "" {
		fmt.Fprintf(out, "not blessed: the guard is disabled %s\n", why)
		return 0
	}
	boot, err := h.bless(ctx, b)
	if err != nil {
		fmt.Fprintf(out, "boot %s is not blessed: %v\n", boot, err)
		if ctx.Err() == nil {
			if unsaid := h.mark(unwellFile, err.Error()+"\n"); unsaid != nil {
				fmt.Fprintf(out, "cannot say so to the deadline: %v\n", unsaid)
			}
		}
		return 1
	}
	fmt.Fprintf(out, "boot %s is blessed\n", boot)
	return 0
}

func (h Host) bless(ctx context.Context, b Blessing) (boot string, err error) {
	boot = h.BootID()
	dir, err := h.at(h.Dir)
	if err != nil {
		return boot, err
	}
	book, err := Open(h.FS, dir) //nolint:contextcheck // its lock is waited for within a limit of its own
	if err != nil {
		return boot, err
	}
	defer func() { _ = book.Close() }()
	s, err := book.State()
	if err != nil {
		return boot, err
	}
	now, worse, err := h.settled(ctx, b, s.Baseline)
	if err != nil {
		return boot, err
	}
	good := bootguard.Blessed{Boot: boot, Baseline: now, Dumps: h.dumps()}
	if worse == nil {
		err = book.tell(good) //nolint:contextcheck // its lock is waited for within a limit of its own
	} else {
		err = h.worse(book, good, worse) //nolint:contextcheck // as above
	}
	if err != nil {
		return boot, err
	}
	_ = h.FS.Remove(filepath.Join(h.Run, safeModeFile)) // mostly there is none
	return boot, h.mark(blessedFile, boot+"\n")
}

// settled waits and looks until nothing is worse than the baseline, and tells what still is.
func (h Host) settled(ctx context.Context, b Blessing, base bootguard.Health) (now bootguard.Health, worse []string, err error) {
	wait := b.Wait
	for range looks {
		if err := h.Clock.Sleep(ctx, wait); err != nil {
			return now, nil, fmt.Errorf("wait for the host to settle: %w", err)
		}
		now = h.health(ctx, b.Units, b.Name)
		if worse = bootguard.Worse(base, now); len(worse) == 0 {
			return now, nil, nil
		}
		wait = b.Again
	}
	return now, worse, nil
}

// worse tells, once a boot, that the boot was judged. It is nil if the boot is blessed all the same.
func (h Host) worse(book *Book, now bootguard.Blessed, worse []string) error {
	bad := fmt.Errorf("the host is worse than when it was blessed last: %s", strings.Join(worse, "; "))
	if h.marked(unwellFile) {
		return bad
	}
	err := book.tell(bootguard.Judged{Boot: now.Boot, Baseline: now.Baseline, Dumps: now.Dumps, Worse: worse})
	if s, unread := book.State(); err == nil && unread == nil && s.Judged == 0 {
		h.say("it was so before anything that is pending, so that is how the host is now: %v", bad)
		return nil
	}
	return errors.Join(bad, err)
}

// Deadline leaves a hang: a boot that nobody has judged in time is ended, if something is pending and this has not been done too often.
// It is on record before it is done.
func Deadline(ctx context.Context, h Host, out io.Writer) int {
	for _, not := range []struct {
		when bool
		why  string
	}{
		{h.disabled() != "", "the guard is disabled " + h.disabled()},
		{h.marked(blessedFile), "the boot is blessed"},
		{h.marked(unwellFile), "the boot was judged and so does not hang"},
		{h.checks(), "a file system is being checked"},
	} {
		if not.when {
			fmt.Fprintf(out, "no reboot: %s\n", not.why)
			return 0
		}
	}
	reboot, err := h.overdue() //nolint:contextcheck // its lock is waited for within a limit of its own
	if err != nil {
		fmt.Fprintf(out, "no reboot: %v\n", err)
		return 1
	}
	if !reboot {
		fmt.Fprintln(out, "no reboot: nothing is pending, or it was tried often enough")
		return 0
	}
	h.alarm("the boot was not blessed in time while something is pending: the host is rebooted")
	if _, err := h.Command(ctx, "systemctl", "reboot", "--force"); err != nil {
		fmt.Fprintf(out, "reboot: %v\n", err)
		return 1
	}
	return 0
}

// checks tells whether a file system is being checked, which may take hours and is not to be cut off.
func (h Host) checks() bool {
	all, _ := h.FS.ReadDir(h.Proc)
	for _, e := range all {
		if name, err := h.small(filepath.Join(h.Proc, e.Name(), "comm")); err == nil && strings.Contains(name, "fsck") {
			return true
		}
	}
	return false
}

func (h Host) overdue() (bool, error) {
	dir, err := h.at(h.Dir)
	if err != nil {
		return false, err
	}
	book, err := Open(h.FS, dir)
	if err != nil {
		return false, err
	}
	defer func() { _ = book.Close() }()
	effects, err := book.step(bootguard.Overdue{Boot: h.BootID()})
	return len(effects) > 0, err
}
