//go:build unix

package journal

import (
	"io/fs"
	"syscall"
)

// allocated is how many bytes the blocks of a file hold.
func allocated(info fs.FileInfo) (bytes int64, known bool) {
	const block = 512 // whatever the file system's own blocks are
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int64(stat.Blocks) * block, true //nolint:unconvert // of another type on some systems
}
