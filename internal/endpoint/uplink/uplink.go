// Package uplink is the agent's side of the agent port: the few requests it makes, with limits on whatever comes back.
package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Limits of what an answer may hold.
const (
	maxReply    = 1 << 20
	maxMetadata = 32 << 20
	maxHeader   = 16 << 10
	timeout     = 15 * time.Second
)

// Client talks to one control plane, which may have several addresses. It is safe for concurrent use.
type Client struct {
	base    string // any of its addresses: servers chooses the one that is asked
	names   string // all of them, for people
	http    *http.Client
	servers *servers
}

// New makes a client for the agent port at base, such as https://control.example:7443.
func New(base string, config *tls.Config) *Client { return Any([]string{base}, "", config) }

// Any makes a client for a control plane with several addresses, such as those of its replicas. They have one authority, and differ in
// scheme, host and port only. An endpoint goes to the one that its id chooses, and to the others when that one cannot be reached. There is
// at least one.
func Any(bases []string, endpoint string, config *tls.Config) *Client {
	bases = trimmed(bases)
	transport := newTransport(config, len(bases))
	s := newServers(bases, endpoint, transport)
	return &Client{base: bases[0], names: strings.Join(bases, ", "), http: &http.Client{Transport: s}, servers: s}
}

// Close drops idle connections.
func (c *Client) Close() { c.servers.transport.CloseIdleConnections() }

// Enrol joins.
func (c *Client) Enrol(ctx context.Context, r api.EnrolRequest) (api.EnrolReply, error) {
	return post[api.EnrolReply](ctx, c, api.PathEnrol, r, once)
}

// Renew gets a new certificate.
func (c *Client) Renew(ctx context.Context, csr []byte) (api.RenewReply, error) {
	return post[api.RenewReply](ctx, c, api.PathRenew, api.RenewRequest{CSR: csr}, repeatable)
}

// CheckIn says what changed and hears what to look at.
func (c *Client) CheckIn(ctx context.Context, body api.CheckIn) (api.CheckInReply, error) {
	return post[api.CheckInReply](ctx, c, api.PathCheckIn, body, repeatable)
}

// Directive fetches the newest directive of a component: a signed envelope, not verified here.
func (c *Client) Directive(ctx context.Context, component string) ([]byte, error) {
	return c.get(ctx, api.PathDirectives+url.PathEscape(component), maxReply)
}

// Metadata fetches a file of the TUF repository, not verified here.
func (c *Client) Metadata(ctx context.Context, name string) ([]byte, error) {
	return c.get(ctx, api.PathTUF+name, maxMetadata)
}

// Artifact tells where an artifact is served, and the client to fetch it with.
func (c *Client) Artifact(digest string) (*http.Client, string) {
	return c.http, c.base + api.PathArtifacts + digest
}

func (c *Client) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	return c.do(request, limit)
}

// Whether a request may be sent again on a new connection when the server has just closed the one that was kept: all but joining, which
// uses up a token.
const (
	once       = false
	repeatable = true
)

func post[Reply any](ctx context.Context, c *Client, path string, body any, again bool) (Reply, error) {
	var reply Reply
	data, err := json.Marshal(body)
	if err != nil {
		return reply, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(data))
	if err != nil {
		return reply, err
	}
	request.Header.Set("Content-Type", "application/json")
	if again {
		request.Header["Idempotency-Key"] = nil // net/http takes it for a mark, and does not send it
	}
	answer, err := c.do(request, maxReply)
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return reply, fault.New(fault.Unavailable, "read the answer to POST %s: %w", path, err)
	}
	return reply, nil
}

func (c *Client) do(request *http.Request, limit int64) ([]byte, error) {
	what := request.Method + " " + request.URL.Path
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreached(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.Unavailable, "read the answer to %s: %w", what, err)
	case int64(len(data)) > limit:
		return nil, fault.New(fault.Denied, "read the answer to %s: it is longer than %d bytes", what, limit)
	case response.StatusCode != http.StatusOK:
		return nil, later(response, problem(what, response.StatusCode, data))
	}
	return data, nil
}

func (c *Client) unreached(err error) error {
	return fault.New(fault.Unavailable, "reach the control plane at %s: %w", c.names, err)
}

// problem turns a Problem back into a fault.
func problem(what string, status int, data []byte) error {
	var p api.Problem
	if json.Unmarshal(data, &p) != nil || p.Detail == "" {
		return fault.New(fault.Unavailable, "%s: the control plane answered with status %d", what, status)
	}
	kind := fault.Kind(strings.TrimPrefix(p.Type, "urn:firebreak:"))
	err := fault.New(kind, "%s", fmt.Sprintf("%s: %s", what, p.Detail))
	if p.Next != "" {
		err = err.Hint("%s", p.Next)
	}
	for _, f := range p.Problems {
		err.Problems = append(err.Problems, fault.Problem{Path: f.Path, Message: f.Message, Line: f.Line})
	}
	return err
}

// Blob fetches a small artifact as a whole, not verified here.
func (c *Client) Blob(ctx context.Context, digest string, limit int64) ([]byte, error) {
	return c.get(ctx, api.PathArtifacts+digest, limit)
}
