package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/app"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
	"github.com/firebreak-dev/firebreak/internal/publisher"
	"github.com/firebreak-dev/firebreak/internal/publisher/publishertest"
)

// cell is a control plane among others, with its hosts.
type cell struct {
	*plane
	hosts []*host
	away  atomic.Bool // no other cell can ask it
}

// cells starts control planes of the same owners that know each other. Releases are published in the first.
func cells(t *testing.T, names ...string) map[string]*cell {
	t.Helper()
	all, peers := map[string]*cell{}, []string{}
	var tokens strings.Builder
	for _, name := range names {
		c := &cell{plane: &plane{t: t, dir: filepath.Join(t.TempDir(), name), clock: &movable{}, addresses: [2]string{"127.0.0.1:0", "127.0.0.1:0"}}}
		all[name] = c
		c.start()
		if first := all[names[0]]; c != first {
			sameKeys(t, filepath.Join(first.dir, "..", "keyring"), filepath.Join(c.dir, "..", "keyring"))
		}
		c.found()
		made, err := c.client.CreateToken(t.Context(), api.NewToken{Kind: "peer"})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&tokens, "%s %s\n", name, made.Secret)
		peers = append(peers, name+"="+c.front())
	}
	for i, name := range names {
		c := all[name]
		file := filepath.Join(t.TempDir(), "peers")
		var mine strings.Builder
		for line := range strings.Lines(tokens.String()) {
			if !strings.HasPrefix(line, name+" ") {
				mine.WriteString(line)
			}
		}
		if err := os.WriteFile(file, []byte(mine.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		c.stop()
		c.change = func(o *app.Options) {
			o.Cell, o.PeerTokens, o.PeerEvery = name, file, 250*time.Millisecond
			o.Peers = append(append(o.Peers, peers[:i]...), peers[i+1:]...)
		}
		c.start()
		c.hosts = c.newHosts(2)
	}
	return all
}

// front is where other cells ask this one, unless it is away.
func (c *cell) front() string {
	where, err := url.Parse(c.url)
	if err != nil {
		c.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(where)
	proxy.ErrorLog = nil
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.away.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	c.t.Cleanup(s.Close)
	return s.URL
}

// sameKeys gives a new keyring the owners' keys of another, and nothing else of it.
func sameKeys(t *testing.T, from, to string) {
	t.Helper()
	keys, err := filepath.Glob(filepath.Join(from, "*.pem*"))
	if err != nil || len(keys) == 0 {
		t.Fatalf("found keys %v, error %v", keys, err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		data, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(key)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// rollIn publishes a release in the first cell, copies it to the others, and starts it in all.
func rollIn(t *testing.T, all map[string]*cell, first, version, text string, of plan.Plan) map[string]string {
	t.Helper()
	published := all[first].publish(version, text, of)
	ids := map[string]string{}
	for name, c := range all {
		if name != first {
			copied, err := c.publisher.Copy(t.Context(), publisher.Server(publishertest.Wire{Client: all[first].client}), sensor, version)
			if err != nil || copied.Digest != published.Digest {
				t.Fatalf("copy to %s: got manifest %s, error %v, want %s", name, copied.Digest, err, published.Digest)
			}
		}
	}
	for name, c := range all {
		ids[name] = c.begin(version)
	}
	return ids
}

// Three regions on real control planes and agents: a good release goes wave by wave; while one region cannot be asked its neighbour waits,
// and goes on when it is back; a bad release never leaves the first region, and is recalled in all.
func TestCells(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	all := cells(t, "canary", "eu", "us")
	waves := steps()
	waves.Cells = []plan.Wave{{Names: []string{"canary"}}, {Names: []string{"eu", "us"}, After: plan.Duration(time.Second)}}

	all["us"].away.Store(true)
	ids := rollIn(t, all, "canary", "v1", "good rules 1", waves)
	lost := func(r api.Rollout) bool {
		return r.Waiting.Code == "cells" && strings.Contains(r.Waiting.Text, "cell us: not reachable")
	}
	all["canary"].await(ids["canary"], "canary to miss us", lost)
	all["us"].away.Store(false)
	canary := all["canary"].await(ids["canary"], "canary to complete", complete)
	for _, name := range []string{"eu", "us"} {
		c := all[name]
		c.await(ids[name], name+" to complete", complete)
		for _, h := range c.hosts {
			h.runs("v1")
			if l := c.lease(ids[name], h.id); l.Issued.Before(canary.Ended.Add(time.Second)) {
				t.Errorf("%s: got a lease at %s, canary was complete at %s", name, l.Issued, canary.Ended)
			}
		}
	}

	ids = rollIn(t, all, "canary", "v2", "bad rules 2", waves)
	all["canary"].await(ids["canary"], "canary to trip", func(r api.Rollout) bool { return r.Phase == "tripped" })
	for _, name := range []string{"eu", "us"} {
		r := all[name].await(ids[name], name+" to hear of it", func(r api.Rollout) bool { return r.Phase == "rolled_back" })
		if r.Exposed != 0 || !strings.Contains(r.Reason, "recalled in cell ") {
			t.Errorf("%s: got %d exposed, reason %q, want none, because of another cell", name, r.Exposed, r.Reason)
		}
		all[name].hosts[0].runs("v1")
	}

	ids = rollIn(t, all, "canary", "v3", "good rules 3", waves)
	all["canary"].await(ids["canary"], "canary to complete", complete)
	all["us"].await(ids["us"], "us to complete", complete)
	all["eu"].await(ids["eu"], "eu to complete", complete)
	if _, err := all["us"].client.RollBack(t.Context(), ids["us"], "odd"); err != nil {
		t.Fatal(err)
	}
	for name, c := range all {
		c.await(ids[name], name+" to go back", func(r api.Rollout) bool { return r.Phase == "rolled_back" && r.Returned == 2 })
		c.hosts[0].runs("v1")
	}
}
