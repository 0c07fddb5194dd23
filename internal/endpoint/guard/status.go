package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// Status is how the guard stands.
type Status struct {
	Disabled string            `json:"disabled,omitempty"` // by what; "" if it is not
	Boot     string            `json:"boot,omitempty"`     // id of the running one
	Blessed  bool              `json:"blessed"`            // the running boot is
	Unwell   bool              `json:"unwell,omitempty"`   // the running boot was judged and is not good
	SafeMode bool              `json:"safe_mode,omitempty"`
	Damaged  string            `json:"damaged,omitempty"` // why what was remembered is lost; "" if it is not
	State    bootguard.State   `json:"state"`
	Shows    map[string]string `json:"shows"` // slot that current of a component leads to
	// Links has what the links of components say whose entries are lost: a way back that is not to current is one that may be needed.
	// It is for people; no boot goes back because of it.
	Links []bootguard.Entry `json:"links,omitempty"`
}

// Look reads how the guard stands. Components is the directory of the agent's components, for when the guard's memory is lost.
func Look(h Host, components string) (Status, error) {
	dir, err := h.at(h.Dir)
	if err != nil {
		return Status{}, err
	}
	s := Status{Disabled: h.disabled(), Boot: h.BootID(), Unwell: h.marked(unwellFile), SafeMode: h.marked(safeModeFile)}
	if _, err = h.FS.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return s, fault.New(fault.NotFound, "read how the guard stands: there is no %s", dir).
			Hint("install the package firebreak-guard, or name its directory with --dir")
	}
	state, damaged, err := h.peek(dir)
	if err != nil {
		return s, err
	}
	s.State, s.Shows = state, h.shows(state.Entries)
	s.Blessed = s.Boot != "" && s.Boot == state.Blessed
	if damaged != nil {
		s.Damaged = damaged.Error()
	}
	if len(state.Entries) == 0 {
		s.Links = h.links(components)
	}
	return s, nil
}

// links makes entries of the links on the disk.
func (h Host) links(components string) []bootguard.Entry {
	at, err := h.at(components)
	if err != nil {
		return nil
	}
	found, err := h.FS.ReadDir(at)
	if err != nil {
		return nil
	}
	var all []bootguard.Entry
	for _, c := range found {
		d := slots.Dir{FS: h.FS, Path: filepath.Join(at, c.Name())}
		current, errCurrent := d.Target(slots.Current)
		back, errBack := d.Target(slots.Back)
		if errCurrent == nil && errBack == nil && current != "" && back != "" && back != current && len(all) < bootguard.MaxEntries {
			all = append(all, bootguard.Entry{
				Component: c.Name(), Dir: filepath.Join(components, c.Name()), Current: string(current), Good: string(back), Pending: true,
			})
		}
	}
	return all
}

// JSON writes the status for programs.
func (s Status) JSON(out io.Writer) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	_, err = out.Write(append(data, '\n'))
	return err
}

// Text writes the status for people.
func (s Status) Text(out io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if s.Disabled != "" {
		line("guard       disabled %s", s.Disabled)
	}
	if s.Damaged != "" {
		line("DAMAGED     %s", s.Damaged)
	}
	line("boot        %s", s.verdict())
	line("ladder      level %d of %d; %s since one was blessed%s", s.State.Level, bootguard.LevelHandsOff, count(s.State.Boots, "boot"), s.planned())
	if s.State.Evidence != "" {
		line("evidence    %s", s.State.Evidence)
	}
	if s.State.Forced > 0 {
		line("deadline    left a hang %s", count(s.State.Forced, "time"))
	}
	for _, e := range s.State.Entries {
		line("component   %s: %s", e.Component, describe(e, s.Shows))
	}
	if len(s.State.Entries) == 0 {
		line("component   none: the agent has not said what there is to go back from")
	}
	for _, e := range s.Links {
		line("links       %s: current is %s, .back is %s; no boot goes back because of this, rescue may", e.Component, e.Current, e.Good)
	}
	for _, u := range s.State.Undone {
		line("undone      %s: from %s to %s at level %d (%s: %s) %s",
			u.Component, none(u.From), none(u.To), u.Level, u.Verdict, u.Why, u.At.Format(time.RFC3339))
	}
	for _, u := range s.State.Owed {
		line("owed        %s: from %s to %s, done again by the next boot", u.Component, none(u.From), none(u.To))
	}
	for _, trouble := range s.State.Trouble {
		line("trouble     %s", trouble)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (s Status) verdict() string {
	verdict := "not blessed yet"
	switch {
	case s.Blessed:
		verdict = "blessed"
	case s.Unwell:
		verdict = "judged, and not blessed"
	}
	if s.SafeMode {
		verdict += ", in safe mode"
	}
	return strings.TrimSpace(s.Boot + " " + verdict)
}

func (s Status) planned() string {
	if s.State.Planned {
		return "; the next one is planned"
	}
	return ""
}

func describe(e bootguard.Entry, shows map[string]string) string {
	what := none(e.Current)
	if shown, ok := shows[e.Component]; ok && shown != e.Current {
		what += fmt.Sprintf(" (the disk shows %s)", none(shown))
	}
	if e.Pending {
		what += ", pending, goes back to " + none(e.Good)
	}
	if e.Older != "" {
		what += ", older " + e.Older
	}
	if e.Factory != "" {
		what += ", factory " + e.Factory
	}
	if e.Dir == "" {
		what += "; the agent goes back"
	}
	return what
}

func none(slot string) string {
	if slot == "" {
		return "none"
	}
	return slot
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
