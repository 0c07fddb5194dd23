// Package client talks to a Firebreak control plane as an operator does.
//
//	c, err := client.New("http://127.0.0.1:7080", token)
//	rollout, err := c.StartRollout(ctx, api.StartRollout{Component: "sensor-content", Version: "2"})
//
// Every method takes a context and returns an [*Error] when the control plane refuses or cannot be reached. Reads are tried again
// for a moment when the control plane is unavailable; nothing that changes anything is ever sent twice, except uploads and
// registrations that mean the same when repeated.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

// Client is safe for concurrent use. Its fields must not be changed after the first call.
type Client struct {
	// HTTP sends the requests; New sets one that follows no redirects, because a redirect would carry the token elsewhere.
	HTTP *http.Client
	// Attempts is how often a read is tried while the control plane is unavailable; New sets 3.
	Attempts int
	// Agent is the User-Agent.
	Agent string

	base  *url.URL
	token string
}

const (
	maxAnswer = 64 << 20               // bytes of JSON that are read at most
	firstWait = 150 * time.Millisecond // before the second attempt; doubles after each
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
	repeat bool       // may be sent again if the control plane is unavailable
}

// do sends a call and decodes the answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	body, err := encode(k.send)
	if err != nil {
		return err
	}
	for attempt, wait := 1, firstWait; ; attempt, wait = attempt+1, 2*wait {
		err := c.once(ctx, k, body, out)
		if err == nil || !k.repeat || attempt >= c.Attempts || KindOf(err) != Unavailable || ctx.Err() != nil {
			return err
		}
		if pause(ctx, wait) != nil {
			return err
		}
	}
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
	answer, err := c.send(ctx, k, reader, int64(len(body)))
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
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.HTTP.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
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

// list asks for a list that comes whole.
func list[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	var page api.Page[T]
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, repeat: true}, &page)
	return page.Items, err
}

// get asks for one thing.
func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var v T
	err := c.do(ctx, call{method: http.MethodGet, path: path, repeat: true}, &v)
	return v, err
}
