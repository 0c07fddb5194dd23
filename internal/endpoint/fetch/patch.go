package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

const deltaSuffix = ".delta" // of a delta that is being downloaded or applied

// forget removes what is kept of a delta.
func (f *Fetcher) forget(r Request) error {
	r.Path += deltaSuffix
	return errors.Join(f.discard(r), disk.RemoveAll(f.FS, r.Path))
}

// patch completes the partial file with a delta, if there is one that is worth it. That there is none, or that it is of no use, is no
// error: the partial file is then what it was. An error ends the attempt; a later one goes on where this one stopped.
func (f *Fetcher) patch(ctx context.Context, d *download) error {
	list, err := f.deltas(ctx, d)
	if err != nil || len(list) == 0 {
		f.told(ctx, d, "ask for deltas", err)
		return ctx.Err()
	}
	bases := f.bases(ctx, d.Request, list)
	defer closeAll(bases)
	for _, candidate := range list {
		source, ok := bases[release.Digest(candidate.From)]
		if !ok || !f.roomFor(d, candidate) {
			continue
		}
		had := d.have
		err = f.byDelta(ctx, d, candidate, source.Source)
		if err == nil && digest(d.sum) == d.Digest {
			d.form = candidate.Form
			return nil
		}
		if stop := f.spoiled(ctx, d, had, err); stop != nil {
			return stop
		}
		return ctx.Err()
	}
	return ctx.Err()
}

// told logs why a delta is not used.
func (f *Fetcher) told(ctx context.Context, d *download, what string, err error) {
	if err != nil && ctx.Err() == nil {
		f.Log.WarnContext(ctx, "no use of a delta", slog.String("digest", string(d.Digest)), slog.String("doing", what), slog.Any("error", err))
	}
}

// deltas asks the server what it has, and gives what this host could use, the shortest first.
func (f *Fetcher) deltas(ctx context.Context, d *download) ([]api.Delta, error) {
	root, ok := strings.CutSuffix(d.URL, api.PathArtifacts+string(d.Digest))
	if !ok {
		return nil, nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, root+api.PathDeltas+string(d.Digest), http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := f.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server says %s", response.Status)
	}
	var list api.DeltaList
	body := &io.LimitedReader{R: response.Body, N: api.MaxDeltaList}
	err = json.NewDecoder(body).Decode(&list)
	*d.meter += api.MaxDeltaList - body.N
	if err != nil {
		return nil, fmt.Errorf("read the list of deltas: %w", err)
	}
	usable := slices.DeleteFunc(list.Deltas, func(c api.Delta) bool {
		from, is := release.Digest(c.From), release.Digest(c.Digest)
		return c.Form != api.DeltaWindows || !is.Valid() || c.From != "" && !from.Valid() || c.Size <= 0 || c.Size >= d.Size-d.have
	})
	slices.SortStableFunc(usable, func(a, b api.Delta) int { return int(a.Size - b.Size) }) // sizes are below 2 GiB
	return usable, nil
}

// known is an old artifact, open.
type known struct {
	delta.Source
	base *base // nil for nothing
}

// bases are the old artifacts that are here and that the list knows, by digest; nothing is one, too.
func (f *Fetcher) bases(ctx context.Context, r Request, list []api.Delta) map[release.Digest]known {
	found := map[release.Digest]known{"": {}}
	wanted := func(d release.Digest) bool {
		return slices.ContainsFunc(list, func(c api.Delta) bool { return release.Digest(c.From) == d })
	}
	if !slices.ContainsFunc(list, func(c api.Delta) bool { return c.From != "" }) {
		return found
	}
	for _, dir := range r.Bases {
		b, err := openBase(f.FS, dir, r.Format)
		if err != nil {
			continue // it is not what deltas start from
		}
		if source, err := b.source(ctx); err == nil && wanted(source.Digest) && found[source.Digest].base == nil {
			found[source.Digest] = known{source, b}
		} else {
			b.close()
		}
	}
	return found
}

func closeAll(bases map[release.Digest]known) {
	for _, k := range bases {
		if k.base != nil {
			k.base.close()
		}
	}
}

// roomFor tells whether the disk has room for a delta beside the artifact.
func (f *Fetcher) roomFor(d *download, c api.Delta) bool {
	free, err := f.FS.Free(filepath.Dir(d.Path))
	return err == nil && free >= 2*d.Size-d.have+c.Size+f.Reserve
}

// errDisk marks an error of the host's own disk: another form of the artifact would meet it, too.
var errDisk = errors.New("the partial file cannot be written")

// byDelta downloads a delta and applies it to the partial file.
func (f *Fetcher) byDelta(ctx context.Context, d *download, c api.Delta, from delta.Source) error {
	r := Request{
		URL: strings.TrimSuffix(d.URL, string(d.Digest)) + c.Digest, Digest: release.Digest(c.Digest), Size: c.Size,
		Path: d.Path + deltaSuffix, plain: true, meter: d.meter,
	}
	if err := f.bring(ctx, r); err != nil {
		return err
	}
	file, err := f.FS.Open(r.Path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	patch, err := delta.Open(file, r.Size)
	if err != nil {
		return err
	}
	if patch.Target != d.Digest || patch.Size != d.Size {
		return fault.New(fault.Invalid, "it leads to %s with %d bytes", patch.Target, patch.Size)
	}
	to := &remembering{to: d}
	if err = patch.Apply(ctx, from, d.have, to); to.err != nil {
		return errors.Join(errDisk, to.err)
	}
	return err
}

// remembering tells the writer's errors from those of everything else.
type remembering struct {
	to  io.Writer
	err error
}

func (w *remembering) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	w.err = err
	return n, err
}

// errGoesOn marks a download of a delta that broke off, having come further than before.
var errGoesOn = errors.New("the delta is not complete yet")

// bring has the delta on the disk, whole and with its digest.
func (f *Fetcher) bring(ctx context.Context, r Request) error {
	if done, err := f.complete(ctx, r); err != nil || done {
		return err
	}
	before := f.lengthOf(r.Path + partSuffix)
	err := f.attempt(ctx, r)
	if err != nil && fault.KindOf(err) == fault.Unavailable && f.lengthOf(r.Path+partSuffix) > before {
		return errors.Join(errGoesOn, err)
	}
	return err
}

func (f *Fetcher) lengthOf(path string) int64 {
	info, err := f.FS.Lstat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// spoiled decides what a delta that did not lead to the artifact means. What it wrote is taken back, and it is forgotten if it is wrong,
// unless the attempt ends with an error.
func (f *Fetcher) spoiled(ctx context.Context, d *download, had int64, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errGoesOn):
		return fault.New(fault.Unavailable, "%w", err)
	case errors.Is(err, errDisk), disk.Full(err):
		return err
	case err == nil:
		err = fault.New(fault.Invalid, "it does not lead to the artifact")
	}
	f.told(ctx, d, "apply", err)
	if k := fault.KindOf(err); k == fault.Invalid || k == fault.Conflict {
		_ = f.forget(d.Request) // best effort: it is checked before it is used again
	}
	return d.rewind(had)
}

// rewind takes back what was appended behind the first n bytes.
func (d *download) rewind(n int64) error {
	if d.have == n {
		return nil
	}
	if err := d.part.Truncate(n); err != nil {
		return err
	}
	d.sum.Reset()
	d.have = n
	_, err := io.Copy(d.sum, io.NewSectionReader(d.part, 0, n))
	return err
}
