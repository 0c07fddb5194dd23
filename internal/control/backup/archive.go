package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"regexp"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// An archive is a tar of parts, compressed by zstd and, if asked, encrypted by age. The first part says the format, the last is the
// manifest with the digests of all that came between: an archive that was cut off has none, and is refused.
const (
	formatName   = "firebreak-backup.json"
	manifestName = "manifest.json"
	databaseName = "firebreak.db"
	keysDir      = "keys"
	blobsDir     = "blobs/sha256"

	formatNumber = 1
	maxHeader    = 1 << 10
	maxManifest  = 1 << 30 // it lists every artifact
	ageMagic     = "age-encryption.org/"
)

// header is the first part.
type header struct {
	Format int `json:"format"`
}

// Part is one file in a backup.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// writer writes an archive.
type writer struct {
	tar   *tar.Writer
	below []io.Closer // what tar writes to, outermost first
	sum   hash.Hash   // of the bytes as they are in the file
	parts []Part
	tell  func(done int64) // is told how many bytes of a file are packed; nil: nobody
}

// newWriter begins an archive. Without recipients it is not encrypted.
func newWriter(to io.Writer, recipients []age.Recipient) (*writer, error) {
	w := &writer{sum: sha256.New()}
	out := io.MultiWriter(to, w.sum)
	if len(recipients) > 0 {
		sealed, err := age.Encrypt(out, recipients...)
		if err != nil {
			return nil, fmt.Errorf("encrypt: %w", err)
		}
		out, w.below = sealed, append(w.below, sealed)
	}
	packed, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	w.below = append([]io.Closer{packed}, w.below...)
	w.tar = tar.NewWriter(packed)
	return w, w.json(formatName, header{formatNumber})
}

// part adds a file of a known size.
func (w *writer) part(name string, size int64, from io.Reader) error {
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w.tar, sum), io.LimitReader(from, size))
	if err == nil && n != size {
		err = fmt.Errorf("it ended after %d of %d bytes", n, size)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w.parts = append(w.parts, Part{Name: name, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

func (w *writer) file(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if w.tell == nil {
		return w.part(name, info.Size(), f)
	}
	return w.part(name, info.Size(), &counted{Reader: f, tell: w.tell})
}

// counted tells how many bytes were read.
type counted struct {
	io.Reader
	done int64
	tell func(done int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.done += int64(n)
	c.tell(c.done)
	return n, err
}

// measured is a reader of a file that tells how much of it was read.
func measured(f *os.File, tell func(done, total int64)) io.Reader {
	info, err := f.Stat()
	if tell == nil || err != nil {
		return f
	}
	return &counted{Reader: f, tell: func(done int64) { tell(done, info.Size()) }}
}

func (w *writer) json(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.part(name, int64(len(data)), bytes.NewReader(data))
}

func (w *writer) close() error {
	err := w.tar.Close()
	for _, c := range w.below {
		err = errors.Join(err, c.Close())
	}
	return err
}

// reader reads an archive.
type reader struct {
	tar   *tar.Reader
	below io.Reader // what tar reads from; its sums are right only at its end
	close func()
	parts []Part
}

// newReader begins to read. Identities decrypt; they are not needed for an archive that is not encrypted.
func newReader(from io.Reader, identities []age.Identity) (*reader, error) {
	in := bufio.NewReader(from)
	start, err := in.Peek(len(ageMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	opened := io.Reader(in)
	if string(start) == ageMagic {
		if opened, err = decrypt(in, identities); err != nil {
			return nil, err
		}
	}
	unpacked, err := zstd.NewReader(opened, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<27))
	if err != nil {
		return nil, damaged(err)
	}
	r := &reader{tar: tar.NewReader(unpacked), below: unpacked, close: unpacked.Close}
	if err := r.begin(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func decrypt(in io.Reader, identities []age.Identity) (io.Reader, error) {
	if len(identities) == 0 {
		return nil, fault.New(fault.Denied, "it is encrypted").Hint("Give --identity FILE or --passphrase-file FILE.")
	}
	opened, err := age.Decrypt(in, identities...)
	if err != nil {
		return nil, fault.New(fault.Denied, "decrypt: %w", err).Hint("Give the identity or the passphrase that it was encrypted for.")
	}
	return opened, nil
}

// begin reads the first part.
func (r *reader) begin() error {
	var h header
	part, err := r.tar.Next()
	if err == nil && part.Name != formatName {
		err = fmt.Errorf("it begins with %q", part.Name)
	}
	if err == nil {
		err = r.json(part, maxHeader, &h)
	}
	switch {
	case err != nil:
		return fault.New(fault.Invalid, "it is no backup of firebreak, or it is damaged: %w", err)
	case h.Format > formatNumber:
		return fault.New(fault.Conflict, "its format is %d, this program knows formats up to %d", h.Format, formatNumber).
			Hint("Restore it with the version of firebreak that made it, or a newer one.")
	}
	return nil
}

// json reads a part.
func (r *reader) json(part *tar.Header, limit int64, into any) error {
	if part.Size > limit {
		return fmt.Errorf("%s has %d bytes; %d is the most", part.Name, part.Size, limit)
	}
	var b bytes.Buffer
	if _, err := r.copy(part, &b); err != nil {
		return err
	}
	return json.Unmarshal(b.Bytes(), into)
}

// copy reads a part to its end and notes what it was.
func (r *reader) copy(part *tar.Header, to io.Writer) (Part, error) {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), r.tar)
	if err != nil {
		return Part{}, err
	}
	p := Part{Name: part.Name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}
	r.parts = append(r.parts, p)
	return p, nil
}

// each reads all parts, gives those before the manifest to put, and compares them with the manifest. Put returns where a part goes; it
// may be nil for nowhere.
func (r *reader) each(put func(part *tar.Header) (io.WriteCloser, error)) (Manifest, error) {
	for {
		part, err := r.tar.Next()
		if errors.Is(err, io.EOF) {
			return Manifest{}, damaged(errors.New("it has no manifest: it was cut off"))
		}
		if err != nil {
			return Manifest{}, damaged(err)
		}
		if part.Name == manifestName {
			return r.finish(part)
		}
		if err := r.take(part, put); err != nil {
			return Manifest{}, err
		}
	}
}

func (r *reader) take(part *tar.Header, put func(part *tar.Header) (io.WriteCloser, error)) error {
	if part.Typeflag != tar.TypeReg || !allowed(part.Name) {
		return damaged(fmt.Errorf("it has a part %q, which no backup has", part.Name))
	}
	var to io.WriteCloser = nowhere{io.Discard}
	if put != nil {
		var err error
		if to, err = put(part); err != nil {
			return err
		}
	}
	p, err := r.copy(part, to)
	if err != nil {
		_ = to.Close()
		return damaged(fmt.Errorf("read %s: %w", part.Name, err))
	}
	if hexDigest, ok := strings.CutPrefix(part.Name, blobsDir+"/"); ok && hexDigest != p.SHA256 {
		_ = to.Close()
		return damaged(fmt.Errorf("artifact %s has other bytes", part.Name))
	}
	return to.Close()
}

// finish reads the manifest and what must not follow it.
func (r *reader) finish(part *tar.Header) (Manifest, error) {
	var m Manifest
	parts := r.parts
	if err := r.json(part, maxManifest, &m); err != nil {
		return m, damaged(err)
	}
	if _, err := r.tar.Next(); !errors.Is(err, io.EOF) {
		return m, damaged(errors.New("something follows its manifest"))
	}
	if _, err := io.Copy(io.Discard, r.below); err != nil {
		return m, damaged(err)
	}
	if len(parts) != len(m.Parts) {
		return m, damaged(fmt.Errorf("it has %d parts, its manifest lists %d", len(parts), len(m.Parts)))
	}
	for i, want := range m.Parts {
		if parts[i] != want {
			return m, damaged(fmt.Errorf("part %s is not as its manifest says", want.Name))
		}
	}
	return m, nil
}

// allowed tells whether a part of that name belongs into a data directory. Nothing else ever becomes a path.
func allowed(name string) bool {
	dir, base := path.Split(name)
	switch dir {
	case "":
		return base == databaseName
	case keysDir + "/":
		return regexp.MustCompile(`^[\w-][\w.-]*$`).MatchString(base)
	case blobsDir + "/":
		return regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(base)
	}
	return false
}

func damaged(err error) error {
	return fault.New(fault.Invalid, "it is damaged: %w", err).Hint("Take another backup; this one cannot be trusted.")
}

type nowhere struct{ io.Writer }

// Close implements [io.Closer].
func (nowhere) Close() error { return nil }
