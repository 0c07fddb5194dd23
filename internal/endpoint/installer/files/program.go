package files

import (
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// checkProgram looks whether this host can run a program at all: that it is for this machine, that its loader is here, and that it asks
// for no newer C library than this host has. It says no only where that is certain. Releases of several files are left to their probes, and
// so is what is no ELF file, such as a script.
func (i *Installer) checkProgram(s installer.Slot) error {
	entries, err := i.FS.ReadDir(i.Path(s))
	if err != nil {
		return i.explain(err, "look at", s)
	}
	if len(entries) != 1 || !entries[0].Type().IsRegular() {
		return nil
	}
	f, err := i.FS.Open(filepath.Join(i.Path(s), entries[0].Name()), os.O_RDONLY, 0)
	if err != nil {
		return i.explain(err, "look at", s)
	}
	err = host{goarch: runtime.GOARCH, exists: i.exists, libc: i.libc}.runs(f)
	if err != nil {
		err = fault.New(fault.Invalid, "look at program %s: %w", entries[0].Name(), err)
	}
	return errors.Join(err, f.Close())
}

func (i *Installer) exists(path string) bool {
	_, err := i.FS.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// libc lists the versions of the C library that lies where the loader finds it; none if it is not found, which says nothing.
func (i *Installer) libc(machine elf.Machine) []string {
	triplet := map[elf.Machine]string{elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu"}[machine]
	for _, dir := range []string{"/lib/" + triplet, "/usr/lib/" + triplet, "/lib64", "/usr/lib64"} {
		f, err := i.FS.Open(filepath.Join(dir, "libc.so.6"), os.O_RDONLY, 0)
		if err != nil {
			continue
		}
		versions := defined(f)
		_ = f.Close()
		return versions
	}
	return nil
}

// defined lists the versions that a library defines.
func defined(f disk.File) []string {
	library, err := elf.NewFile(f)
	if err != nil {
		return nil
	}
	found, err := library.DynamicVersions()
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(found))
	for _, v := range found {
		names = append(names, v.Name)
	}
	return names
}

// host is what a program needs to be run by.
type host struct {
	goarch string
	exists func(path string) bool
	libc   func(elf.Machine) []string
}

// runs tells why a program certainly does not run here; nil if it may.
func (h host) runs(f disk.File) error {
	magic := make([]byte, len(elf.ELFMAG))
	if n, _ := f.ReadAt(magic, 0); string(magic[:n]) != elf.ELFMAG {
		return nil // a script, or something of another system
	}
	program, err := elf.NewFile(f)
	if err != nil {
		return errors.New("it is damaged: " + err.Error())
	}
	machines := map[string]elf.Machine{
		"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "386": elf.EM_386, "arm": elf.EM_ARM, "riscv64": elf.EM_RISCV, "ppc64le": elf.EM_PPC64,
		"s390x": elf.EM_S390,
	}
	own, known := machines[h.goarch]
	compatible := program.Machine == elf.EM_386 && own == elf.EM_X86_64 || program.Machine == elf.EM_ARM && own == elf.EM_AARCH64
	if known && program.Machine != own && !compatible {
		return errors.New("it is for machine " + program.Machine.String() + ", this host is " + own.String())
	}
	if loader := interpreter(program); loader != "" && !h.exists(loader) {
		return errors.New("its loader " + loader + " is not on this host")
	}
	if program.Machine != own {
		return nil
	}
	return needs(program, h.libc(own))
}

// interpreter is the loader that a dynamic program names.
func interpreter(program *elf.File) string {
	const longest = 4096
	for _, p := range program.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > longest {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err == nil {
			return strings.TrimRight(string(name), "\x00")
		}
	}
	return ""
}

// needs compares the versions of the C library that a program asks for with those that there are, none of which means that nobody knows.
func needs(program *elf.File, have []string) error {
	const prefix = "GLIBC_"
	wanted, err := program.DynamicVersionNeeds()
	if err != nil || len(have) == 0 {
		return nil //nolint:nilerr // a static program needs nothing; a damaged table is for the loader to judge
	}
	var missing []string
	for _, library := range wanted {
		for _, v := range library.Needs {
			if library.Name == "libc.so.6" && strings.HasPrefix(v.Dep, prefix) && !slices.Contains(have, v.Dep) {
				missing = append(missing, v.Dep)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.SortFunc(missing, newer)
	return errors.New("it needs " + missing[len(missing)-1] + " of the C library, which this host does not have")
}

// newer orders versions such as GLIBC_2.9 and GLIBC_2.34.
func newer(a, b string) int {
	number := func(s string) (n int) {
		_, minor, _ := strings.Cut(s, ".")
		minor, _, _ = strings.Cut(minor, ".")
		n, _ = strconv.Atoi(minor)
		return n
	}
	return number(a) - number(b)
}
