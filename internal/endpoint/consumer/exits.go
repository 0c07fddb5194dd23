package consumer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// Noted is a bad end of a consumer that a service manager runs, noted by the manager itself: also while no agent runs.
type Noted struct {
	Component string `json:"component,omitempty"` // or
	Unit      string `json:"unit,omitempty"`
	Exit      Exit   `json:"exit"`
}

// Exits is the directory in which bad ends are noted: one small file each, the newest maxNoted of them.
type Exits struct {
	FS  disk.FS
	Dir string
}

const (
	maxNoted     = 64
	maxNotedSize = 16 << 10 // bytes of one file
	noted        = ".json"
)

// Note writes down a bad end. The tail stays out: what is told of it is its signature and headline.
func (x Exits) Note(n Noted) error {
	n.Exit.Tail = ""
	data, err := json.Marshal(n)
	if err == nil && len(data) > maxNotedSize {
		err = errors.New("it is too long")
	}
	if err == nil {
		err = disk.MkdirAll(x.FS, x.Dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("note an exit: %w", err)
	}
	names, err := x.names()
	if err != nil {
		return fmt.Errorf("note an exit: %w", err)
	}
	for ; len(names) >= maxNoted; names = names[1:] {
		_ = x.FS.Remove(filepath.Join(x.Dir, names[0])) // two who note at once may both try
	}
	name := fmt.Sprintf("%020d-%s%s", max(0, n.Exit.At.UnixNano()), n.Exit.Signature, noted)
	if err := disk.WriteFile(x.FS, filepath.Join(x.Dir, name), data, 0o600); err != nil {
		return fmt.Errorf("note an exit: %w", err)
	}
	return nil
}

// Since lists the ends of a component, or of the unit that runs its consumer, that were noted at that time or later, oldest first. What
// cannot be read is left out: it is no evidence.
func (x Exits) Since(t time.Time, component, unit string) []Exit {
	names, err := x.names()
	if err != nil {
		return nil
	}
	var found []Exit
	for _, name := range names {
		data, err := disk.ReadFile(x.FS, filepath.Join(x.Dir, name), maxNotedSize)
		var n Noted
		if err != nil || json.Unmarshal(data, &n) != nil || n.Exit.At.Before(t) {
			continue
		}
		if n.Component != "" && n.Component == component || n.Unit != "" && sameUnit(n.Unit, unit) {
			found = append(found, n.Exit)
		}
	}
	return found
}

// names lists the files in the order of time.
func (x Exits) names() ([]string, error) {
	entries, err := x.FS.ReadDir(x.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), noted) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// sameUnit compares names of units: a service need not say that it is one.
func sameUnit(a, b string) bool {
	const service = ".service"
	return b != "" && strings.TrimSuffix(a, service) == strings.TrimSuffix(b, service)
}
