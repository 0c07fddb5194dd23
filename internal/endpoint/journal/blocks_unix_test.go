//go:build unix

package journal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
)

const holeSize = 64 << 10 // larger than any block

// restored is a journal as a backup program brings it back: its zeros are holes.
func restored(t *testing.T, record string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	j, err := journal.Open(disk.OS{}, path, holeSize)
	if err != nil {
		t.Fatal(err)
	}
	if record != "" {
		if err := j.Save([]byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	_ = j.Close()
	data := mustRead(t, path)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err1 := f.Write(bytes.TrimRight(data, "\x00"))
	err2 := f.Truncate(int64(len(data)))
	if err1 != nil || err2 != nil || f.Sync() != nil {
		t.Fatal(err1, err2)
	}
	if blocks(t, path) >= int64(len(data)) {
		t.Skip("this file system knows no holes")
	}
	return path
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512
}

// counted notes how long the writes are.
type counted struct {
	disk.OS
	writes     *[]int
	compresses bool // the file system seems to hold less than was written
}

func (c counted) Open(path string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := c.OS.Open(path, flag, perm)
	return countedFile{f, c}, err
}

type countedFile struct {
	disk.File
	on counted
}

func (c countedFile) Stat() (os.FileInfo, error) {
	info, err := c.File.Stat()
	if c.on.compresses {
		info = squeezed{info}
	}
	return info, err
}

type squeezed struct{ os.FileInfo }

func (squeezed) Sys() any { return &syscall.Stat_t{Blocks: 1} }

func (c countedFile) WriteAt(b []byte, at int64) (int, error) {
	*c.on.writes = append(*c.on.writes, len(b))
	return c.File.WriteAt(b, at)
}

// A journal that lost its blocks has them again after two saves, so that a disk that fills up later stops none. Those after are short.
func TestHolesAreFilled(t *testing.T) {
	t.Parallel()
	for _, record := range []string{"", "old"} {
		path := restored(t, record)
		var writes []int
		j, err := journal.Open(counted{writes: &writes}, path, holeSize)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := j.Load(); string(got) != record || err != nil {
			t.Errorf("got %q (%v), want %q", got, err, record)
		}
		for i := range 5 {
			if err := j.Save([]byte("new")); err != nil {
				t.Fatal(err)
			}
			if got := blocks(t, path); i > 0 && got < 2*holeSize {
				t.Errorf("after save %d there are blocks for %d bytes, want %d", i, got, 2*holeSize)
			}
		}
		const short = journal.HeaderSize + len("new")
		if want := []int{holeSize, holeSize, short, short, short}; !slices.Equal(writes, want) {
			t.Errorf("got writes of %d bytes, want %d", writes, want)
		}
		_ = j.Close()
	}
}

// Where it always seems to have holes, a journal writes each slot as a whole once, and not at every save.
func TestCompressionIsNoHoleForEver(t *testing.T) {
	t.Parallel()
	var writes []int
	j, err := journal.Open(counted{writes: &writes, compresses: true}, filepath.Join(t.TempDir(), "journal"), holeSize)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for range 4 {
		if err := j.Save(nil); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{holeSize, holeSize, journal.HeaderSize, journal.HeaderSize}; !slices.Equal(writes, want) {
		t.Errorf("got writes of %d bytes, want %d", writes, want)
	}
}

// Filling up loses no record, whatever strikes, and one that was struck is made good by the next save.
func TestNoCrashLosesTheRecordOfASparseJournal(t *testing.T) {
	t.Parallel()
	for _, f := range []disktest.Fault{
		{Kind: disktest.Kill, Tear: true},
		{Kind: disktest.Cut},
		{Kind: disktest.Cut, Tear: true},
		{Kind: disktest.Fail, Err: syscall.ENOSPC, Tear: true},
	} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			disktest.Enumerate(t, f, func(t *testing.T, fsys *disktest.Faulty) {
				path, saved := restored(t, "old"), []string{"old"}
				if j, err := journal.Open(fsys, path, holeSize); err == nil {
					for i := range 3 {
						next := fmt.Sprint("record ", i)
						if err := j.Save([]byte(next)); err != nil {
							saved = append(saved, next)
							break
						}
						saved = []string{next}
					}
					_ = j.Close()
				}
				again, err := journal.Open(disk.OS{}, path, holeSize)
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				if got := load(t, again); !slices.Contains(saved, got) {
					t.Errorf("got %q, want one of %q", got, saved)
				}
				if err1, err2 := again.Save(nil), again.Save(nil); err1 != nil || err2 != nil || blocks(t, path) < 2*holeSize {
					t.Errorf("saves after the fault: %v, %v, with blocks for %d bytes", err1, err2, blocks(t, path))
				}
			})
		})
	}
}
