package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Info is what a store knows about a blob without reading it.
type Info struct {
	Digest release.Digest
	Size   int64     // bytes
	Put    time.Time // when it was put or touched last, by the store's clock
}

// The files that make a store an OCI image layout, as they are before anything is published.
const (
	LayoutFile = `{"imageLayoutVersion":"1.0.0"}`
	EmptyIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
)

// Check tells whether d is a digest at all. Nothing else ever becomes a path or a key.
func Check(d release.Digest) error {
	if !d.Valid() {
		return fault.New(fault.Invalid, `not a digest: it must be "sha256:" and 64 hexadecimal digits`)
	}
	return nil
}

// Absent is the error about a blob that is not there.
func Absent() error { return fault.New(fault.NotFound, "there is no such blob") }

// OtherSize is the error about a blob that is there with another size than was announced.
func OtherSize(have, announced int64) error {
	return fault.New(fault.Invalid, "it has %d bytes, not %d", have, announced)
}

// Verify passes the bytes of r on, and ends with io.EOF only if they were size bytes that want addresses and nothing came after them.
// Any other end is a fault that says what was wrong: Invalid if it is the bytes, Unavailable if r failed or ctx ended. So a store may
// copy from it and look at nothing but the error. It reads at most one byte beyond size.
func Verify(ctx context.Context, want release.Digest, size int64, r io.Reader) io.Reader {
	return &verified{ctx: ctx, want: want, size: size, from: r, sum: sha256.New()}
}

type verified struct {
	ctx  context.Context //nolint:containedctx // an io.Reader has no other way to get it; it lives as long as one Put
	want release.Digest
	size int64
	from io.Reader
	sum  hash.Hash
	read int64
	end  error // once known
}

// Read implements [io.Reader].
func (v *verified) Read(p []byte) (int, error) {
	if v.end == nil {
		v.end = v.ctx.Err()
		if v.end != nil {
			v.end = v.broken(v.end)
		}
	}
	if v.end == nil && v.size < 0 {
		v.end = fault.New(fault.Invalid, "it cannot have %d bytes", v.size)
	}
	if v.end != nil || len(p) == 0 {
		return 0, v.end
	}
	if most := v.size - v.read + 1; int64(len(p)) > most {
		p = p[:most]
	}
	n, err := v.from.Read(p)
	v.read += int64(n)
	if v.read > v.size {
		v.end = fault.New(fault.Invalid, "it is longer than the %d bytes that were announced", v.size)
		return 0, v.end
	}
	v.sum.Write(p[:n])
	switch {
	case errors.Is(err, io.EOF):
		v.end = v.judge()
	case err != nil:
		v.end = v.broken(err)
	}
	return n, v.end
}

func (v *verified) broken(err error) error {
	return fault.New(fault.Unavailable, "its sender failed after %d of %d bytes: %w", v.read, v.size, err).Hint("Send it again.")
}

// judge says what became of bytes that ended in good order.
func (v *verified) judge() error {
	if v.read < v.size {
		return fault.New(fault.Invalid, "it ended after %d of %d bytes", v.read, v.size).Hint("Send it again.")
	}
	if got := release.DigestFrom([sha256.Size]byte(v.sum.Sum(nil))); got != v.want {
		return fault.New(fault.Invalid, "its bytes have digest %s", got).
			Hint("It was damaged or exchanged on its way: build and send it again.")
	}
	return io.EOF
}
