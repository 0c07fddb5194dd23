package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// anchors is what the host trusts: the view of the TUF repository, kept on disk as one file. It is safe for concurrent use, and only
// refreshing and fetching wait for the network: whoever holds the agent's lock may ask all else.
type anchors struct {
	fs     disk.FS
	path   string
	uplink Uplink
	turn   chan struct{}              // of size 1: one refresh at a time; guards unsaved
	view   atomic.Pointer[trust.View] // nil until there is a root; never changed, only replaced

	unsaved bool // the file is older than the view: the disk was full
}

const maxAnchors = 64 << 20

func openAnchors(o Options) (*anchors, error) {
	a := &anchors{fs: o.FS, path: filepath.Join(o.StateDir, "trust.json"), uplink: o.Uplink, turn: make(chan struct{}, 1)}
	var cached trust.Files
	data, err := disk.ReadFile(o.FS, a.path, maxAnchors)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read the trusted metadata: %w", err)
	case json.Unmarshal(data, &cached) != nil:
		cached = nil // fetched and verified again
	}
	if len(o.Root) == 0 && cached["root.json"] == nil {
		return a, nil
	}
	view, err := trust.Open(o.Root, cached)
	if err != nil {
		return nil, fmt.Errorf("open the trusted root: %w", err)
	}
	a.view.Store(view)
	return a, nil
}

// refresh brings the view up to date. Without any root yet it takes the control plane's first: the channel is authenticated by the
// authority that was pinned when the host joined.
func (a *anchors) refresh(ctx context.Context, now time.Time, components []string) error {
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "wait for another refresh: %w", ctx.Err())
	}
	defer func() { <-a.turn }()
	fetch := func(name string) ([]byte, error) { return a.uplink.Metadata(ctx, name) }
	view, err := a.copyView(fetch)
	if err != nil {
		return err
	}
	files, err := view.Refresh(now, components, fetch)
	a.view.Store(view)
	if files == nil && !a.unsaved {
		return err
	}
	data, encodeErr := json.Marshal(view.Files())
	if encodeErr != nil {
		return errors.Join(err, encodeErr)
	}
	saveErr := disk.WriteFile(a.fs, a.path, data, 0o600)
	a.unsaved = saveErr != nil
	return errors.Join(err, disk.Explain(saveErr, "keep the trusted metadata"))
}

func (a *anchors) copyView(fetch trust.Fetch) (*trust.View, error) {
	if view := a.view.Load(); view != nil {
		return view.Clone(), nil
	}
	root, err := fetch(trust.FileName(trust.RoleRoot, 1))
	if err != nil {
		return nil, err
	}
	return trust.Open(root, nil)
}

func (a *anchors) director() (trust.Keys, error) {
	view := a.view.Load()
	if view == nil {
		return trust.Keys{}, errNoRoot()
	}
	return view.Director()
}

// fresh tells whether new activations are allowed by the metadata at hand.
func (a *anchors) fresh(now time.Time, component string) error {
	view := a.view.Load()
	if view == nil {
		return errNoRoot()
	}
	return view.Fresh(now, component)
}

func errNoRoot() error {
	return fault.New(fault.Unavailable, "judge trust: the publisher has made no root yet").Hint("run 'firebreak key init'")
}

// floor is the highest floor that trusted metadata of the component names.
func (a *anchors) floor(component string) (int64, error) {
	view := a.view.Load()
	if view == nil {
		return 0, errNoRoot()
	}
	return view.Floor(component)
}

// manifest fetches and verifies the manifest of a target: release keys signed it, and it is the one that the directive named.
func (a *anchors) manifest(ctx context.Context, component string, t install.Target) (release.Manifest, error) {
	view := a.view.Load()
	if view == nil {
		return release.Manifest{}, errNoRoot()
	}
	signed, err := view.Release(component, t.Version)
	if err != nil {
		return release.Manifest{}, err
	}
	if signed.Digest != t.Manifest {
		return release.Manifest{}, fault.New(fault.Denied, "verify %s %s: the directive names manifest %s, the release keys signed %s", component,
			t.Version, t.Manifest.Short(), signed.Digest.Short())
	}
	data, err := a.uplink.Blob(ctx, string(signed.Digest), release.MaxManifestSize)
	if err != nil {
		return release.Manifest{}, err
	}
	return view.Manifest(component, t.Version, data)
}
