//go:build unix

package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

// operate starts rollouts of good, bad and silent releases, stops some, and freezes everything now and then, until ctx ends.
func (w *world) operate(ctx context.Context) {
	random := w.randomOf(2)
	for ctx.Err() == nil {
		c := w.clients[random.IntN(len(w.clients))]
		name := components[random.IntN(len(components))]
		soon, cancel := context.WithTimeout(ctx, 8*time.Second)
		w.move(soon, c, name, random.IntN(100), random.IntN(5))
		cancel()
		_ = clock.Wall{}.Sleep(ctx, time.Duration(100+random.IntN(600))*time.Millisecond)
	}
	w.thaw() //nolint:contextcheck // it has ended
}

// move does one thing to the newest rollout of a component.
func (w *world) move(ctx context.Context, c *client.Client, name string, luck, kind int) {
	all, err := c.Rollouts(ctx, name)
	if w.failed("list rollouts", err) {
		return
	}
	if len(all) == 0 || all[0].Phase != "running" && all[0].Phase != "paused" {
		w.launch(ctx, c, name, []string{"good", "good", "good", "bad", "silent"}[kind])
		return
	}
	newest := all[0]
	switch {
	case luck < 6:
		_, err = c.Pause(ctx, newest.ID, "to look")
	case luck < 12 || newest.Phase == "paused":
		_, err = c.Resume(ctx, newest.ID, "goes on")
	case luck < 20:
		w.end(ctx, c.Halt, newest.ID, "halted")
		return
	case luck < 28:
		w.end(ctx, c.RollBack, newest.ID, "rolled back")
		return
	case luck < 31:
		err = w.freeze(ctx, c)
	case luck < 38:
		w.launch(ctx, c, name, "good") // on top of one that runs
		return
	default:
		return
	}
	w.failed("pause, resume and freeze", err)
}

// end stops a rollout, and remembers when the operator knew.
func (w *world) end(ctx context.Context, act func(context.Context, string, string) (api.Rollout, error), id, how string) {
	r, err := act(ctx, id, how)
	if w.failed("halt and roll back", err) {
		return
	}
	if r.Phase != "halted" && r.Phase != "rolled_back" && r.Phase != "tripped" {
		w.violated("I3", "rollout %s was %s, and the answer says that it is %s", id, how, r.Phase)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped[id].at.IsZero() {
		w.stopped[id] = stopped{now(), how}
	}
}

func (w *world) freeze(ctx context.Context, c *client.Client) error {
	today := now().UTC()
	_, err := c.PutFreezes(ctx, api.Freezes{Freezes: []api.Freeze{{
		Name: "fair", From: today.Add(-48 * time.Hour).Format(time.DateOnly), To: today.Add(48 * time.Hour).Format(time.DateOnly),
	}}})
	if err != nil {
		return err
	}
	_ = clock.Wall{}.Sleep(ctx, 700*time.Millisecond)
	_, err = c.PutFreezes(ctx, api.Freezes{Freezes: []api.Freeze{}})
	return err
}

// thaw ends a freeze whose end did not get through.
func (w *world) thaw() {
	for _, c := range w.clients {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 5*time.Second)
		_, err := c.PutFreezes(ctx, api.Freezes{Freezes: []api.Freeze{}})
		cancel()
		if err == nil {
			return
		}
	}
}

// launch publishes a release and starts its rollout. Its id is empty if that failed.
func (w *world) launch(ctx context.Context, c *client.Client, name, kind string) (id string) {
	w.releases++
	version := fmt.Sprintf("%s-%d", kind, w.releases)
	path := filepath.Join(w.t.TempDir(), "rules.txt")
	if w.failed("publish", os.WriteFile(path, []byte(version), 0o600)) {
		return ""
	}
	w.publishing = c
	_, err := w.publisher.Publish(ctx, publisher.PublishOptions{
		Component: name, Version: version, Kind: release.Content, Sources: []publisher.Source{{Path: path}}, Plan: w.plan,
	})
	if w.failed("publish", err) {
		return ""
	}
	r, err := c.StartRollout(ctx, api.StartRollout{Component: name, Version: version})
	w.failed("start rollouts", err)
	return r.ID
}

// internals are errors in a log that a control plane would not tell operators.
var internals = regexp.MustCompile(`(?m)^.*level=ERROR.*component=server.*$`)

// failed counts an operator's command, and those that had no answer or were refused.
func (w *world) failed(what string, err error) bool {
	w.count("operators " + what)
	if err == nil {
		return false
	}
	w.count("operators " + what + ", failed")
	if client.KindOf(err) == client.Internal && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		w.count("operators got an internal error")
		for _, p := range w.planes {
			for _, line := range internals.FindAllString(p.log.String(), -1) {
				w.t.Logf("internal error: %s: %s: %s", what, p.told.Replica, line)
			}
		}
	}
	return true
}

// wire is the control plane as the publisher sees it.
type wire struct{ w *world }

func (w wire) c() *client.Client { return w.w.publishing }

func inHouse(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Kind(client.KindOf(err)), "%w", err)
}

func (w wire) Online(ctx context.Context) (api.OnlineKeys, error) {
	keys, err := w.c().OnlineKeys(ctx)
	return keys, inHouse(err)
}

func (w wire) MetadataFile(ctx context.Context, name string) ([]byte, error) {
	data, err := w.c().MetadataFile(ctx, name)
	return data, inHouse(err)
}

func (w wire) Submit(ctx context.Context, role string, metadata []byte) (api.Submission, error) {
	s, err := w.c().SubmitMetadata(ctx, role, metadata)
	return s, inHouse(err)
}

func (w wire) Pending(ctx context.Context) ([]api.PendingMetadata, error) {
	all, err := w.c().PendingMetadata(ctx)
	return all, inHouse(err)
}

func (w wire) HasBlob(ctx context.Context, digest release.Digest) (bool, error) {
	has, err := w.c().HasBlob(ctx, string(digest))
	return has, inHouse(err)
}

func (w wire) Upload(ctx context.Context, digest release.Digest, size int64, r io.Reader) error {
	return inHouse(w.c().UploadBlob(ctx, string(digest), size, r, nil))
}

func (w wire) PutDelta(ctx context.Context, artifact release.Digest, d api.Delta) error {
	return inHouse(w.c().PutDelta(ctx, string(artifact), d))
}

func (w wire) Blob(ctx context.Context, digest release.Digest) (io.ReadCloser, error) {
	body, err := w.c().Blob(ctx, string(digest))
	return body, inHouse(err)
}
