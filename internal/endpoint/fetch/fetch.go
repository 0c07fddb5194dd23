// Package fetch downloads artifacts: in parts, over as many attempts as it takes, and never more than was signed.
//
// The partial file beside the wanted one survives crashes and is continued with a range request. Nothing of it counts until the whole
// has the signed size and digest; then it is renamed into place. One call makes one attempt; when to try again is the caller's business.
//
// Less is moved if the server has a delta from a release that is staged here. Of small artifacts the one request says which that is
// (RFC 9842, encoded.go); for larger ones the server is asked what it has, and a delta is downloaded and applied (patch.go). Whatever goes
// wrong with a delta, the whole artifact is asked for instead.
package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// Options set up a fetcher.
type Options struct {
	Client  *http.Client
	FS      disk.FS
	Reserve int64        // bytes that must stay free on the file system, beyond twice the artifact: the download and its unpacked form
	Log     *slog.Logger // says what was moved; nil says nothing
}

// Fetcher downloads artifacts. It is safe for concurrent use, but not for the same path.
type Fetcher struct{ Options }

// New makes a fetcher.
func New(o Options) *Fetcher {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Fetcher{o}
}

// Request says what to download, and where to.
type Request struct {
	URL    string
	Digest release.Digest
	Size   int64
	Path   string // of the finished file; its directory must exist

	// What to build it from, if the server knows how. Both may be left out.
	Format release.Format // of the artifact
	Bases  []string       // directories of slots in which artifacts of the same format were unpacked; the likeliest first

	plain bool   // is itself a delta
	meter *int64 // bytes that came over the network
}

// Suffixes of what is kept between attempts.
const (
	partSuffix = ".part"
	tagSuffix  = ".etag"
)

// Fetch makes one attempt to have the artifact complete and verified at its path; one that is there already is only verified.
//
// fault.Unavailable means that a later attempt may succeed and continues where this one stopped. fault.Denied means that what was sent
// is not what was signed: it was deleted. fault.NotFound means that the server does not have it. The attempt ends with ctx; give ctx a
// deadline so that a server that stalls does not hold it for ever.
func (f *Fetcher) Fetch(ctx context.Context, r Request) error {
	if !r.Digest.Valid() || r.Size <= 0 || r.Size > release.MaxArtifactSize {
		return fault.New(fault.Invalid, "fetch %q: digest or size (%d) is not well formed", r.Digest, r.Size)
	}
	done, err := f.complete(ctx, r)
	if err == nil && !done {
		err = f.attempt(ctx, r)
	}
	switch {
	case err == nil:
		_ = f.forget(r) // best effort: what is left of a delta is of no use any more
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("fetch %s: %w", r.Digest.Short(), ctx.Err())
	case disk.Full(err):
		_ = errors.Join(f.discard(r), f.forget(r)) // what was downloaded must not be what keeps the disk full
		return fault.New(fault.Unavailable, "fetch %s: the disk is full; the partial download was removed: %w", r.Digest.Short(), err).
			Hint("free some space on the file system of %s", filepath.Dir(r.Path))
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return fmt.Errorf("fetch %s: %w", r.Digest.Short(), err)
	}
	return disk.Explain(err, "fetch %s", r.Digest.Short())
}

// complete tells whether the artifact is there; a file in its place that is something else is removed.
func (f *Fetcher) complete(ctx context.Context, r Request) (bool, error) {
	file, err := f.FS.Open(r.Path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(reader{ctx, file}, r.Size+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return false, err
	}
	if n == r.Size && digest(sum) == r.Digest {
		return true, nil
	}
	return false, f.FS.Remove(r.Path)
}

// attempt continues the partial file with what the server sends, and gives it its name once it is whole.
func (f *Fetcher) attempt(ctx context.Context, r Request) error {
	part, err := f.FS.Open(r.Path+partSuffix, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if r.meter == nil {
		r.meter = new(int64)
	}
	d := &download{Request: r, fs: f.FS, part: part, sum: sha256.New()}
	err = f.transfer(ctx, d)
	if closeErr := part.Close(); err == nil {
		err = closeErr
	}
	switch {
	case err == nil: // closed before: Windows neither renames nor removes what is open
		return d.publish()
	case d.drop:
		return errors.Join(err, f.discard(r))
	default:
		return err
	}
}

func (f *Fetcher) transfer(ctx context.Context, d *download) error {
	if err := d.resume(ctx); err != nil {
		return err
	}
	if err := f.space(d); err != nil {
		return err
	}
	if d.have < d.Size {
		if err := f.obtain(ctx, d); err != nil {
			return err
		}
	}
	return d.verify()
}

// obtain gets what is missing, in the shortest form that there is.
func (f *Fetcher) obtain(ctx context.Context, d *download) error {
	var err error
	switch {
	case d.plain:
	case d.Size <= delta.MaxSmall:
		if d.have == 0 {
			d.ask = f.offer(ctx, d.Request)
		}
	default:
		err = f.patch(ctx, d)
	}
	if err == nil && d.have < d.Size {
		err = d.get(ctx, f.Client)
	}
	if !d.plain {
		f.Log.InfoContext(ctx, "artifact transfer", slog.String("digest", string(d.Digest)), slog.Int64("size", d.Size),
			slog.Int64("moved", *d.meter), slog.String("form", d.form), slog.Bool("complete", err == nil))
	}
	return err
}

// space refuses to begin what would fill the disk. For a delta it was looked into before.
func (f *Fetcher) space(d *download) error {
	if d.plain {
		return nil
	}
	free, err := f.FS.Free(filepath.Dir(d.Path))
	if err != nil {
		return err
	}
	if need := 2*d.Size - d.have + f.Reserve; free < need {
		d.drop = true
		return fault.New(fault.Unavailable, "needs %d bytes and %d are free", need, free).
			Hint("free some space on the file system of %s", filepath.Dir(d.Path))
	}
	return nil
}

// discard removes what is kept between attempts.
func (f *Fetcher) discard(r Request) error {
	return errors.Join(disk.RemoveAll(f.FS, r.Path+partSuffix), disk.RemoveAll(f.FS, r.Path+tagSuffix))
}

// download is one attempt in progress.
type download struct {
	Request
	fs   disk.FS
	part disk.File
	sum  hash.Hash // of what part holds
	have int64     // bytes that part holds
	drop bool      // what part holds is of no use

	ask  *offer // what the request says of encodings; nil: nothing
	form string // in which it came; "" if as it is
}

// resume reads what earlier attempts left.
func (d *download) resume(ctx context.Context) error {
	n, err := io.Copy(d.sum, io.LimitReader(reader{ctx, d.part}, d.Size+1))
	if err != nil {
		return err
	}
	if d.have = n; n > d.Size {
		return d.restart()
	}
	return nil
}

// restart begins the partial file anew.
func (d *download) restart() error {
	d.have = 0
	d.sum.Reset()
	return d.part.Truncate(0)
}

// get asks for the rest and appends it.
func (d *download) get(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL, http.NoBody)
	if err != nil {
		return fault.New(fault.Invalid, "ask for %s: %w", d.URL, err)
	}
	request.Header.Set("Accept-Encoding", "identity") // sizes and ranges are those of the artifact itself
	d.ask.set(request.Header)
	if d.have > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.have))
		if tag := d.tag(); tag != "" {
			request.Header.Set("If-Range", tag)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		return fault.New(fault.Unavailable, "ask for %s: %w", d.URL, err)
	}
	defer func() { _ = response.Body.Close() }() // that it fails says nothing about what was read
	if d.ask.taken(response) {
		return d.decode(ctx, client, response)
	}
	if err = d.accept(response); err != nil {
		return err
	}
	return d.copy(response.Body)
}

// accept decides from status and headers what the body will be.
func (d *download) accept(response *http.Response) error {
	switch {
	case response.StatusCode == http.StatusOK:
		if err := d.restart(); err != nil {
			return err
		}
		d.remember(response.Header.Get("ETag"))
	case response.StatusCode == http.StatusPartialContent && d.have > 0:
		var first, last int64
		_, err := fmt.Sscanf(response.Header.Get("Content-Range"), "bytes %d-%d/", &first, &last)
		if err != nil || first != d.have || last >= d.Size {
			return d.tampered("the server sent the range %q, asked for was %d-", response.Header.Get("Content-Range"), d.have)
		}
	case response.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return d.tampered("the server has less than the %d bytes that were signed", d.Size)
	case response.StatusCode == http.StatusNotFound, response.StatusCode == http.StatusGone:
		return fault.New(fault.NotFound, "ask for %s: %s", d.URL, response.Status)
	default:
		return fault.New(fault.Unavailable, "ask for %s: %s", d.URL, response.Status)
	}
	if n := response.ContentLength; n >= 0 && d.have+n > d.Size {
		return d.tampered("the server wants to send %d bytes, signed are %d", d.have+n, d.Size)
	}
	return nil
}

// copy appends the body, up to the signed size.
func (d *download) copy(body io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		if d.have+int64(n) > d.Size {
			return d.tampered("the server sent more than the %d bytes that were signed", d.Size)
		}
		if n > 0 {
			*d.meter += int64(n)
			if _, writeErr := d.Write(buf[:n]); writeErr != nil {
				return writeErr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fault.New(fault.Unavailable, "download broke off at %d of %d bytes: %w", d.have, d.Size, err)
		}
	}
}

// Write appends to the partial file.
func (d *download) Write(b []byte) (int, error) {
	if _, err := d.part.WriteAt(b, d.have); err != nil {
		return 0, err
	}
	_, _ = d.sum.Write(b)
	d.have += int64(len(b))
	return len(b), nil
}

// verify compares the whole with what was signed and makes it durable.
func (d *download) verify() error {
	if d.have < d.Size {
		return fault.New(fault.Unavailable, "download ended early, at %d of %d bytes", d.have, d.Size)
	}
	if got := digest(d.sum); got != d.Digest {
		return d.tampered("what was sent has digest %s, signed is %s", got, d.Digest)
	}
	return d.part.Sync()
}

// publish gives the verified file its name.
func (d *download) publish() error {
	if err := d.fs.Rename(d.Path+partSuffix, d.Path); err != nil {
		return err
	}
	_ = disk.RemoveAll(d.fs, d.Path+tagSuffix) // best effort: it says nothing without its part
	return d.fs.SyncDir(filepath.Dir(d.Path))
}

// tampered gives up what was downloaded.
func (d *download) tampered(format string, args ...any) error {
	d.drop = true
	return fault.New(fault.Denied, format, args...)
}

// maxTag bounds an entity tag.
const maxTag = 256

// remember keeps the strong entity tag, so that a part is only continued with bytes of the same entity. Without one the digest decides.
func (d *download) remember(tag string) {
	_ = disk.RemoveAll(d.fs, d.Path+tagSuffix)
	if strings.HasPrefix(tag, `"`) && len(tag) <= maxTag {
		_ = disk.WriteFile(d.fs, d.Path+tagSuffix, []byte(tag), 0o600) // best effort
	}
}

func (d *download) tag() string {
	tag, err := disk.ReadFile(d.fs, d.Path+tagSuffix, maxTag)
	if err != nil {
		return ""
	}
	return string(tag)
}

func digest(sum hash.Hash) release.Digest {
	return release.DigestFrom([sha256.Size]byte(sum.Sum(nil)))
}

// reader ends with its context.
type reader struct {
	ctx  context.Context //nolint:containedctx // lives for one call
	from io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
