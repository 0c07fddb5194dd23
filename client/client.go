// Package client talks to a Firebreak control plane as an operator does.
//
//	c, err := client.New("http://127.0.0.1:7080", token)
//	rollout, err := c.StartRollout(ctx, api.StartRollout{Component: "sensor-content", Version: "2"})
//
// Every method takes a context and returns an [*Error] when the control plane refuses or cannot be reached: look at its Kind, or ask
// [KindOf]. While the control plane is unavailable, or asks to come back later, a request is tried again a few times, with pauses that
// grow and differ, or are as long as the server says. That is safe for what changes something, too: each such request has a key of its
// own, so that the control plane carries it out once however often it arrives, and answers it the same.
//
// Long lists come as iterators, a page at a time. [Client.NoteTag] and [Client.IfMatch] change only what nobody else has changed since
// it was read.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client is safe for concurrent use. Its fields must not be changed after the first call.
type Client struct {
	// HTTP sends the requests; New sets one that follows no redirects, because a redirect would carry the token elsewhere.
	HTTP *http.Client
	// Attempts is how often a request is tried while the control plane is unavailable; New sets 3.
	Attempts int
	// Agent is the User-Agent.
	Agent string

	base  *url.URL
	token string
	match string  // If-Match of every request; empty: none
	tag   *string // gets the ETag of every answer; nil: nobody
}

// IfMatch makes a client like c, whose writes are refused unless what they change still has that ETag: the [*Error] has status 412, is a
// Conflict, and says what happened instead. Of a rollout only the revision is compared.
func (c *Client) IfMatch(tag string) *Client {
	other := *c
	other.match = tag
	return &other
}

// NoteTag makes a client like c that writes the ETag of each answer that has one to into. It must not be used concurrently.
func (c *Client) NoteTag(into *string) *Client {
	other := *c
	other.tag = into
	return &other
}

const (
	maxAnswer = 64 << 20               // bytes of JSON that are read at most
	firstWait = 150 * time.Millisecond // before the second attempt, about; doubles after each
	mostWait  = 30 * time.Second       // a server that asks for more is not waited for
)

// New makes a client for the operator port at base, such as "https://firebreak.example.net:7080".
func New(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &Error{
			Kind: Invalid, Message: fmt.Sprintf("use server %q: it is not an http or https URL", base),
			Next: "Write it as http://127.0.0.1:7080.",
		}
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return &Client{
		HTTP:     &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Attempts: 3, Agent: "firebreak-client", base: u, token: token,
	}, nil
}

// call is one request.
type call struct {
	method string
	path   string     // escaped, begins with a slash
	query  url.Values // may be nil
	send   any        // encoded as JSON; []byte is sent as it is; nil sends nothing
	header http.Header
	key    string // what the control plane knows a write by when it is sent again; do sets it
}

// do sends a call and decodes the answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	body, err := encode(k.send)
	if err != nil {
		return err
	}
	if k.method == http.MethodPost || k.method == http.MethodPut {
		k.key = rand.Text()
	}
	for attempt, wait := 1, firstWait; ; attempt, wait = attempt+1, 2*wait {
		err := c.once(ctx, k, body, out)
		if err == nil || attempt >= c.Attempts || ctx.Err() != nil {
			return err
		}
		delay, again := delayOf(err, wait)
		if !again || pause(ctx, delay) != nil {
			return err
		}
	}
}

// delayOf tells for how long to wait before a request is sent again, and whether that makes sense.
func delayOf(err error, wait time.Duration) (delay time.Duration, again bool) {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != Unavailable && e.RetryAfter == 0 || e.RetryAfter > mostWait {
		return 0, false
	}
	return max(e.RetryAfter, wait/2) + jitter(wait), true
}

// jitter is a part of d by chance, so that clients that were refused at once do not come back at once.
func jitter(d time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:])                                             // does not fail
	return time.Duration(binary.LittleEndian.Uint64(b[:]) % uint64(d)) //nolint:gosec // it fits: it is less than d
}

func encode(v any) ([]byte, error) {
	if raw, ok := v.([]byte); ok || v == nil {
		return raw, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, &Error{Kind: Invalid, Message: "encode request: " + err.Error(), Err: err}
	}
	return data, nil
}

func (c *Client) once(ctx context.Context, k call, body []byte, out any) error {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	return c.exchange(ctx, k, reader, int64(len(body)), out)
}

// exchange sends one request and decodes the answer into out, unless that is nil.
func (c *Client) exchange(ctx context.Context, k call, body io.Reader, size int64, out any) error {
	answer, err := c.send(ctx, k, body, size)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return &Error{Kind: Unavailable, Message: fmt.Sprintf("%s %s: the answer ended early", k.method, k.path), Err: err}
	case len(data) > maxAnswer:
		return &Error{Kind: Internal, Message: fmt.Sprintf("%s %s: the answer is larger than %d bytes", k.method, k.path, maxAnswer)}
	case out == nil:
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = data
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return &Error{Kind: Internal, Message: fmt.Sprintf("%s %s: the answer is not what was expected; is %s a Firebreak server?",
			k.method, k.path, c.base.Host), Err: err}
	}
	return nil
}

// send sends one request. An answer that is no success comes back as an [*Error]; the caller closes the body of any other.
func (c *Client) send(ctx context.Context, k call, body io.Reader, size int64) (*http.Response, error) {
	target := c.base.String() + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, k.method, target, body)
	if err != nil {
		return nil, &Error{Kind: Invalid, Message: fmt.Sprintf("make request %s %s", k.method, k.path), Err: err}
	}
	request.ContentLength = size
	request.Header.Set("User-Agent", c.Agent)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(request.Header, k.header)
	for header, value := range map[string]string{"Idempotency-Key": k.key, "If-Match": c.match} {
		if value != "" {
			request.Header.Set(header, value)
		}
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.HTTP.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if tag := answer.Header.Get("ETag"); c.tag != nil && tag != "" {
		*c.tag = tag
	}
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, refusal(k, answer)
}

// pause waits for d. It is a context's deadline that does the waiting, so that this package needs no clock.
func pause(ctx context.Context, d time.Duration) error {
	timer, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-timer.Done()
	return ctx.Err()
}

// segment escapes one element of a path.
func segment(s string) string {
	if s == "" || s == "." || s == ".." {
		return "%20" // never a different route: nothing has that name
	}
	return url.PathEscape(s)
}

// list asks for a whole list, a page at a time.
func list[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	var all []T
	for item, err := range pages[T](ctx, c, path, query, "") {
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, nil
}

// get asks for one thing.
func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var v T
	err := c.do(ctx, call{method: http.MethodGet, path: path}, &v)
	return v, err
}
