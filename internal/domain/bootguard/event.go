package bootguard

import "time"

// Event is something that happened on the host.
//
//sumtype:decl
type Event interface{ event() }

// Booted tells that the host is starting, and what was found. Every stage of the guard tells it.
type Booted struct {
	Boot     string // id; "" if it cannot be told, which is always counted
	At       time.Time
	Dumps    []string          // names of the kernel's crash dumps that lie there, also old ones
	Watchdog bool              // the watchdog reset the host
	Shows    map[string]string // slot that current of a component leads to; absent if it cannot be told
}

// Synced tells what there is to go back from. It replaces all entries. What is owed for an entry that changed is over: whoever tells it is
// running.
type Synced struct{ Entries []Entry }

// Planned tells that the next boot is wanted.
type Planned struct{}

// Blessed tells that the running boot is good.
type Blessed struct {
	Boot     string
	Baseline Health
	Dumps    []string // as in [Booted]: from now on they are old
}

// Judged tells that the running boot was judged, and is worse than the baseline. It is told once a boot, with what is the baseline from
// now on if the boot is blessed all the same, as in [Blessed].
type Judged struct {
	Boot     string
	Baseline Health
	Dumps    []string
	Worse    []string // in what it is worse: see [Worse]; none if that cannot be told
}

// Went tells that [GoBack] was carried out.
type Went struct{ Component string }

// Failed tells that [GoBack] could not be carried out.
type Failed struct {
	Component string
	Why       string
	Gone      bool // there is no such slot; otherwise trying again may help
}

// Taken tells that the agent has taken these into its own journal.
type Taken struct{ Undone []Undone }

// Noted tells of a release that somebody else went back from, so that the agent hears of it.
type Noted struct{ Undone Undone }

// Overdue tells that a boot was not blessed in time and that nothing has judged it: the host hangs.
type Overdue struct{ Boot string }

// Asked tells that a person wants a level taken, whatever was counted, and the ladder to begin anew.
type Asked struct {
	Level   int // LevelPending to LevelFactory
	At      time.Time
	Shows   map[string]string // as in [Booted]
	Verdict Verdict           // on all that is left
}

func (Booted) event()  {}
func (Synced) event()  {}
func (Planned) event() {}
func (Blessed) event() {}
func (Judged) event()  {}
func (Went) event()    {}
func (Failed) event()  {}
func (Taken) event()   {}
func (Noted) event()   {}
func (Overdue) event() {}
func (Asked) event()   {}

// Effect is something to be done, after the new state is saved.
//
//sumtype:decl
type Effect interface{ effect() }

// GoBack makes current of a component show the slot, or takes it away if To is "". It ends with [Went] or [Failed].
type GoBack struct {
	Component string
	Dir       string
	To        string
	Level     int
}

// SafeMode tells consumers not to start in this boot.
type SafeMode struct{}

// Reboot leaves a hang.
type Reboot struct{}

func (GoBack) effect()   {}
func (SafeMode) effect() {}
func (Reboot) effect()   {}
