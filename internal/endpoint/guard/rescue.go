package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// Rescuing is what a person wants done to the disk of a host that does not boot.
type Rescuing struct {
	Components string // directory of the agent's components, as the host names it
	Level      int    // of the ladder: pending, recent or factory
	Disable    bool   // also keep the guard from doing anything when the host boots
	Yes        bool   // do it; otherwise only tell what would be done
	Report     string // also write the report to this file, on the medium; "" for nowhere
}

// Rescue goes back on the disk that is mounted at h.Root, by the code that a boot of the host would run, and begins its count of boots
// anew. What it leaves is on record as harmful, so that the agent refuses it; where the guard's memory is lost, as in doubt. It deletes
// nothing.
func Rescue(ctx context.Context, h Host, r Rescuing, out io.Writer) error {
	dir, err := h.at(h.Dir)
	if err != nil {
		return err
	}
	if _, err := h.FS.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "rescue %s: there is no %s", h.Root, dir).
			Hint("mount the root file system of the host, with /var, and name where it is mounted")
	}
	var report strings.Builder
	failed := h.rescue(ctx, dir, r, &report)
	if _, err := io.WriteString(out, report.String()); err != nil {
		failed = errors.Join(failed, err)
	}
	return errors.Join(failed, h.file(dir, r, report.String()))
}

func (h Host) rescue(ctx context.Context, dir string, r Rescuing, out io.Writer) error {
	s, damaged, err := h.peek(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "host %s on %s, %s\n", h.machine(), h.Root, h.Clock.Now().UTC().Format(time.RFC3339))
	if damaged != nil {
		fmt.Fprintf(out, "the guard's memory is lost: %v\n", damaged)
	}
	verdict := bootguard.Crash
	if len(s.Entries) == 0 {
		verdict = bootguard.Inconclusive // what .back leads to may be older than what current was proved to be
		fmt.Fprintln(out, "the guard knows of no component; these are from the links on the disk")
		s, _ = bootguard.Step(s, bootguard.Synced{Entries: h.links(r.Components)})
	}
	fmt.Fprintf(out, "before: %s since one was blessed, level %d\n", count(s.Boots, "boot"), s.Level)
	before := h.shows(s.Entries)
	next, effects := bootguard.Step(s, bootguard.Asked{Level: r.Level, At: h.Clock.Now(), Shows: before, Verdict: verdict})
	table(out, s, next, effects, before)
	if !r.Yes {
		fmt.Fprintln(out, "nothing was changed; say --yes to do it")
		return nil
	}
	book, err := open(h.FS, dir)
	if err != nil {
		return err
	}
	defer func() { _ = book.Close() }()
	if err := book.save(next); err != nil { // without the lock: nothing of that host runs
		return err
	}
	next = h.carryOut(ctx, book, next, effects)
	return errors.Join(h.after(out, next), h.disable(out, r.Disable))
}

// table shows each component, and where it goes.
func table(out io.Writer, s, next bootguard.State, effects []bootguard.Effect, shows map[string]string) {
	const row = "%-28s %-9s %-28s %s\n"
	fmt.Fprintf(out, row, "COMPONENT", "STATE", "CURRENT", "GOES BACK TO")
	for _, e := range s.Entries {
		state, to := "good", "stays"
		if e.Pending {
			state = "pending"
		}
		for _, effect := range effects {
			if g, ok := effect.(bootguard.GoBack); ok && g.Component == e.Component {
				to = none(g.To)
			}
		}
		tells := func(u bootguard.Undone) bool { return u.Component == e.Component && !slices.Contains(s.Undone, u) }
		if e.Dir == "" && slices.ContainsFunc(next.Undone, tells) {
			to = "the agent is told to go back"
		}
		current := e.Current
		if shown, ok := shows[e.Component]; ok {
			current = shown
		}
		fmt.Fprintf(out, row, e.Component, state, none(current), to)
	}
}

func (h Host) after(out io.Writer, s bootguard.State) error {
	shows := h.shows(s.Entries)
	for _, e := range s.Entries {
		if slot, ok := shows[e.Component]; ok {
			fmt.Fprintf(out, "after: %s shows %s\n", e.Component, none(slot))
		}
	}
	if len(s.Trouble) > 0 {
		return fault.New(fault.Conflict, "go back: %s", strings.Join(s.Trouble, "; ")).Hint("take a higher level, or disable the guard")
	}
	return nil
}

func (h Host) disable(out io.Writer, really bool) error {
	if !really {
		return nil
	}
	dir, err := h.at(h.Dir)
	if err == nil {
		err = disk.WriteFile(h.FS, filepath.Join(dir, disabledFile), []byte("by rescue\n"), 0o600)
	}
	if err == nil {
		fmt.Fprintf(out, "the guard is disabled; remove %s on the host to enable it\n", filepath.Join(h.Dir, disabledFile))
	}
	return disk.Explain(err, "disable the guard")
}

// file leaves the report on the host, if it was changed, and on the medium.
func (h Host) file(dir string, r Rescuing, report string) error {
	var err error
	if r.Yes {
		err = disk.Explain(disk.WriteFile(h.FS, filepath.Join(dir, reportFile), []byte(report), 0o600), "leave the report on the host")
	}
	if r.Report != "" {
		err = errors.Join(err, disk.Explain(disk.WriteFile(h.FS, r.Report, []byte(report), 0o600), "write the report %s", r.Report))
	}
	return err
}

// machine is the id of the host whose disk this is.
func (h Host) machine() string {
	at, err := h.at("/etc/machine-id")
	if err != nil {
		return "unknown"
	}
	if id, err := h.small(at); err == nil && id != "" {
		return id
	}
	return "unknown"
}
