package server

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob"
	"github.com/firebreak-dev/firebreak/internal/control/blob/gc"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Collector removes blobs that nothing needs, one collection at a time. All fields but Age and Wait are required.
type Collector struct {
	Roots   gc.Roots
	Blobs   gc.Blobs
	Deltas  Forgetter
	Rebuild func(ctx context.Context) error // shows in the OCI index what is left; oci.Catalogue.Rebuild
	Clock   clock.Clock
	Log     *slog.Logger
	Age     time.Duration // that blobs reach; 0 means gc.DefaultAge
	Wait    time.Duration // between the two looks; 0 means gc.DefaultWait

	running sync.Mutex
}

// Forgetter forgets how removed artifacts were had from others. *store.Store is one.
type Forgetter interface {
	DropDeltas(ctx context.Context, artifact release.Digest) error
}

// Collect removes what nothing needs, or only looks. While another collection runs it is a fault.Conflict.
func (c *Collector) Collect(ctx context.Context, dry bool) (gc.Report, error) {
	if !c.running.TryLock() {
		return gc.Report{}, fault.New(fault.Conflict, "collect garbage: a collection is running").Hint("Wait until it is over.")
	}
	defer c.running.Unlock()
	report, err := gc.Collect(ctx, gc.Options{Roots: c.Roots, Blobs: c.Blobs, Clock: c.Clock, Age: c.Age, Wait: c.Wait, Dry: dry})
	if dry || len(report.Removed) == 0 {
		return report, err
	}
	for _, b := range report.Removed {
		if errDrop := c.Deltas.DropDeltas(ctx, b.Digest); err == nil {
			err = errDrop
		}
	}
	if errRebuild := c.Rebuild(ctx); err == nil {
		err = errRebuild
	}
	count, bytes := sum(report.Removed)
	c.Log.InfoContext(ctx, "garbage collected", slog.Int("blobs", count), slog.Int64("bytes", bytes))
	return report, err
}

func sum(blobs []blob.Info) (count int, bytes int64) {
	for _, b := range blobs {
		bytes += b.Size
	}
	return len(blobs), bytes
}

func (s *server) collectGarbage(w http.ResponseWriter, r *http.Request) error {
	var wanted collectGarbage
	if err := decodeOptional(w, r, &wanted); err != nil {
		return err
	}
	report, err := s.Garbage.Collect(r.Context(), wanted.DryRun)
	if err != nil {
		return err
	}
	return writeOK(w, garbageWire(report, wanted.DryRun))
}

// collectGarbage is api.CollectGarbage, which has no rules.
type collectGarbage struct{ api.CollectGarbage }

// Check implements resource.Checker.
func (collectGarbage) Check() []fault.Problem { return nil }

// garbageWire puts a report on the wire. Lists are cut; the counts and sums are whole.
func garbageWire(report gc.Report, dry bool) api.Garbage {
	kept := each(report.Kept, func(k gc.Kept) blob.Info { return k.Info })
	answer := api.Garbage{
		DryRun: dry, Removed: each(cut(report.Removed), func(i blob.Info) api.StoredBlob { return storedBlob(i, "") }),
		Kept: each(cut(report.Kept), keptWire), Missing: each(cut(report.Missing), keptWire),
	}
	answer.RemovedCount, answer.RemovedBytes = sum(report.Removed)
	answer.KeptCount, answer.KeptBytes = sum(kept)
	return answer
}

func keptWire(k gc.Kept) api.StoredBlob { return storedBlob(k.Info, k.Why) }

func storedBlob(i blob.Info, why string) api.StoredBlob {
	stored := api.StoredBlob{Digest: string(i.Digest), Size: i.Size, Why: why}
	if !i.Put.IsZero() {
		stored.Put = i.Put.UTC()
	}
	return stored
}

func cut[T any](list []T) []T { return list[:min(len(list), maxPage)] }
