package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
)

// A host resumes its TLS session at a control plane that was started anew, as at another replica: the whole fleet need not shake hands in full
// after an outage.
func TestSessionsAreResumedAfterAStart(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	h := p.joinLight("127.0.0.1")
	config := h.config()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	visit := func() (resumed bool, status int) {
		c, err := tls.Dial("tcp", p.addresses[1], config) //nolint:noctx // loopback
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		status = answers(c, checkInHead+"Content-Length: 2\r\nConnection: close\r\n\r\n{}")
		_, _ = io.Copy(io.Discard, c)
		return c.ConnectionState().DidResume, status
	}
	if resumed, status := visit(); resumed || status != http.StatusOK {
		t.Fatalf("got resumed %v and status %d at first, want a full handshake", resumed, status)
	}
	p.kill()
	p.start()
	var resumed bool
	var status int
	eventually(t, "the control plane to answer again", func() error {
		c, err := tls.Dial("tcp", p.addresses[1], h.config()) //nolint:noctx // loopback
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	if resumed, status = visit(); !resumed || status != http.StatusOK {
		t.Errorf("got resumed %v and status %d after a start, want the session resumed", resumed, status)
	}
	if _, err := p.client.RevokeEndpoint(t.Context(), h.id(), "stolen"); err != nil {
		t.Fatal(err)
	}
	if resumed, status := visit(); !resumed || status != http.StatusForbidden {
		t.Errorf("got resumed %v and status %d after it was revoked, want it known and refused", resumed, status)
	}
}

// id is who the host is, by its certificate.
func (l *light) id() string {
	leaf := l.cert.Leaf
	if leaf == nil {
		l.p.t.Fatal("the certificate was not read")
	}
	return leaf.Subject.CommonName
}

// A revoked host leaves its rollout with a goodbye: it is no harm, and not waited for.
func TestRevokedHostIsNoHarm(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	published := p.publish("1", "content", atOnce())
	id := p.begin("1")
	h, other := p.joinLight("127.0.0.1"), p.joinLight("127.0.0.1")
	wish := api.Wish{Component: sensor, Rollout: id, Manifest: string(published.Digest)}
	for _, l := range []*light{h, other} {
		eventually(t, "a lease", func() error {
			_, data := send(t, l.http, http.MethodPost, p.agents+api.PathCheckIn, encoded(t, api.CheckIn{
				Components: map[string]api.Component{sensor: {Kind: "content", Phase: "prepared"}}, Boot: "b", Attributes: &api.Attributes{OS: "linux"},
				Wishes: []api.Wish{wish},
			}))
			var reply api.CheckInReply
			if err := json.Unmarshal(data, &reply); err != nil || len(reply.Leases) == 0 {
				return fmt.Errorf("got %s", data)
			}
			return nil
		})
	}
	e, err := p.client.RevokeEndpoint(t.Context(), h.id(), "stolen")
	if err != nil || e.Revoked == nil || !strings.HasPrefix(e.Why, "stolen, by operator token") {
		t.Fatalf("got %+v, %v, want it revoked", e, err)
	}
	r := p.await(id, "one of two to be unconfirmed", func(r api.Rollout) bool { return r.Unconfirmed == 1 })
	if l := p.lease(id, h.id()); l.Outcome != "goodbye" || r.Harmed != 0 {
		t.Errorf("got outcome %q and %d harmed, want a goodbye and no harm", l.Outcome, r.Harmed)
	}
	status, data := send(t, h.http, http.MethodPost, p.agents+api.PathCheckIn, []byte("{}"))
	if status != http.StatusForbidden || !strings.Contains(string(data), "was revoked: stolen") {
		t.Errorf("got %d %s, want it refused", status, data)
	}
	if err := p.client.RemoveEndpoint(t.Context(), other.id()); err != nil {
		t.Fatal(err)
	}
	p.await(id, "nobody to be unconfirmed", func(r api.Rollout) bool { return r.Unconfirmed == 0 && r.Harmed == 0 })
	if _, err := p.client.Endpoint(t.Context(), other.id()); client.KindOf(err) != "not_found" {
		t.Errorf("got %v for a removed endpoint, want that there is none", err)
	}
}
