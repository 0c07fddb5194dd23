package delta

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// A delta in windows is a header and one record for each window, all numbers little-endian:
//
//	header  "FBDELTA1", SHA-256 of the new bytes, SHA-256 of the old bytes or zeros, size of the new bytes (8), size of a window (4)
//	record  offset of the region in the old bytes (8), its length (4), length of the body (4), SHA-256 of the window, the body:
//	        a zstd frame that has the region as its dictionary
//
// Every window but the last has the size in the header.
const (
	windowsMagic = "FBDELTA1"
	headerSize   = len(windowsMagic) + 2*sha256.Size + 8 + 4
	recordSize   = 8 + 4 + 4 + sha256.Size
)

// What is made, and what is applied at most. A host that applies holds one region, one window and one body at a time.
const (
	windowSize  = 2 << 20
	loneWindow  = 4 << 20 // of a delta without old bytes, which has no regions
	regionSize  = 4 << 20
	leastWindow = 64 << 10
	maxWindow   = MaxSmall
	maxRegion   = 8 << 20
)

// Make writes the delta, in windows, that leads from the old bytes to the new ones. Without old bytes it is the new ones compressed.
func Make(ctx context.Context, w io.Writer, base, target Source) error {
	m := maker{w: w, base: base, target: target, size: loneWindow}
	var err error
	if m.encoder, err = newEncoder(); err != nil {
		return err
	}
	if base.Digest != "" {
		m.size = windowSize
		if m.anchors, err = newAnchors(ctx, base); err != nil {
			return fmt.Errorf("make delta: read the old bytes: %w", err)
		}
	}
	if err = m.header(); err != nil {
		return err
	}
	for offset := int64(0); offset < target.Size; offset += int64(m.size) {
		if err = ctx.Err(); err == nil {
			err = m.window(offset)
		}
		if err != nil {
			return fmt.Errorf("make delta: %w", err)
		}
	}
	return nil
}

type maker struct {
	w            io.Writer
	base, target Source
	encoder      encoder
	anchors      *anchors // nil without old bytes
	size         int      // of a window

	bytes, region, record []byte // kept from window to window
}

func (m *maker) header() error {
	b := []byte(windowsMagic)
	to, from := sumOf(m.target.Digest), sumOf(m.base.Digest)
	b = append(append(b, to[:]...), from[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.target.Size)) //nolint:gosec // sizes are positive
	b = binary.LittleEndian.AppendUint32(b, uint32(m.size))        //nolint:gosec // a constant
	_, err := m.w.Write(b)
	return err
}

// window encodes the window at an offset of the new bytes.
func (m *maker) window(offset int64) error {
	var err error
	if m.bytes, err = readAt(m.target, m.bytes, offset, min(int64(m.size), m.target.Size-offset)); err != nil {
		return fmt.Errorf("read the new bytes: %w", err)
	}
	var from, length int64
	if m.anchors != nil {
		from, length = m.anchors.region(m.bytes, offset)
	}
	if m.region, err = readAt(m.base, m.region, from, length); err != nil {
		return fmt.Errorf("read the old bytes: %w", err)
	}
	if m.record, err = m.encoder.encode(append(m.record[:0], make([]byte, recordSize)...), m.region, m.bytes); err != nil {
		return err
	}
	sum := sha256.Sum256(m.bytes)
	binary.LittleEndian.PutUint64(m.record, uint64(from))
	binary.LittleEndian.PutUint32(m.record[8:], uint32(length))
	binary.LittleEndian.PutUint32(m.record[12:], uint32(len(m.record)-recordSize)) //nolint:gosec // little more than a window
	copy(m.record[16:], sum[:])
	_, err = m.w.Write(m.record)
	return err
}

// readAt reads length bytes into buf, which grows if it has to.
func readAt(s Source, buf []byte, offset, length int64) ([]byte, error) {
	if int64(cap(buf)) < length {
		buf = make([]byte, length)
	}
	buf = buf[:length]
	if length == 0 {
		return buf, nil
	}
	if n, err := s.Bytes.ReadAt(buf, offset); n < len(buf) {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return buf, nil
}

// Patch is a delta in windows that can be applied.
type Patch struct {
	Target release.Digest // of what comes out
	Base   release.Digest // of what it needs; "" if nothing
	Size   int64          // of what comes out

	delta  Source
	window int64
}

// Open reads the header of a delta.
func Open(delta io.ReaderAt, size int64) (*Patch, error) {
	p := &Patch{delta: Source{Bytes: delta, Size: size}}
	b, err := p.read(nil, 0, int64(headerSize))
	if err != nil {
		return nil, err
	}
	if string(b[:len(windowsMagic)]) != windowsMagic {
		return nil, damaged("it is none")
	}
	b = b[len(windowsMagic):]
	p.Target = release.DigestFrom([sha256.Size]byte(b[:sha256.Size]))
	if from := [sha256.Size]byte(b[sha256.Size : 2*sha256.Size]); from != ([sha256.Size]byte{}) {
		p.Base = release.DigestFrom(from)
	}
	b = b[2*sha256.Size:]
	p.window = int64(binary.LittleEndian.Uint32(b[8:]))
	length := binary.LittleEndian.Uint64(b)
	if length == 0 || length > release.MaxArtifactSize || p.window < leastWindow || p.window > maxWindow {
		return nil, damaged("it wants to give %d bytes in windows of %d", length, p.window)
	}
	p.Size = int64(length)
	return p, nil
}

func damaged(format string, args ...any) error {
	return fault.New(fault.Invalid, "read delta: %s", fmt.Sprintf(format, args...))
}

// read reads from the delta; what lies behind its end is damage.
func (p *Patch) read(buf []byte, offset, length int64) ([]byte, error) {
	if length > p.delta.Size-offset {
		return nil, damaged("it ends after %d bytes", p.delta.Size)
	}
	b, err := readAt(p.delta, buf, offset, length)
	if err != nil {
		return nil, fmt.Errorf("read delta: %w", err)
	}
	return b, nil
}

// Apply writes the new bytes from have on, one window at a time, each after its hash was checked. What was written before an error is
// right as far as it goes, if base and delta are what they say: Apply again goes on behind it.
//
// fault.Conflict means that another base is needed, fault.Invalid that delta or base are damaged. Any other error is the reader's or
// the writer's own.
func (p *Patch) Apply(ctx context.Context, base Source, have int64, w io.Writer) error {
	if p.Base != base.Digest {
		return fault.New(fault.Conflict, "apply delta: it needs %s, there is %q", p.Base, base.Digest.Short())
	}
	if have < 0 || have > p.Size {
		return fault.New(fault.Invalid, "apply delta: %d bytes are there of %d", have, p.Size)
	}
	d, err := newDecoder()
	if err != nil {
		return err
	}
	defer d.Close()
	a := applier{Patch: p, base: base, decoder: d, out: make([]byte, 0, min(p.window, p.Size))}
	at := int64(headerSize)
	for offset := int64(0); offset < p.Size; offset += p.window {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := a.record(at, min(p.window, p.Size-offset))
		if err != nil {
			return err
		}
		at += recordSize + r.body
		if offset+r.size <= have {
			continue
		}
		if err := a.apply(r, at-r.body, max(0, have-offset), w); err != nil {
			return err
		}
	}
	return nil
}

// applier has the buffers that are used for one window after another.
type applier struct {
	*Patch
	base              Source
	decoder           decoder
	head, region, src []byte
	out               []byte
}

// record is one window: what it will be, and what it is made of.
type record struct {
	size         int64 // of the window
	from, region int64 // in the old bytes
	body         int64 // length
	sum          [sha256.Size]byte
}

// record reads the record at an offset of the delta, for a window of a known size.
func (a *applier) record(at, size int64) (record, error) {
	b, err := a.read(a.head, at, recordSize)
	if err != nil {
		return record{}, err
	}
	a.head = b
	r := record{
		size: size, region: int64(binary.LittleEndian.Uint32(b[8:])), body: int64(binary.LittleEndian.Uint32(b[12:])),
		sum: [sha256.Size]byte(b[16:]),
	}
	from := binary.LittleEndian.Uint64(b)
	most := a.window + a.window/64 + 1024                                                                       // a frame that could not be compressed is a little longer than what it holds
	if r.region > maxRegion || r.region > a.base.Size || from > uint64(a.base.Size-r.region) || r.body > most { //nolint:gosec // not negative
		return record{}, damaged("a window wants %d bytes at %d of %d, and has a body of %d", r.region, from, a.base.Size, r.body)
	}
	r.from = int64(from) //nolint:gosec // bounded just now
	return r, nil
}

// apply decodes one window and writes it but for the first skip bytes.
func (a *applier) apply(r record, body, skip int64, w io.Writer) error {
	var err error
	if a.src, err = a.read(a.src, body, r.body); err != nil {
		return err
	}
	if a.region, err = readAt(a.base, a.region, r.from, r.region); err != nil {
		return fmt.Errorf("read the old bytes: %w", err)
	}
	out, err := a.decoder.decode(a.out[:0:r.size], a.region, a.src)
	if err != nil {
		return err
	}
	if int64(len(out)) != r.size || sha256.Sum256(out) != r.sum {
		return damaged("a window does not come out right: delta or base are damaged")
	}
	_, err = w.Write(out[skip:])
	return err
}
