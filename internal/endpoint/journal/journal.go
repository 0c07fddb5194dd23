// Package journal keeps one small record so that no crash, torn write or full disk can lose it.
//
// The file has two slots of equal size, preallocated when it is made. A save overwrites the older slot in place and syncs it, so it
// needs no space and never touches the newest record. Where a backup brought the file back without its blocks, the first save into each slot
// fills it up again. Each slot frames its record:
//
//	magic "FBJL" | version u32 | sequence u64 | length u32 | crc32c u32 | payload        (little endian; the sum covers all but itself)
//
// The frame is fixed for good; the version says what the payload means. A slot whose sum is wrong was torn and does not count. Of the
// others the one with the highest sequence is the record.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// Version is the format of the payload that this program writes and reads.
const Version = 1

// Sizes in bytes.
const (
	HeaderSize  = 24
	MinSlotSize = 512
	MaxSlotSize = 1 << 20
)

const (
	magic = "FBJL"
	slots = 2
)

// ErrDamaged says that both slots hold bytes and neither is a record: no crash leaves that behind, only a broken disk or an editor.
// The next [Journal.Save] starts afresh.
var ErrDamaged = errors.New("both slots are damaged")

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	mu   sync.Mutex
	file disk.File
	path string
	size int64 // of one slot

	filled [slots]bool // no hole is left in it, as far as this program can see to that
}

// Open opens the journal at path, or makes an empty one with slots of slotSize bytes. The directory must exist. A journal that was made
// with another slot size keeps it.
func Open(fsys disk.FS, path string, slotSize int64) (*Journal, error) {
	if slotSize < MinSlotSize || slotSize > MaxSlotSize {
		return nil, fault.New(fault.Internal, "open journal %s: slots of %d bytes; must be %d to %d", path, slotSize, MinSlotSize, MaxSlotSize)
	}
	info, err := fsys.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = disk.WriteFile(fsys, path, make([]byte, slots*slotSize), 0o600); err == nil {
			info, err = fsys.Lstat(path)
		}
	}
	if err != nil {
		return nil, disk.Explain(err, "open journal %s", path)
	}
	if n := info.Size(); !info.Mode().IsRegular() || n%slots != 0 || n/slots < MinSlotSize || n/slots > MaxSlotSize {
		return nil, fault.New(fault.Conflict, "open journal %s: is no journal of this program (%d bytes); left alone", path, n).
			Hint("move %s away to start afresh", path)
	}
	f, err := fsys.Open(path, os.O_RDWR, 0)
	if err != nil {
		return nil, disk.Explain(err, "open journal %s", path)
	}
	return &Journal{file: f, path: path, size: info.Size() / slots}, nil
}

// Path is the name of the file.
func (j *Journal) Path() string { return filepath.Clean(j.path) }

// Room is the size of the largest payload that a save accepts.
func (j *Journal) Room() int { return int(j.size) - HeaderSize }

// Load returns the newest payload; ok is false if nothing was saved yet. A record of a format that this program does not know is a
// fault.Conflict and is left alone; ErrDamaged says that what was saved is lost.
func (j *Journal) Load() (payload []byte, ok bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	newest, err := j.newest()
	if err != nil {
		return nil, false, err
	}
	return newest.payload, newest.sequence > 0, nil
}

// Save makes payload the record, durably. On an error the old record or the new one is there.
func (j *Journal) Save(payload []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(payload) > j.Room() {
		return fault.New(fault.Invalid, "save journal %s: %d bytes do not fit a slot of %d", j.path, len(payload), j.Room())
	}
	newest, err := j.newest()
	if err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	older := 1 - newest.slot
	data, whole := encode(newest.sequence+1, payload), j.filled[older] || !j.sparse()
	if !whole {
		data = append(data, make([]byte, int(j.size)-len(data))...)
	}
	if _, err = j.file.WriteAt(data, int64(older)*j.size); err == nil {
		err = j.file.Datasync()
	}
	j.filled[older] = err == nil
	return disk.Explain(err, "save journal %s", j.path)
}

// sparse tells whether the file has fewer blocks than bytes: on a disk that is full, a save into a hole would fail. On a file system that
// compresses it always seems so, which costs one larger write a slot.
func (j *Journal) sparse() bool {
	info, err := j.file.Stat()
	if err != nil {
		return false
	}
	bytes, known := allocated(info)
	return known && bytes < slots*j.size
}

// Close closes the file. The journal cannot be used afterwards.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}

// record is the content of one slot. Sequence 0 means that it holds none.
type record struct {
	slot     int
	version  uint32
	sequence uint64
	payload  []byte
}

// newest finds the record. Without one it returns the slot after which a save goes to the first.
func (j *Journal) newest() (record, error) {
	newest, blank := record{slot: 1}, false
	buf := make([]byte, j.size)
	for i := range slots {
		if _, err := j.file.ReadAt(buf, int64(i)*j.size); err != nil && !errors.Is(err, io.EOF) {
			return newest, disk.Explain(err, "read journal %s", j.path)
		}
		r, ok := decode(buf)
		switch {
		case ok && r.sequence > newest.sequence:
			newest, newest.slot = r, i
		case !ok && binary.LittleEndian.Uint64(buf) == 0:
			blank = true // never written: the other slot may be torn, but then there was no record before
		}
	}
	switch {
	case newest.sequence == 0 && !blank:
		return newest, fault.New(fault.Conflict, "read journal %s: %w", j.path, ErrDamaged)
	case newest.sequence > 0 && newest.version != Version:
		return newest, fault.New(fault.Conflict, "read journal %s: has format %d, this program knows %d; left alone",
			j.path, newest.version, Version).Hint("run the program that wrote it, or a newer one")
	}
	return newest, nil
}

func encode(sequence uint64, payload []byte) []byte {
	b := make([]byte, HeaderSize, HeaderSize+len(payload))
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[4:], Version)
	binary.LittleEndian.PutUint64(b[8:], sequence)
	binary.LittleEndian.PutUint32(b[16:], uint32(len(payload))) //nolint:gosec // bounded by MaxSlotSize
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[20:], sum(b))
	return b
}

// decode reads the frame at the start of b, of any version; ok is false if it is torn or there is none.
func decode(b []byte) (record, bool) {
	if len(b) < HeaderSize || string(b[:4]) != magic {
		return record{}, false
	}
	length := int64(binary.LittleEndian.Uint32(b[16:]))
	if length > int64(len(b)-HeaderSize) {
		return record{}, false
	}
	b = b[:HeaderSize+length]
	r := record{
		version:  binary.LittleEndian.Uint32(b[4:]),
		sequence: binary.LittleEndian.Uint64(b[8:]),
		payload:  append([]byte(nil), b[HeaderSize:]...),
	}
	return r, sum(b) == binary.LittleEndian.Uint32(b[20:]) && r.sequence > 0 && r.sequence < math.MaxUint64
}

// sum covers the header without the sum itself, and the payload.
func sum(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(b[:20], table), table, b[HeaderSize:])
}

var _ fmt.Stringer = (*Journal)(nil)

// String names the journal for logs.
func (j *Journal) String() string { return fmt.Sprintf("journal %s (2 x %d bytes)", j.path, j.size) }
