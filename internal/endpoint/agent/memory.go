package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
)

// memory is all that the agent remembers over a restart. It is saved as a whole, in place, before anything is done that it speaks of.
type memory struct {
	Format     int                      `json:"format"`
	Boot       string                   `json:"boot,omitempty"`    // boot id at the last start
	Seq        int64                    `json:"seq"`               // of the newest report
	Reports    []api.Report             `json:"reports,omitempty"` // not acknowledged yet, oldest first
	Signed     time.Time                `json:"signed,omitzero"`   // newest signed time ever seen
	Components map[string]install.State `json:"components"`
	Sequences  map[string]int64         `json:"sequences"` // newest directive accepted, by component
	Floors     map[string]int64         `json:"floors"`    // highest floor seen in trusted metadata, by component
	Switched   map[string]switched      `json:"switched,omitempty"`
}

// switched is when what is current, or about to be, was activated.
type switched struct {
	At   time.Time `json:"at"`
	Boot string    `json:"boot,omitempty"` // id of that boot

	Back    string    `json:"back,omitempty"`    // id of the boot in which it was gone back to instead: it need not have booted since
	Pending bool      `json:"pending,omitempty"` // the boot guard alone remembers that it was not proved: see [Agent.seed]
	Before  *switched `json:"before,omitempty"`  // of what is current, while another one is about to be
	Proving time.Time `json:"proving,omitzero"`  // bad ends of the consumer that were noted from then on count
}

const (
	memoryFormat = 1
	// SlotSize is the room for the memory in the journal: a few kilobytes a component, and the reports of a long time offline.
	SlotSize = 512 << 10
	// maxReports bounds the reports that wait for a control plane that is gone: see [without].
	maxReports = 500
	// sendAtOnce bounds the reports of one check-in, so that the control plane takes it however long they are.
	sendAtOnce = 32
)

// Journal keeps one small document through any crash.
type Journal interface {
	Load() (payload []byte, ok bool, err error)
	Save(payload []byte) error
}

func loadMemory(j Journal) (memory, error) {
	m := memory{
		Format: memoryFormat, Components: map[string]install.State{}, Sequences: map[string]int64{}, Floors: map[string]int64{},
		Switched: map[string]switched{},
	}
	data, ok, err := j.Load()
	if errors.Is(err, journal.ErrDamaged) {
		return m, nil // what runs stays in place; the first check-in brings the numbers back
	}
	if err != nil {
		return m, fmt.Errorf("load the journal: %w", err)
	}
	if !ok {
		return m, nil
	}
	var found memory
	if err := json.Unmarshal(data, &found); err != nil {
		return m, fault.New(fault.Invalid, "read the journal: %w", err).Hint("move the journal away to start afresh; current releases stay in place")
	}
	if found.Format != memoryFormat {
		return m, fault.New(fault.Conflict, "read the journal: it has format %d, this agent knows format %d; it was left alone", found.Format, memoryFormat).
			Hint("run the agent version that wrote it")
	}
	maps.Copy(m.Components, found.Components)
	maps.Copy(m.Sequences, found.Sequences)
	maps.Copy(m.Floors, found.Floors)
	maps.Copy(m.Switched, found.Switched)
	m.Boot, m.Seq, m.Reports, m.Signed = found.Boot, found.Seq, found.Reports, found.Signed
	return m, nil
}

// add numbers a report and queues it.
func (m *memory) add(r api.Report) {
	m.Seq++
	r.Seq = m.Seq
	m.Reports = append(m.Reports, r)
	m.Reports = without(m.Reports, len(m.Reports)-maxReports)
}

// harm tells whether a report tells of harm.
func harm(r api.Report) bool { return r.Outcome == install.Crashed || r.Outcome == install.Reverted }

// without gives up n reports: the oldest first, since what a host runs now is told by its state, but none that tells of harm, for which a
// rollout may have to be halted, as long as there is another. Of harm, what was told before of the same release goes next. So harm by a
// release is forgotten only once there were more releases than fit, all harmful and none of them told.
func without(all []api.Report, n int) []api.Report {
	if n <= 0 {
		return all
	}
	kept := slices.DeleteFunc(all, func(r api.Report) bool {
		drop := n > 0 && !harm(r)
		if drop {
			n--
		}
		return drop
	})
	if n == 0 {
		return kept
	}
	type subject struct{ component, rollout, manifest string }
	told := map[subject]bool{}
	kept = slices.DeleteFunc(kept, func(r api.Report) bool {
		s := subject{r.Component, r.Rollout, r.Manifest}
		drop := n > 0 && told[s]
		if drop {
			n--
		}
		told[s] = true
		return drop
	})
	return kept[min(n, len(kept)):]
}

// terse is the report without what only people read.
func terse(r api.Report) api.Report {
	r.Detail = ""
	if r.Crash != nil {
		r.Crash = &api.Crash{Signal: r.Crash.Signal, Status: r.Crash.Status, Signature: r.Crash.Signature}
	}
	return r
}

// shrink makes the reports fewer by a quarter, and harm terse before any of it would go.
func (m *memory) shrink() {
	if slices.ContainsFunc(m.Reports, func(r api.Report) bool { return !harm(r) }) {
		others := 0
		for _, r := range m.Reports {
			if !harm(r) {
				others++
			}
		}
		m.Reports = without(m.Reports, min(others, (len(m.Reports)+3)/4))
		return
	}
	long := false
	for i, r := range m.Reports {
		short := terse(r)
		long = long || short.Detail != r.Detail || r.Crash != nil && r.Crash.Headline != ""
		m.Reports[i] = short
	}
	if !long {
		m.Reports = without(m.Reports, (len(m.Reports)+3)/4)
	}
}

// renumber counts on after a number that the control plane has stored already. Reports above it are not known there.
func (m *memory) renumber(stored int64) {
	if m.Seq >= stored {
		return
	}
	for i := range m.Reports {
		m.Reports[i].Seq = stored + int64(i) + 1
	}
	m.Seq = stored + int64(len(m.Reports))
}

// acknowledge forgets the reports that the control plane has stored.
func (m *memory) acknowledge(seq int64) {
	for len(m.Reports) > 0 && m.Reports[0].Seq <= seq {
		m.Reports = m.Reports[1:]
	}
}

// save writes the memory if it changed. Where it does not fit, reports go: what the machines know is what keeps the host safe.
// The caller holds the lock.
func (a *Agent) save() error {
	data, err := json.Marshal(a.memory)
	for n := len(a.memory.Reports); err == nil && len(data) > SlotSize-journal.HeaderSize && n > 0; n = len(a.memory.Reports) {
		a.memory.shrink()
		data, err = json.Marshal(a.memory)
	}
	if err != nil {
		return fmt.Errorf("encode the journal: %w", err)
	}
	if bytes.Equal(data, a.saved) {
		return nil
	}
	if err := a.Journal.Save(data); err != nil {
		return fmt.Errorf("save the journal: %w", err)
	}
	a.saved = data
	return nil
}

// Forgive forgets which releases of a component this host refuses by itself, and tells how many it were. No agent may use the journal.
func Forgive(j Journal, component string) (int, error) {
	m, err := loadMemory(j)
	if err != nil {
		return 0, err
	}
	s, ok := m.Components[component]
	if !ok {
		return 0, fault.New(fault.NotFound, "forgive %s: this host has no such component", component).Hint("run 'firebreak-agent status'")
	}
	forgiven := len(s.Refused)
	s.Refused = nil
	m.Components[component] = s
	data, err := json.Marshal(m)
	if err != nil {
		return 0, fmt.Errorf("encode the journal: %w", err)
	}
	return forgiven, j.Save(data)
}

// Remembered reads the machines' states from a journal, for people to look at; in order of components.
func Remembered(j Journal) ([]install.State, error) {
	m, err := loadMemory(j)
	if err != nil {
		return nil, err
	}
	states := make([]install.State, 0, len(m.Components))
	for _, name := range slices.Sorted(maps.Keys(m.Components)) {
		states = append(states, m.Components[name])
	}
	return states, nil
}
