package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/live"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// eventStream is the media type of server-sent events.
const eventStream = "text/event-stream"

// Limits of a stream.
const (
	streamWrite   = 10 * time.Second // a reader that takes in nothing for so long loses its stream
	streamStep    = 16 << 10         // bytes
	checkedEvery  = time.Minute      // it is looked whether the token or session still stands
	checkedWithin = 2 * time.Second
)

// watch sends what the hub has for a stream, until its reader goes away, the token or session ends, or the server stops. What goes wrong
// before it begins is a problem as anywhere else.
func (s *server) watch(w http.ResponseWriter, r *http.Request) error {
	stream, err := s.Watch.Watch(callerOf(r.Context()).token, r.URL.Query()["topic"])
	if errors.Is(err, live.ErrFull) {
		w.Header().Set("Retry-After", "10")
		return withStatus(http.StatusTooManyRequests, err)
	}
	if err != nil {
		return err
	}
	defer stream.Close()
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that knows this passes on each event at once
	if r.Method == http.MethodHead {
		return nil
	}
	line := http.NewResponseController(w)
	_ = line.SetReadDeadline(time.Time{}) // a stream lasts; a writer without a connection is a test's
	if !deliver(w, line, "retry: 2000\n\n") {
		return nil
	}
	reader := standing{server: s, checked: s.Clock.Now()}
	for {
		events, more := stream.Next(r.Context())
		if why := reader.over(r); more && why != "" {
			events, more = []live.Event{live.NewBye(why)}, false
		}
		text := framed(events)
		if more && len(events) == 0 {
			text = ": still here\n\n"
		}
		if !deliver(w, line, text) || !more {
			return nil
		}
	}
}

// standing is whether whoever opened a stream may read on.
type standing struct {
	*server
	checked time.Time // when it was last looked whether the token or session still stands
}

// over says why they may not read on; empty if they may. It is asked before everything that is sent, and goes by the clock: where much
// happens there is never a moment without events. That nobody can tell ends nothing, but for an end that was known from the beginning.
func (s *standing) over(r *http.Request) string {
	now, who := s.Clock.Now(), callerOf(r.Context())
	if !who.until.IsZero() && !now.Before(who.until) {
		return "the token or session has expired"
	}
	if passed := now.Sub(s.checked); passed >= 0 && passed < checkedEvery {
		return ""
	}
	s.checked = now
	return s.ended(r)
}

// ended says why a request would be refused now; empty if it would not be, or nobody can tell.
func (s *server) ended(r *http.Request) string {
	ctx, cancel := context.WithTimeout(r.Context(), checkedWithin)
	defer cancel()
	if _, err := s.identify(r.WithContext(ctx)); err != nil && fault.KindOf(err) == fault.Denied {
		return err.Error()
	}
	return ""
}

// framed writes events as a stream has them. Their data is JSON without line breaks.
func framed(events []live.Event) string {
	var text strings.Builder
	for _, e := range events {
		text.WriteString("event: ")
		text.WriteString(e.Name)
		text.WriteString("\ndata: ")
		text.Write(e.Data)
		text.WriteString("\n\n")
	}
	return text.String()
}

// deliver writes to a stream at once, and tells whether its reader is still there. It goes in small steps: a slow line is none that is
// dead.
func deliver(w http.ResponseWriter, line *http.ResponseController, text string) bool {
	for part := range slices.Chunk([]byte(text), streamStep) {
		_ = line.SetWriteDeadline(clock.Wall{}.Now().Add(streamWrite))
		if _, err := w.Write(part); err != nil {
			return false
		}
	}
	return line.Flush() == nil
}

// Topics are what there is to watch: the overview, rollouts, and their decisions.
func Topics(desk *live.Desk, engine live.Rollouts, records Notables) map[string]live.Source {
	decisions := func(ctx context.Context, id string, limit int) ([]api.Decision, error) {
		newest, _, err := Timeline(ctx, records, rollout.ID(id), 0, limit)
		return newest, err
	}
	return map[string]live.Source{
		api.TopicOverview: desk.Source(), api.TopicRollout: live.Rollout(engine.Rollout),
		api.TopicTimeline: live.Timeline(engine.Rollout, decisions),
	}
}
