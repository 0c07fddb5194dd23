package command

import (
	"cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/posture"
)

// posture looks at what this host could survive alone.
func (p *program) posture(s settings) func() api.Posture {
	o := posture.Options{FS: disk.OS{}, State: p.state, Guard: cmp.Or(s.guard, defaultGuard)}
	return func() api.Posture { return posture.Look(o) }
}
