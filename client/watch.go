package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/firebreak-dev/firebreak/api"
)

// Overview tells what is going on.
func (c *Client) Overview(ctx context.Context) (api.Overview, error) {
	return get[api.Overview](ctx, c, "/api/v1/overview")
}

const (
	maxEvent  = 16 << 20         // bytes of one event
	lineDead  = 30 * time.Second // a stream on which nothing comes for so long is cut: the server gives a sign of life each ten seconds
	mostPause = 15 * time.Second // between two tries to open a stream
)

// Watch follows topics, such as api.TopicOverview and api.TopicRollout+id, until ctx ends or the loop is left. After each snapshot, and
// after each patch, Value is all of the topic's value; Patch is there to see what has changed.
//
// When the stream is cut, or cannot be opened, the loop gets an error. Whoever goes on waits for a new stream, which begins with new
// snapshots:
//
//	for event, err := range c.Watch(ctx, api.TopicOverview) {
//		if err != nil {
//			show("reconnecting", err)
//			continue
//		}
//		...
//	}
//
// A refusal that trying again does not mend - no such topic, a token that is not valid - ends the loop after its error.
func (c *Client) Watch(ctx context.Context, topics ...string) iter.Seq2[api.StreamEvent, error] {
	return func(yield func(api.StreamEvent, error) bool) {
		wait := firstWait
		for {
			began, left, err := c.stream(ctx, topics, yield)
			if left || ctx.Err() != nil {
				return
			}
			if began {
				wait = firstWait
			}
			delay, again := delayOf(err, wait)
			if !yield(api.StreamEvent{}, err) || !again || pause(ctx, delay) != nil {
				return
			}
			wait = min(2*wait, mostPause)
		}
	}
}

// stream reads one stream to its end. It tells whether anything came, and whether the loop was left.
func (c *Client) stream(ctx context.Context, topics []string, yield func(api.StreamEvent, error) bool) (began, left bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := make(chan struct{}, 1)
	go cutDead(ctx, cancel, alive) // it ends with ctx
	k := call{method: http.MethodGet, path: "/api/v1/stream", query: url.Values{"topic": topics}, header: http.Header{"Accept": {eventStream}}}
	answer, err := c.send(ctx, k, nil, 0)
	if err != nil {
		return false, false, err
	}
	defer answer.Body.Close()
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || kind != eventStream {
		return false, false, &Error{Kind: Internal, Message: fmt.Sprintf("%s %s: the answer is no stream; is %s a Firebreak server?",
			k.method, k.path, c.base.Host)}
	}
	lines := bufio.NewScanner(&read{answer.Body, alive})
	lines.Buffer(nil, maxEvent)
	values := map[string]json.RawMessage{}
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue // what an event is stands in its data
		}
		event, err := apply(values, data)
		if err != nil {
			return began, false, err
		}
		began = true
		if event.Bye != "" {
			return began, false, &Error{Kind: Unavailable, Message: "watch: the stream has ended: " + event.Bye}
		}
		if !yield(event, nil) {
			return began, true, nil
		}
	}
	return began, false, &Error{Kind: Unavailable, Message: "watch: the stream was cut", Err: lines.Err()}
}

const eventStream = "text/event-stream"

// cutDead gives a stream up on which nothing has come for a while.
func cutDead(ctx context.Context, cut context.CancelFunc, alive <-chan struct{}) {
	for {
		timer, stop := context.WithTimeout(ctx, lineDead)
		select {
		case <-alive:
			stop()
		case <-timer.Done():
			stop()
			cut()
			return
		}
	}
}

// read is a reader that says whenever something came.
type read struct {
	io.Reader
	came chan<- struct{}
}

func (r *read) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	select {
	case r.came <- struct{}{}:
	default: // it is said already
	}
	return n, err
}

// apply takes in one event and makes its value whole.
func apply(values map[string]json.RawMessage, data string) (api.StreamEvent, error) {
	var event api.StreamEvent
	err := json.Unmarshal([]byte(data), &event)
	if err == nil && event.Patch != nil {
		event.Value, err = jsonpatch.MergePatch(values[event.Topic], event.Patch)
	}
	if err != nil {
		return event, &Error{Kind: Unavailable, Message: "watch: the stream has something that cannot be read", Err: err}
	}
	switch {
	case event.Value != nil:
		values[event.Topic] = event.Value
	case event.Gone != "":
		delete(values, event.Topic)
	}
	return event, nil
}
