package files_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/files"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/installertest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	installertest.Run(t, func(t *testing.T) installertest.World {
		dir, downloads := filepath.Join(writable(t), "component"), t.TempDir()
		return installertest.World{
			Open: func(fsys disk.FS) (installer.Installer, error) {
				return files.New(files.Options{FS: fsys, Dir: dir, Limits: limits()})
			},
			Make: func(version string) (installer.Stage, error) {
				return download(downloads, version, pack(file("a/version", version), file("copy", version)))
			},
			Active: func() (string, error) { return active(dir) },
		}
	})
}

// writable is a directory that is removed after the test although slots in it are read-only.
func writable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := disk.RemoveAll(disk.OS{}, dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func limits() component.Limits { return component.Limits{Size: 1 << 20, Files: 100} }

// active reads two files of one release through current, as a consumer does.
func active(dir string) (string, error) {
	slot, err := disk.OS{}.Readlink(filepath.Join(dir, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	first, err := os.ReadFile(filepath.Join(dir, slot, "a", "version"))
	if err != nil {
		return "", err
	}
	second, err := os.ReadFile(filepath.Join(dir, slot, "copy"))
	if err != nil {
		return "", err
	}
	if !bytes.Equal(first, second) {
		return "", fmt.Errorf("is mixed: %q and %q", first, second)
	}
	return string(first), nil
}

// download puts an artifact where a download would be.
func download(dir, version string, data []byte) (installer.Stage, error) {
	path := filepath.Join(dir, "artifact-"+version)
	return installer.Stage{
		Version: version, Path: path,
		Artifact: release.Artifact{Format: release.Tar, Name: "x.tar", Digest: release.DigestOf(data), Size: int64(len(data))},
	}, os.WriteFile(path, data, 0o600)
}

type member struct {
	tar.Header
	body string
}

func file(name, body string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body))}, body}
}

func directory(name string) member {
	return member{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func pack(members ...member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := m.Header
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(m.body)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

type house struct {
	*files.Installer
	dir       string
	downloads string
}

func newHouse(t *testing.T, validator ...string) house {
	t.Helper()
	dir := filepath.Join(writable(t), "c")
	i, err := files.New(files.Options{FS: disk.OS{}, Dir: dir, Limits: limits(), Validator: validator, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return house{i, dir, t.TempDir()}
}

func (h house) stage(t *testing.T, data []byte) (installer.Slot, error) {
	t.Helper()
	s, err := download(h.downloads, "1", data)
	if err != nil {
		t.Fatal(err)
	}
	return h.Stage(t.Context(), s)
}

// empty checks that nothing was left behind by a refused artifact.
func (h house) empty(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.dir, "slots"))
	if err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v, want nothing left behind", entries, err)
	}
}

func TestStageUnpacks(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	program := file("bin/tool", "#!")
	program.Mode = 0o4755
	slot, err := h.stage(t, pack(directory("etc/"), file("etc/a.conf", "a"), file("deep/er/b", "b"), directory("deep"), file(".hidden", ""), program))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".": "dr-xr-xr-x", "etc": "dr-xr-xr-x", "etc/a.conf": "-r--r--r--", "deep": "dr-xr-xr-x", "deep/er": "dr-xr-xr-x",
		"deep/er/b": "-r--r--r--", ".hidden": "-r--r--r--", "bin": "dr-xr-xr-x", "bin/tool": "-r-xr-xr-x",
	}
	err = fs.WalkDir(os.DirFS(h.Path(slot)), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if got := info.Mode().String(); runtime.GOOS != "windows" && got != want[path] {
			t.Errorf("%s: got %s, want %s", path, got, want[path])
		}
		delete(want, path)
		return nil
	})
	if err != nil || len(want) != 0 {
		t.Errorf("got %v, missing %v", err, want)
	}
}

// A way back that is not there is none: nothing is switched that could not be undone (I5).
func TestInvariantI5NoSwitchWithoutItsWayBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	slot, err := h.stage(t, pack(file("a/version", "1"), file("copy", "1")))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Activate(t.Context(), slot, "0-removed"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v, want it refused", err)
	}
	if got, err := active(h.dir); got != "" || err != nil {
		t.Errorf("got %q in use (%v), want nothing", got, err)
	}
}

func TestStageOfASingleFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, err := download(h.downloads, "1", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	s.Artifact.Format, s.Artifact.Name = release.File, "app.conf"
	slot, err := h.Stage(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(h.Path(slot), "app.conf")); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestStageRefusesBadArchives(t *testing.T) {
	t.Parallel()
	typed := func(flag byte, name, link string) member {
		return member{tar.Header{Typeflag: flag, Name: name, Linkname: link, Mode: 0o644}, ""}
	}
	many := make([]member, 0, 101)
	for i := range 101 {
		many = append(many, file(fmt.Sprintf("f%d", i), ""))
	}
	sparse := file("s", "x")
	sparse.PAXRecords = map[string]string{"FIREBREAK.x": "y"}
	for name, row := range map[string]struct {
		data []byte
		want string
	}{
		"dot dot":           {pack(file("a/../../etc/passwd", "x")), "leads out of the release"},
		"dot dot first":     {pack(file("../x", "x")), "leads out of the release"},
		"only dot dot":      {pack(directory("..")), "leads out of the release"},
		"absolute":          {pack(file("/etc/passwd", "x")), "absolute path"},
		"dot":               {pack(directory("./")), "leads out"},
		"not plain":         {pack(file("./a", "x")), "plain form"},
		"double slash":      {pack(file("a//b", "x")), "plain form"},
		"backslash":         {pack(file(`a\b`, "x")), "backslash"},
		"control":           {pack(file("a\nb", "x")), "control characters"},
		"bidirectional":     {pack(file("a\u202egnp.exe", "x")), "control characters"},
		"not utf-8":         {pack(file("a\xff", "x")), "not UTF-8"},
		"symbolic link":     {pack(typed(tar.TypeSymlink, "l", "/etc")), `is a link to "/etc"`},
		"hard link":         {pack(file("a", "x"), typed(tar.TypeLink, "l", "a")), "is a link"},
		"device":            {pack(typed(tar.TypeBlock, "d", "")), "is of tar type"},
		"pipe":              {pack(typed(tar.TypeFifo, "p", "")), "is of tar type"},
		"global header":     {pack(member{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, ""}), "is of tar type"},
		"old sparse file":   {oldSparse(), "is of tar type"},
		"pax sparse file":   {paxSparse(), "is a sparse file"},
		"twice":             {pack(file("a", "1"), file("a", "2")), "is there twice"},
		"directory twice":   {pack(directory("a"), directory("a/")), "is there twice"},
		"file and then dir": {pack(file("a", "1"), file("a/b", "2")), "is there twice"},
		"dir and then file": {pack(file("a/b", "1"), file("a", "2")), "is there twice"},
		"case":              {pack(file("Read/me", "1"), file("READ/you", "2")), "where case does not matter"},
		"too many":          {pack(many...), "one more than 100"},
		"too large":         {pack(file("a", strings.Repeat("x", 1<<19)), file("b", strings.Repeat("y", 1<<19+1))), "more than 1048576 bytes"},
		"too deep":          {pack(file(strings.Repeat("d/", 40)+"f", "x")), "nested deeper"},
		"long name":         {pack(file(strings.Repeat("n", 300), "x")), "300 bytes in its name"},
		"no tar":            {[]byte(strings.Repeat("this is not a tar file ", 100)), "is not a tar archive"},
		"cut off":           {pack(file("a", strings.Repeat("x", 2000)))[:1500], "ends after"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			_, err := h.stage(t, row.data)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want invalid with %q", err, row.want)
			}
			h.empty(t)
		})
	}
}

// oldSparse is a GNU sparse member: a few bytes that claim to be a terabyte.
func oldSparse() []byte {
	data := pack(file("bomb", ""))
	data[156] = 'S'
	copy(data[257:], "ustar  \x00")
	copy(data[386:], "00000000000\x0000000000000\x00")
	copy(data[483:], "17777777777\x00")
	return rechecksum(data)
}

// paxSparse is the same in the newer format, made by hand since the library refuses to write it.
func paxSparse() []byte {
	h := file("bomb", "1\n0\n0\n"+strings.Repeat("\x00", 506))
	h.PAXRecords = map[string]string{"GNU_sparse_major": "1", "GNU_sparse_minor": "0", "GNU_sparse_realsize": "999999999"}
	return bytes.ReplaceAll(pack(h), []byte("GNU_sparse_"), []byte("GNU.sparse."))
}

func rechecksum(data []byte) []byte {
	copy(data[148:156], "        ")
	sum := 0
	for _, b := range data[:512] {
		sum += int(b)
	}
	copy(data[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

func TestStageRefusesWhatIsNotAsSigned(t *testing.T) {
	t.Parallel()
	good := pack(file("a", "content"))
	for name, row := range map[string]struct {
		change func(s *installer.Stage)
		data   []byte
		kind   fault.Kind
	}{
		"tampered":      {data: bytes.Replace(good, []byte("content"), []byte("CONTENT"), 1), kind: fault.Denied},
		"tampered head": {data: append([]byte("x"), good[1:]...), kind: fault.Denied},
		"truncated":     {data: good[:600], kind: fault.Denied},
		"longer":        {data: append(bytes.Clone(good), 0), kind: fault.Denied},
		"bad version":   {data: good, change: func(s *installer.Stage) { s.Version = "../1" }, kind: fault.Invalid},
		"bad digest":    {data: good, change: func(s *installer.Stage) { s.Artifact.Digest = "sha256:zz" }, kind: fault.Invalid},
		"bad format":    {data: good, change: func(s *installer.Stage) { s.Artifact.Format = "zip" }, kind: fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s, err := download(h.downloads, "1", good)
			if err != nil {
				t.Fatal(err)
			}
			if err = os.WriteFile(s.Path, row.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if row.change != nil {
				row.change(&s)
			}
			if _, err = h.Stage(t.Context(), s); fault.KindOf(err) != row.kind {
				t.Errorf("got %v, want %s", err, row.kind)
			}
			h.empty(t)
		})
	}
}

func TestCheckRunsTheValidator(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	for name, row := range map[string]struct {
		argv []string
		kind fault.Kind
		want string
	}{
		"passes":     {[]string{"/bin/sh", "-c", `test "$(cat "$0/a")" = content`, "{dir}"}, "", ""},
		"says no":    {[]string{"/bin/sh", "-c", "echo 21 fields and not 20 >&2; exit 1", "{dir}"}, fault.Invalid, "exit status 1: 21 fields and not 20"},
		"hangs":      {[]string{"/bin/sh", "-c", "exec sleep 1000", "{dir}"}, fault.Invalid, "did not end within 5s"},
		"is missing": {[]string{"/no/such/validator", "{dir}"}, fault.Unavailable, "cannot be run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, row.argv...)
			slot, err := h.stage(t, pack(file("a", "content")))
			if err != nil {
				t.Fatal(err)
			}
			err = h.Check(t.Context(), slot)
			if row.want == "" && err != nil || row.want != "" && (fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("got %v, want %s with %q", err, row.kind, row.want)
			}
		})
	}
}

func TestAForeignThingInPlaceOfTheLinkIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	slot, err := h.stage(t, pack(file("a", "content")))
	if err != nil {
		t.Fatal(err)
	}
	if err = os.Mkdir(filepath.Join(h.dir, "current"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.Activate(t.Context(), slot, ""); fault.KindOf(err) != fault.Conflict || fault.NextOf(err) == "" {
		t.Errorf("got %v, want a conflict with a next step", err)
	}
}

func TestACurrentSlotThatSomebodyRemovedCountsAsNone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	slot, err := h.stage(t, pack(file("a", "content")))
	if err == nil {
		err = h.Activate(t.Context(), slot, "")
	}
	if err == nil {
		err = disk.RemoveAll(disk.OS{}, h.Path(slot))
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := h.Inspect(t.Context())
	if err != nil || found.Current != "" || len(found.Slots) != 0 {
		t.Errorf("got %+v, %v, want nothing", found, err)
	}
	if _, err = h.stage(t, pack(file("a", "content"))); err != nil {
		t.Fatal(err)
	}
	found, err = h.Inspect(t.Context())
	if err != nil || found.Current != slot {
		t.Errorf("got %+v, %v, want it back", found, err)
	}
}

// FuzzStage: whatever an archive says, nothing appears outside of its slot, and a refused one leaves nothing behind.
func FuzzStage(f *testing.F) {
	f.Add(pack(file("a", "content"), directory("d"), file("d/e", "")))
	f.Add(pack(file("../a", "content")))
	f.Add(oldSparse())
	f.Add(paxSparse())
	f.Add(pack(member{tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "/etc"}, ""}, file("l/x", "y")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		parent := writable(t)
		dir := filepath.Join(parent, "c")
		i, err := files.New(files.Options{FS: disk.OS{}, Dir: dir, Limits: component.Limits{Size: 4096, Files: 8}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := download(t.TempDir(), "1", data)
		if err != nil {
			t.Fatal(err)
		}
		slot, err := i.Stage(t.Context(), s)
		if entries, readErr := os.ReadDir(parent); readErr != nil || len(entries) != 1 {
			t.Fatalf("got %v, %v, want nothing beside the component", entries, readErr)
		}
		entries, readErr := os.ReadDir(filepath.Join(dir, "slots"))
		if readErr != nil || err != nil && len(entries) != 0 || err == nil && len(entries) != 1 {
			t.Fatalf("got %v, %v after %v", entries, readErr, err)
		}
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Invalid {
				t.Fatalf("got %s %v, want invalid", kind, err)
			}
			return
		}
		plain(t, i.Path(slot))
	})
}

// plain checks that a slot holds plain files and directories within its limits.
func plain(t *testing.T, dir string) {
	t.Helper()
	size, count := int64(0), -1
	err := fs.WalkDir(os.DirFS(dir), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			t.Errorf("got %s, want plain files", info.Mode())
		}
		if !info.IsDir() {
			size += info.Size()
		}
		count++
		return nil
	})
	if err != nil || size > 4096 || count > 8 {
		t.Errorf("got %d bytes in %d entries, %v", size, count, err)
	}
}
