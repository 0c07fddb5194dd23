//go:build linux

package files

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// own are the bytes of a program that runs here: this test.
func own(t *testing.T) []byte {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A file of a program may be executed, and one that this host certainly cannot run is refused before anything is switched.
func TestPrograms(t *testing.T) {
	t.Parallel()
	foreign := own(t)
	const machine = 18 // where the header has it
	binary.LittleEndian.PutUint16(foreign[machine:], uint16(elf.EM_S390))
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"runs here":             {own(t), ""},
		"of another machine":    {foreign, "it is for machine EM_S390"},
		"a script":              {[]byte("#!/bin/sh\n"), ""},
		"cut off in its header": {own(t)[:40], "it is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			t.Cleanup(func() { _ = disk.RemoveAll(disk.OS{}, filepath.Join(dir, "c")) })
			i, err := New(Options{FS: disk.OS{}, Dir: filepath.Join(dir, "c"), Limits: component.Limits{Size: 1 << 30, Files: 10}, Program: true})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "download")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			slot, err := i.Stage(t.Context(), installer.Stage{Version: "1", Path: path, Artifact: release.Artifact{
				Format: release.File, Name: "sensor", Digest: release.DigestOf(c.data), Size: int64(len(c.data)),
			}})
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(filepath.Join(i.Path(slot), "sensor"))
			if err != nil || info.Mode().Perm() != 0o555 {
				t.Errorf("got mode %v (%v), want it executable by everybody and writable by nobody", info.Mode(), err)
			}
			err = i.Check(t.Context(), slot)
			if c.says == "" && err != nil || c.says != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// A dynamic program needs its loader and a C library that is new enough; where the library is not found nobody says no.
func TestProgramsAndTheCLibrary(t *testing.T) {
	t.Parallel()
	var f disk.File
	for _, path := range []string{"/bin/ls", "/usr/bin/env"} {
		found, err := disk.OS{}.Open(path, os.O_RDONLY, 0)
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = found.Close() })
		if program, err := elf.NewFile(found); err == nil && interpreter(program) != "" {
			if wanted, err := program.DynamicVersionNeeds(); err == nil && len(wanted) > 0 {
				f = found
			}
		}
	}
	if f == nil {
		t.Skip("this machine has no program that asks for a C library")
	}
	here, nowhere := func(string) bool { return true }, func(string) bool { return false }
	library := func(versions ...string) func(elf.Machine) []string {
		return func(elf.Machine) []string { return versions }
	}
	for name, c := range map[string]struct {
		host host
		says string
	}{
		"no loader":      {host{runtime.GOARCH, nowhere, library()}, "its loader"},
		"no library":     {host{runtime.GOARCH, here, library()}, ""},
		"an old library": {host{runtime.GOARCH, here, library("GLIBC_2.0")}, "of the C library, which this host does not have"},
		"as it is": {host{runtime.GOARCH, here, func(m elf.Machine) []string {
			return (&Installer{Options: Options{FS: disk.OS{}}}).libc(m)
		}}, ""},
	} {
		err := c.host.runs(f)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}
