package cli

import (
	"context"
	"encoding/json"
	"iter"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
)

// course gives a rollout again and again, at least every so often, and an error while it is not known how it stands: from the live stream,
// and by asking as long as there is none. It ends with ctx, or when the loop is left.
func (p *program) course(ctx context.Context, c *client.Client, id string, every time.Duration) iter.Seq2[api.Rollout, error] {
	return func(yield func(api.Rollout, error) bool) {
		watching, cancel := context.WithCancel(ctx)
		told, ticks := make(chan view), make(chan struct{})
		var done sync.WaitGroup
		done.Go(func() { streamed(watching, c, id, told) })
		done.Go(func() { p.beat(watching, every, ticks) })
		defer done.Wait()
		defer cancel()
		for seen := (view{}); ; {
			if !seen.live {
				var r api.Rollout
				r, seen.err = c.Rollout(ctx, id)
				seen.take(r)
			}
			if !yield(seen.rollout, seen.err) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-ticks:
			case v := <-told:
				seen.live, seen.err = v.live, v.err
				seen.take(v.rollout)
			}
		}
	}
}

// view is what is known of a rollout.
type view struct {
	rollout api.Rollout
	live    bool  // the stream is there
	err     error // why what is known may be old
}

// take takes a rollout in unless a newer one is known: a replica that answers may be behind the one that streams.
func (v *view) take(r api.Rollout) {
	if r.ID != "" && r.Revision >= v.rollout.Revision {
		v.rollout = r
	}
}

// streamed passes on what the live stream tells of a rollout, until ctx ends or the control plane has no such stream.
func streamed(ctx context.Context, c *client.Client, id string, told chan<- view) {
	for event, err := range c.Watch(ctx, api.TopicRollout+id) {
		v := view{live: err == nil && event.Gone == ""}
		switch {
		case event.Stale != "":
			v.err = &client.Error{Kind: client.Unavailable, Message: event.Stale}
		case event.Value != nil:
			v.live = json.Unmarshal(event.Value, &v.rollout) == nil
		}
		select {
		case told <- v:
		case <-ctx.Done():
			return
		}
	}
}

// beat ticks every so often.
func (p *program) beat(ctx context.Context, every time.Duration, ticks chan<- struct{}) {
	for p.Clock.Sleep(ctx, every) == nil {
		select {
		case ticks <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}
