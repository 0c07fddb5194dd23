package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// offer is what a request for a small artifact says of the forms in which it may come. The server chooses, so this costs no round trip.
type offer struct {
	base []byte // the dictionary that the host has; nil: none
	sum  []byte // its SHA-256
}

// offer looks for an old artifact that may serve as a dictionary. Without one the artifact may still come compressed.
func (f *Fetcher) offer(ctx context.Context, r Request) *offer {
	for _, dir := range r.Bases {
		if o := f.dictionary(ctx, dir, r.Format); o != nil {
			return o
		}
	}
	return &offer{}
}

func (f *Fetcher) dictionary(ctx context.Context, dir string, format release.Format) *offer {
	b, err := openBase(f.FS, dir, format)
	if err != nil || b.size > delta.MaxSmall {
		return nil
	}
	defer b.close()
	data, err := io.ReadAll(reader{ctx, io.NewSectionReader(b, 0, b.size)})
	if err != nil || int64(len(data)) != b.size {
		return nil
	}
	sum := sha256.Sum256(data)
	return &offer{base: data, sum: sum[:]}
}

// set writes the offer into a request.
func (o *offer) set(h http.Header) {
	switch {
	case o == nil:
	case o.base == nil:
		h.Set("Accept-Encoding", api.DeltaZstd)
	default:
		h.Set("Accept-Encoding", api.DeltaDCZ+", "+api.DeltaZstd)
		h.Set("Available-Dictionary", ":"+base64.StdEncoding.EncodeToString(o.sum)+":")
	}
}

// taken tells whether the server took the offer.
func (o *offer) taken(r *http.Response) bool {
	return o != nil && r.StatusCode == http.StatusOK && r.Header.Get("Content-Encoding") != ""
}

// decode takes in an artifact in the form that the server chose. If that gives other bytes than were signed, it is asked for as it is.
func (d *download) decode(ctx context.Context, client *http.Client, r *http.Response) error {
	o, form := d.ask, r.Header.Get("Content-Encoding")
	d.ask = nil
	body, err := io.ReadAll(io.LimitReader(r.Body, d.Size))
	*d.meter += int64(len(body))
	if err != nil {
		return fault.New(fault.Unavailable, "download broke off: %w", err)
	}
	var out []byte
	switch form {
	case api.DeltaDCZ:
		out, err = delta.DecodeDictionary(o.base, body, d.Size)
	case api.DeltaZstd:
		out, err = delta.Decompress(body, d.Size)
	default:
		err = fault.New(fault.Invalid, "the form %q was not asked for", form)
	}
	if err != nil || release.DigestOf(out) != d.Digest {
		d.form = "as it is, after a broken " + form
		return d.get(ctx, client)
	}
	d.form = form
	_, err = d.Write(out)
	return err
}
