package api

import "time"

// CellPath begins the path under which a control plane tells its peers how a release stands: the component and the manifest's digest follow.
// It is all that a peer's token opens.
const CellPath = "/api/v1/cell/"

// CellState is how a release stands in a cell.
type CellState struct {
	Cell     string     `json:"cell"`               // who answers; empty: a control plane that is no cell
	Rollout  string     `json:"rollout,omitempty"`  // the newest of the release; empty: there is none
	Phase    string     `json:"phase,omitempty"`    // of that rollout
	Alarm    string     `json:"alarm,omitempty"`    // of that rollout
	Recalled bool       `json:"recalled,omitempty"` // the release may never run here again
	Reason   string     `json:"reason,omitempty"`   // of the recall, or of the phase
	Ended    *time.Time `json:"ended,omitempty"`    // of a phase that is final or complete
}

// RolloutCell is what a rollout knows of another cell of its plan.
type RolloutCell struct {
	Name  string     `json:"name"`
	Wave  int        `json:"wave"`            // 1 is the first
	Phase string     `json:"phase,omitempty"` // of the release's rollout there, as heard last; empty: there is none
	Alarm string     `json:"alarm,omitempty"` // as heard last
	Lost  string     `json:"lost,omitempty"`  // why it is not heard; empty: it is
	Since *time.Time `json:"since,omitempty"` // when a lost cell was heard last
	Held  float64    `json:"held,omitempty"`  // seconds for which it has held, as far as anybody asks
}
