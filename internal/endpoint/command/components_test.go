package command

import (
	"path/filepath"
	"testing"
)

func TestComponentDir(t *testing.T) {
	t.Parallel()
	packaged := t.TempDir()
	for _, test := range []struct{ name, state, packaged, want string }{
		{"of a package", "/var/lib/firebreak-agent", packaged, packaged},
		{"without a package", "/var/lib/firebreak-agent", filepath.Join(packaged, "none"), "/var/lib/firebreak-agent/components.d"},
		{"another agent on the host", "/home/me/agent", packaged, "/home/me/agent/components.d"},
		{"no such place on this system", "/var/lib/firebreak-agent", "", "/var/lib/firebreak-agent/components.d"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := program{Env: Env{Components: test.packaged}, state: test.state}
			if got := p.componentDir(); got != filepath.FromSlash(test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
