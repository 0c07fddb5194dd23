package launcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/launch"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
)

// Files in the guard's directory.
const (
	memoryFile = "launch"
	lockFile   = "launch.lock"
)

// slotSize holds a launch.State at its largest.
const slotSize = 64 << 10

// memory is what the launcher knows of earlier runs. Without a journal that works it is kept for this run only.
type memory struct {
	record
	journal *journal.Journal // nil if there is none that works
	log     func(format string, args ...any)
}

// record is what the journal holds.
type record struct {
	State launch.State `json:"state"`
	Keep  kept         `json:"keep,omitzero"`
}

// kept is the launcher's copy of a good agent.
type kept struct {
	Slot string `json:"slot"`
	File string `json:"file"` // name in the directory of copies
	Size int64  `json:"size"`
	Sum  uint32 `json:"sum"` // CRC-32C
}

func (m *memory) open(fsys disk.FS, path string, log func(format string, args ...any)) {
	m.log = log
	j, err := journal.Open(fsys, path, slotSize)
	if err != nil {
		log("going on without a memory: %v", err)
		return
	}
	data, ok, err := j.Load()
	if err != nil && !errors.Is(err, journal.ErrDamaged) {
		log("going on without a memory: %v", err)
		_ = j.Close() // nothing was written
		return
	}
	m.journal = j
	if err == nil && ok {
		err = m.decode(data)
	}
	if err != nil {
		log("starting with an empty memory: %v", err)
	}
}

func (m *memory) decode(data []byte) error {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("decode %s: %w", m.journal.Path(), err)
	}
	m.record = r
	return nil
}

// save makes the memory durable, as far as the disk goes along.
func (m *memory) save() {
	if m.journal == nil {
		return
	}
	data, err := json.Marshal(m.record)
	if err == nil {
		err = m.journal.Save(data)
	}
	if err != nil {
		m.log("the launcher's memory is not saved: %v", err)
	}
}

func (m *memory) close() {
	if m.journal != nil {
		_ = m.journal.Close() // each save was synced
	}
}

// Forgive lets a host run all agents again that its launcher has quarantined, and tells how many these were. The launcher must not run.
func Forgive(fsys disk.FS, guardDir string) (forgiven int, err error) {
	lock, err := disk.Lock(filepath.Join(guardDir, lockFile))
	if fault.KindOf(err) == fault.Conflict {
		return 0, fault.New(fault.Conflict, "forgive the agents that were quarantined in %s: a launcher runs: %w", guardDir, err).
			Hint("systemctl stop firebreak-agent")
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	var m memory
	m.open(fsys, filepath.Join(guardDir, memoryFile), func(format string, args ...any) { err = fmt.Errorf(format, args...) })
	defer m.close()
	if err != nil {
		return 0, err
	}
	forgiven, m.State.Quarantined = len(m.State.Quarantined), nil
	m.save()
	return forgiven, err
}
