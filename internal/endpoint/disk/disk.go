// Package disk is everything that the endpoint does to a file system, and the few ways in which it does it durably.
//
// [FS] has the primitives of the operating system and nothing else, so that a test can enumerate each of them and let it fail, run out
// of space, or be the last thing that the process ever did (package disktest). The functions of this package ([WriteFile], [Link],
// [MkdirAll], [RemoveAll]) build the durable operations out of those primitives: once one returns nil, its effect survives a power cut;
// until then the old state or the new one is there, never a mixture.
package disk

import (
	"io"
	"io/fs"
)

// Reader is the part of a file system that changes nothing. Paths are those of the host.
type Reader interface {
	// Lstat describes the thing at path itself, not what a link points to.
	Lstat(path string) (fs.FileInfo, error)
	// ReadDir lists a directory in the order of names.
	ReadDir(path string) ([]fs.DirEntry, error)
	// Readlink tells where the link at path points to. It is an error if path is no link.
	Readlink(path string) (string, error)
	// Free tells how many bytes the caller may still write to the file system that holds path.
	Free(path string) (int64, error)
}

// FS is a file system. Each method that changes something is atomic for other processes, but survives a power cut only after the file
// or the directory concerned was synced: the directory for names, the file for contents.
type FS interface {
	Reader
	// Open opens a file as os.OpenFile does; flag may create it.
	Open(path string, flag int, perm fs.FileMode) (File, error)
	// Mkdir makes one directory.
	Mkdir(path string, perm fs.FileMode) error
	// Symlink makes path a link to target, which is relative to the directory of path. It is an error if path exists.
	Symlink(target, path string) error
	// Rename gives what is at from the name to, replacing a file or a link that has it.
	Rename(from, to string) error
	// Remove removes a file, a link or an empty directory.
	Remove(path string) error
	// Chmod sets permissions.
	Chmod(path string, perm fs.FileMode) error
	// SyncDir makes the names in a directory durable. A system that cannot do so (Windows) keeps them in its own order.
	SyncDir(path string) error
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Closer
	// Stat describes the file.
	Stat() (fs.FileInfo, error)
	// Truncate sets the size.
	Truncate(size int64) error
	// Sync makes contents and attributes durable.
	Sync() error
	// Datasync makes contents durable, and of the attributes only what reading them needs. Overwriting in place needs no more.
	Datasync() error
}
