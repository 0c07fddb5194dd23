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
