package vm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// image is a disk with one ext4 file system, looked at from outside while its machine is off.
type image struct {
	t    *testing.T
	path string
}

// format makes an image of a tree. Size is as mke2fs takes it.
func format(t *testing.T, tree, size string) image {
	t.Helper()
	i := image{t, filepath.Join(t.TempDir(), "disk.img")}
	run(t, "mke2fs", "-q", "-t", "ext4", "-N", "128", "-E", "root_owner=0:0", "-d", tree, i.path, size)
	return i
}

// check repairs what a power cut leaves for the next boot to repair, and fails the test if there is more to it than that.
func (i image) check() {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), program("e2fsck"), "-f", "-p", i.path)
	const repaired = 1
	out, err := cmd.CombinedOutput()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if err != nil && (!failed || exit.ExitCode() > repaired) {
		i.t.Fatalf("e2fsck: %v: %s", err, out)
	}
}

// ask runs one command of debugfs, which opens the image without replaying its journal.
func (i image) ask(command string) string {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), program("debugfs"), "-R", command, i.path)
	out, err := cmd.Output()
	if err != nil {
		i.t.Fatalf("debugfs %s: %v", command, err)
	}
	return string(out)
}

// do runs one command of debugfs that changes the image.
func (i image) do(command string) {
	i.t.Helper()
	if out := run(i.t, "debugfs", "-w", "-R", command, i.path); strings.Contains(out, "not found") {
		i.t.Fatalf("debugfs %s: %s", command, out)
	}
}

// read is the contents of a file, and link where a symbolic link leads; "" if there is none.
func (i image) read(path string) string { return i.ask("cat " + path) }

func (i image) link(path string) string {
	i.t.Helper()
	for line := range strings.Lines(i.ask("stat " + path)) {
		if to, found := strings.CutPrefix(strings.TrimSpace(line), "Fast link dest: "); found {
			return strings.Trim(to, `"`)
		}
	}
	return ""
}

// take copies a directory of the image out, for packages that read real directories.
func (i image) take(path string) string {
	i.t.Helper()
	dir := i.t.TempDir()
	i.ask("rdump " + path + " " + dir)
	return filepath.Join(dir, filepath.Base(path))
}

// put writes a file into the image, in place of one that is there.
func (i image) put(path string, data []byte) {
	i.t.Helper()
	from := filepath.Join(i.t.TempDir(), "file")
	if err := os.WriteFile(from, data, 0o600); err != nil {
		i.t.Fatal(err)
	}
	if i.read(path) != "" {
		i.do("rm " + path)
	}
	i.do("write " + from + " " + path)
}
