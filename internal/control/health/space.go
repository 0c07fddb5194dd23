package health

import (
	"context"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Disk is the room of a file system, for this program.
type Disk struct {
	Free   uint64 // bytes
	Size   uint64
	Inodes uint64 // files that can still be made; NoLimit where that is not counted
}

// NoLimit stands for as many as one likes.
const NoLimit = ^uint64(0)

// Room looks at the file system that a directory is on.
func Room(dir string) (Disk, error) { return room(dir) }

// RoomFor checks that a directory has at least so many bytes, and some files, to spare.
func RoomFor(dir string, least uint64) Check {
	const files = 100
	return Check{Name: "disk", Look: func(context.Context) error {
		d, err := Room(dir)
		if err != nil {
			return fault.New(fault.Unavailable, "look at the disk of %s: %w", dir, err)
		}
		if d.Free < least || d.Inodes < files {
			return fault.New(fault.Unavailable, "the disk of %s is full: %d MiB and %d files are left", dir, d.Free>>20, d.Inodes).
				Hint("Free space there. Nothing was lost: what could not be stored was not acknowledged.")
		}
		return nil
	}}
}
