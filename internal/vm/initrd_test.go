package vm

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// kernel is one of Debian's, unpacked.
type kernel struct {
	image   string
	modules string // directory
}

// kernelOf finds the kernel of a flavour that scripts/vm/setup unpacked.
func kernelOf(t *testing.T, flavour string) kernel {
	t.Helper()
	dir := filepath.Join(cache(t), "kernel", flavour)
	image, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(image) != 1 {
		t.Fatalf("%s: got kernels %v (%v), want one; scripts/vm/setup fetches it", dir, image, err)
	}
	version := strings.TrimPrefix(filepath.Base(image[0]), "vmlinuz-")
	return kernel{image: image[0], modules: filepath.Join(dir, "lib", "modules", version)}
}

// closure are the files of the named modules and of all that they need, in an order in which they can be loaded. What is not a file is
// built in.
func (k kernel) closure(t *testing.T, names ...string) []string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(k.modules, func(file string, _ fs.DirEntry, err error) error {
		if name, found := strings.CutSuffix(filepath.Base(file), ".ko"); found {
			files[strings.ReplaceAll(name, "-", "_")] = file
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	var add func(name string)
	add = func(name string) {
		file := files[strings.ReplaceAll(name, "-", "_")]
		if file == "" || slices.Contains(order, file) {
			return
		}
		for _, needed := range needed(t, file) {
			add(needed)
		}
		order = append(order, file)
	}
	for _, name := range names {
		add(name)
	}
	return order
}

// needed are the modules that a module says it depends on.
func needed(t *testing.T, module string) []string {
	t.Helper()
	file, err := elf.Open(module)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Section(".modinfo").Data()
	if err != nil {
		t.Fatal(err)
	}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if names, found := bytes.CutPrefix(field, []byte("depends=")); found {
			return strings.FieldsFunc(string(names), func(r rune) bool { return r == ',' })
		}
	}
	return nil
}

// initrd writes an initramfs: init is the first process, files are by their path in it.
func initrd(t *testing.T, k kernel, init string, modules []string, files map[string]string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "initrd.gz")
	file, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	archive := &cpio{t: t, to: gzip.NewWriter(file)}
	for _, dir := range []string{"dev", "proc", "sys", "run", "root", "modules", "etc"} {
		archive.add(dir, 0o40755, nil)
	}
	archive.file("init", init)
	for n, module := range k.closure(t, modules...) {
		archive.file(fmt.Sprintf("modules/%02d-%s", n, path.Base(module)), module)
	}
	for where, from := range files {
		archive.file(where, from)
	}
	archive.add("TRAILER!!!", 0, nil)
	if err = archive.to.Close(); err != nil {
		t.Fatal(err)
	}
	if err = file.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// cpio writes the archive format that the kernel unpacks ("newc"): a header of hexadecimal numbers, the name, the contents, each padded to
// four bytes.
type cpio struct {
	t     *testing.T
	to    *gzip.Writer
	inode int
}

func (c *cpio) file(name, from string) {
	c.t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		c.t.Fatal(err)
	}
	c.add(name, 0o100755, data)
}

func (c *cpio) add(name string, mode int, data []byte) {
	c.t.Helper()
	c.inode++
	var record bytes.Buffer
	record.WriteString("070701")
	for _, field := range []int{c.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0} {
		_, _ = fmt.Fprintf(&record, "%08X", field)
	}
	record.WriteString(name + "\x00")
	pad(&record)
	record.Write(data)
	pad(&record)
	if _, err := c.to.Write(record.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

func pad(b *bytes.Buffer) { b.Write(make([]byte, (4-b.Len()%4)%4)) }
