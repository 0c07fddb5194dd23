package agent

import (
	"path/filepath"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/deb"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/exec"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/files"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// craft is how a kind is installed.
type craft struct {
	open   func(o Options, f component.File, dir string) (installer.Installer, error)
	linked bool // current is all there is to a switch: the boot guard can go back without the agent
}

// craftOf is the list of kinds.
func craftOf(k release.Kind) (craft, bool) {
	c, known := map[release.Kind]craft{
		release.Content: {openFiles, true},
		release.Config:  {openFiles, true},
		release.Toggle:  {openFiles, true},
		release.Binary:  {openFiles, true},
		release.Agent:   {openFiles, true},
		release.Package: {openPackages, false},
	}[k]
	if k.Foreign() {
		c, known = craft{openForeign, false}, true
	}
	return c, known
}

// openInstaller opens the installer for a component's kind.
func openInstaller(o Options, f component.File, dir string) (i installer.Installer, linked bool, err error) {
	c, known := craftOf(f.Kind)
	if !known {
		return nil, false, fault.New(fault.Conflict, "open the installer: this agent has none for kind %s", f.Kind).Hint("run a newer agent")
	}
	i, err = c.open(o, f, dir)
	return i, c.linked, err
}

func openFiles(o Options, f component.File, dir string) (installer.Installer, error) {
	return files.New(filesOptions(o, f, dir))
}

func openPackages(o Options, f component.File, dir string) (installer.Installer, error) {
	return deb.New(deb.Options{Files: filesOptions(o, f, dir), Clock: o.Clock, Runner: f.Package.Runner, NoWayBack: f.Package.NoWayBack})
}

func openForeign(o Options, f component.File, dir string) (installer.Installer, error) {
	return exec.New(exec.Options{FS: o.FS, Component: f.Component, Dir: dir, Argv: f.Installer})
}

func filesOptions(o Options, f component.File, dir string) files.Options {
	return files.Options{FS: o.FS, Dir: dir, Limits: f.Limits, Validator: f.Validator, Program: f.Kind.Executable()}
}

// currentOf is the path under which consumers find the release in use.
func currentOf(dir string) string { return filepath.Join(dir, string(slots.Current)) }
