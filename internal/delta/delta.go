// Package delta makes new bytes out of old ones: it encodes what differs, and decodes it on hosts that have little memory.
//
// There are three forms. [EncodeDictionary] is for small content: one zstd frame with the old bytes as its dictionary, as RFC 9842 (dcz)
// has it. [Compress] is the same without old bytes. [Make] is for anything larger: it cuts the new bytes into windows and encodes each
// with the region of the old bytes that resembles it most, so that [Patch.Apply] holds one window and one region at a time.
//
// A delta needs no trust. What comes out of one is bounded by what the caller expects, and is worth nothing before its digest was compared
// with the one that was signed.
package delta

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// MaxSmall is how many bytes the old and the new content may have at most to be encoded in one piece.
const MaxSmall = 4 << 20

// Source is bytes that can be read anywhere, and what they are. Without a digest there are none.
type Source struct {
	Bytes  io.ReaderAt
	Size   int64
	Digest release.Digest
}

// dczMagic begins a dcz stream; the SHA-256 of the dictionary follows. To a zstd decoder the 40 bytes are a frame to be skipped.
const dczMagic = "\x5e\x2a\x4d\x18\x20\x00\x00\x00"

// EncodeDictionary encodes target with base as the dictionary, in the form dcz (RFC 9842). Both have at most MaxSmall bytes.
func EncodeDictionary(base, target []byte) ([]byte, error) {
	if len(base) > MaxSmall || len(target) > MaxSmall {
		return nil, fault.New(fault.Invalid, "encode with a dictionary: %d and %d bytes are too many for one piece", len(base), len(target))
	}
	sum := sha256.Sum256(base)
	return encode(append([]byte(dczMagic), sum[:]...), base, target)
}

// DecodeDictionary gives the bytes that a dcz stream encodes, at most size of them. fault.Conflict means that it needs another base,
// fault.Invalid that it is damaged or gives more.
func DecodeDictionary(base, data []byte, size int64) ([]byte, error) {
	rest, ok := bytes.CutPrefix(data, []byte(dczMagic))
	if !ok || len(rest) < sha256.Size {
		return nil, fault.New(fault.Invalid, "decode with a dictionary: this is no dcz stream")
	}
	if sum := sha256.Sum256(base); !bytes.Equal(rest[:sha256.Size], sum[:]) {
		return nil, fault.New(fault.Conflict, "decode with a dictionary: the stream needs %x, the base is %x", rest[:6], sum[:6])
	}
	return decode(base, rest[sha256.Size:], size)
}

// Compress encodes target without a base, as plain zstd.
func Compress(target []byte) ([]byte, error) { return encode(nil, nil, target) }

// Decompress gives the bytes that Compress encoded, at most size of them.
func Decompress(data []byte, size int64) ([]byte, error) { return decode(nil, data, size) }

func encode(to, base, target []byte) ([]byte, error) {
	encoder, err := newEncoder()
	if err != nil {
		return nil, err
	}
	return encoder.encode(to, base, target)
}

func decode(base, data []byte, size int64) ([]byte, error) {
	if size <= 0 || size > MaxSmall {
		return nil, fault.New(fault.Invalid, "decode: %d bytes are none or too many for one piece", size)
	}
	decoder, err := newDecoder()
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	return decoder.decode(make([]byte, 0, size), base, data)
}

// encoder encodes one piece after another. Only the slowest level finds matches in a large dictionary.
type encoder struct{ zstd *zstd.Encoder }

// reach is how far back matches may lie: a region and a window, or two pieces of MaxSmall.
const reach = 8 << 20

func newEncoder() (encoder, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(reach), zstd.WithEncoderCRC(false))
	if err != nil {
		return encoder{}, fmt.Errorf("make encoder: %w", err)
	}
	return encoder{z}, nil
}

// encode appends the encoded target to a slice.
func (e encoder) encode(to, base, target []byte) ([]byte, error) {
	dictionary := zstd.WithEncoderDictDelete()
	if len(base) > 0 {
		dictionary = zstd.WithEncoderDictRaw(0, base)
	}
	if err := e.zstd.ResetWithOptions(nil, dictionary); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return e.zstd.EncodeAll(target, to), nil
}

// decoder decodes one piece after another, and never more than fits into the slice it is given.
type decoder struct{ *zstd.Decoder }

func newDecoder() (decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(reach), zstd.WithDecoderMaxMemory(MaxSmall))
	if err != nil {
		return decoder{}, fmt.Errorf("make decoder: %w", err)
	}
	return decoder{z}, nil
}

// decode appends what data gives to a slice, within its capacity.
func (d decoder) decode(to, base, data []byte) ([]byte, error) {
	if err := d.ResetWithOptions(nil, zstd.WithDecoderDictRaw(0, base)); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	out, err := d.DecodeAll(data, to)
	if err != nil {
		return nil, fault.New(fault.Invalid, "decode: it is damaged, or gives more than %d bytes: %w", cap(to), err)
	}
	return out, nil
}

// sumOf is the digest as bytes; zeros if there is none.
func sumOf(d release.Digest) (sum [sha256.Size]byte) {
	_, _ = hex.Decode(sum[:], []byte(d.Hex())) // Hex is empty unless it is well formed
	return sum
}
