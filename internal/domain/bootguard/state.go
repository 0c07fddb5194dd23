package bootguard

import "time"

// Entry is what the guard knows of one component: where it lies and what there is to go back to. The agent says so, before every switch.
type Entry struct {
	Component string `json:"component"`
	Kind      string `json:"kind"`
	Dir       string `json:"dir"` // path of the component's directory (see package slots); "" if the guard cannot switch it itself
	Current   string `json:"current,omitempty"`
	Good      string `json:"good,omitempty"`    // slot of the last-known-good release
	Older     string `json:"older,omitempty"`   // slot of the good one before it
	Factory   string `json:"factory,omitempty"` // slot that came with the host
	// Pending says that Current is not good yet: it was activated, or is about to be, and its soak is not over. At is since when, by the
	// host's clock, which an early boot may not have.
	Pending bool      `json:"pending,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Boot    string    `json:"boot,omitempty"` // id of the boot in which Current was activated
}

// Verdict says how sure the guard is that what it left harmed the host.
type Verdict string

// The verdicts.
const (
	Crash        Verdict = "crash"        // the kernel or the watchdog left evidence
	Inconclusive Verdict = "inconclusive" // boots did not end well, which impatient people and flapping mains do too
)

// Undone is a release that the guard went back from. It is kept until the agent has taken it into its own journal.
type Undone struct {
	Component string    `json:"component"`
	From      string    `json:"from"` // slot
	To        string    `json:"to"`   // slot; "" if the component was taken away
	Level     int       `json:"level"`
	Boots     int       `json:"boots"` // unblessed ones, at that time
	Verdict   Verdict   `json:"verdict"`
	Why       string    `json:"why"` // for people: what was seen
	At        time.Time `json:"at,omitzero"`
}

// The levels of the ladder, as in [State.Level]; 0 is below it.
const (
	LevelPending  = 1
	LevelRecent   = 2
	LevelFactory  = 3
	LevelHandsOff = 4
)

// State is all that the guard remembers. As JSON it is smaller than [MaxState], whatever comes in.
type State struct {
	Boot     string   `json:"boot,omitempty"`     // id of the boot that was counted last
	Boots    int      `json:"boots"`              // boots since the last blessed one, the running one included
	Blessed  string   `json:"blessed,omitempty"`  // id of the newest blessed boot
	Judged   int      `json:"judged,omitempty"`   // boots since the last blessing that were found worse than the baseline
	Excused  int      `json:"excused,omitempty"`  // counted boots that were worse than the baseline and no release that is pending is to blame for
	Worse    []string `json:"worse,omitempty"`    // in what the newest judged boot was worse while nothing was pending: no later release did it
	Planned  bool     `json:"planned,omitempty"`  // the next boot is not counted
	Level    int      `json:"level"`              // of the ladder, taken since the last blessing
	Due      int      `json:"due,omitempty"`      // unblessed boots, without judged ones, at which the next level is taken; 0 below the ladder
	Forced   int      `json:"forced,omitempty"`   // reboots out of a hang since the last blessing
	Evidence string   `json:"evidence,omitempty"` // of a crash since the last blessing, for people; "" for none
	Seen     []string `json:"seen,omitempty"`     // dumps of the kernel that lay there when the host was blessed last
	Entries  []Entry  `json:"entries,omitempty"`
	Owed     []Undone `json:"owed,omitempty"`    // decided and not known to be carried out
	Undone   []Undone `json:"undone,omitempty"`  // oldest first
	Trouble  []string `json:"trouble,omitempty"` // ways back that could not be taken since the last blessing, for people
	Baseline Health   `json:"baseline,omitzero"` // of the newest blessed boot
}

// Pending lists the components that are pending, in the order of the entries.
func (s State) Pending() []string {
	var all []string
	for _, e := range s.Entries {
		if e.Pending {
			all = append(all, e.Component)
		}
	}
	return all
}

// Ended is the number of boots in a row that ended unblessed before the running one.
func (s State) Ended() int { return max(s.Boots-1, 0) }
