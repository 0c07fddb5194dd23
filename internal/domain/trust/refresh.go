package trust

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Fetch gets a metadata file by the name that the repository serves it under, as in "7.sensor-content.json". What does not exist is
// fault.NotFound; that is how the walk ends at the newest root.
type Fetch func(name string) ([]byte, error)

// maxRotations is how many roots one refresh follows; the next refresh goes on from there.
const maxRotations = 64

// Refresh walks the repository from the trusted root: newer roots, timestamp, snapshot, targets, the director, and the wanted
// components. All is judged at one time, now; use [LowerBound].
//
// The files returned, if any, are the new complete set and must be stored, even when there is an error too: a new root, or the other
// components, may have been verified. What could not be verified stays as it was. A wanted component that the repository does not list is
// no error: nothing was published yet.
func (v *View) Refresh(now time.Time, components []string, fetch Fetch) (Files, error) {
	w, err := newWalk(v, now, fetch)
	if err != nil {
		return nil, err
	}
	if err := w.roots(); err != nil {
		return v.adoptRoot(w), err
	}
	if err := w.top(); err != nil {
		return v.adoptRoot(w), err
	}
	var failed []error
	for _, name := range append([]string{RoleDirector}, components...) {
		if !w.listed(name) {
			continue
		}
		if err := w.role(name, RoleTargets); err != nil {
			failed = append(failed, err)
			w.keep(v, name)
		}
	}
	for _, name := range w.delegations() {
		w.keep(v, name) // verified earlier and not wanted now: still known
	}
	changed := !maps.EqualFunc(v.files, w.files, bytes.Equal)
	v.set, v.files = w.set, w.files
	if !changed {
		return nil, errors.Join(failed...)
	}
	return v.Files(), errors.Join(failed...)
}

// adoptRoot takes over newer roots of a walk that came no further.
func (v *View) adoptRoot(w *walk) Files {
	if bytes.Equal(v.files["root.json"], w.files["root.json"]) {
		return nil
	}
	v.set.Root, v.files["root.json"] = w.set.Root, w.files["root.json"]
	return v.Files()
}

// walk is one pass through the repository.
type walk struct {
	set    *trustedmetadata.TrustedMetadata
	before *trustedmetadata.TrustedMetadata // what was trusted before; nil when opening
	cached Files
	files  Files // verified in this walk
	fetch  Fetch
}

func newWalk(v *View, now time.Time, fetch Fetch) (*walk, error) {
	root := v.files["root.json"]
	set, err := trustedmetadata.New(root)
	if err != nil {
		return nil, fmt.Errorf("open trusted root.json: %w", err)
	}
	set.RefTime = now
	return &walk{set: set, before: v.set, cached: v.files, files: Files{"root.json": root}, fetch: fetch}, nil
}

func (w *walk) get(name string) ([]byte, error) {
	data, err := w.fetch(name)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", name, err)
	}
	return data, nil
}

func (w *walk) roots() error {
	for range maxRotations {
		next := w.set.Root.Signed.Version + 1
		name := FileName(RoleRoot, next)
		data, err := w.get(name)
		if fault.KindOf(err) == fault.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		root, err := parse[metadata.RootType](name, data, MaxRoot)
		if err != nil {
			return err
		}
		if root.Signed.Version != next {
			return fault.New(fault.Denied, "verify %s: it says version %d", name, root.Signed.Version)
		}
		if err := signedBy(name, RoleRoot, data, w.set.Root, "the trusted root"); err != nil {
			return err
		}
		if err := signedBy(name, RoleRoot, data, root, "the new root itself"); err != nil {
			return err
		}
		if _, err := w.set.UpdateRoot(data); err != nil {
			return refused(name, err)
		}
		w.files["root.json"] = data
	}
	return nil
}

// top verifies timestamp, snapshot and targets.
func (w *walk) top() error {
	if root := w.set.Root.Signed; root.IsExpired(w.set.RefTime) {
		return expired("refresh trust", "root.json", root.Expires, w.set.RefTime)
	}
	if err := w.timestamp(); err != nil {
		return err
	}
	if err := w.snapshot(); err != nil {
		return err
	}
	return w.role(RoleTargets, RoleRoot)
}

func (w *walk) timestamp() error {
	const name = "timestamp.json"
	if old, ok := w.cached[name]; ok {
		if _, err := parse[metadata.TimestampType](name, old, MaxTimestamp); err == nil {
			_, _ = w.set.UpdateTimestamp(old) // expired or signed by replaced keys: only used to notice that versions go back
		}
	}
	if w.before == nil && w.set.Timestamp != nil {
		w.files[name] = w.cached[name]
		return nil
	}
	data, err := w.get(name)
	if err != nil {
		return err
	}
	meta, err := parse[metadata.TimestampType](name, data, MaxTimestamp)
	if err != nil {
		return err
	}
	if err = signedBy(name, RoleTimestamp, data, w.set.Root, "root"); err != nil {
		return err
	}
	_, err = w.set.UpdateTimestamp(data)
	switch {
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return expired("refresh trust", name, meta.Signed.Expires, w.set.RefTime)
	case isEqualVersion(err):
		data = w.cached[name] // the one already trusted stays
		if kept := w.set.Timestamp.Signed; kept.IsExpired(w.set.RefTime) {
			return expired("refresh trust", name, kept.Expires, w.set.RefTime)
		}
	case err != nil:
		return refused(name, err)
	}
	w.files[name] = data
	return nil
}

func (w *walk) snapshot() error {
	const name = "snapshot.json"
	if old, ok := w.cached[name]; ok {
		if _, err := parse[metadata.SnapshotType](name, old, MaxSnapshot); err == nil {
			if _, err := w.set.UpdateSnapshot(old, true); err == nil {
				w.files[name] = old
				return nil
			}
		}
	}
	version := w.set.Timestamp.Signed.Meta[name].Version
	served := FileName(RoleSnapshot, version)
	data, err := w.get(served)
	if err != nil {
		return err
	}
	meta, err := parse[metadata.SnapshotType](served, data, MaxSnapshot)
	if err != nil {
		return err
	}
	if err := signedBy(served, RoleSnapshot, data, w.set.Root, "root"); err != nil {
		return err
	}
	if _, err := w.set.UpdateSnapshot(data, false); errors.Is(err, &metadata.ErrExpiredMetadata{}) {
		return expired("refresh trust", served, meta.Signed.Expires, w.set.RefTime)
	} else if err != nil {
		return refused(served, err)
	}
	w.files[name] = data
	return nil
}

// role verifies targets or one role that it delegates to.
func (w *walk) role(role, parent string) error {
	name := role + ".json"
	if w.set.Targets[role] != nil {
		return nil
	}
	listed := w.set.Snapshot.Signed.Meta[name]
	if listed == nil {
		return fault.New(fault.Denied, "verify %s: snapshot.json does not list it", name)
	}
	if old, ok := w.cached[name]; ok {
		if _, err := parse[metadata.TargetsType](name, old, MaxMetadata); err == nil {
			if _, err := w.set.UpdateDelegatedTargets(old, role, parent); err == nil {
				w.files[name] = old
				return nil
			}
		}
	}
	served := FileName(role, listed.Version)
	data, err := w.get(served)
	if err != nil {
		return err
	}
	return w.accept(role, parent, served, data)
}

func (w *walk) accept(role, parent, served string, data []byte) error {
	meta, err := parse[metadata.TargetsType](served, data, MaxMetadata)
	if err != nil {
		return err
	}
	if parent == RoleRoot {
		err = signedBy(served, role, data, w.set.Root, "root")
	} else {
		err = signedBy(served, role, data, w.set.Targets[parent], parent)
	}
	if err != nil {
		return err
	}
	if err := w.notBack(role, served, meta.Signed.Version); err != nil {
		return err
	}
	if _, err := w.set.UpdateDelegatedTargets(data, role, parent); errors.Is(err, &metadata.ErrExpiredMetadata{}) {
		return expired("refresh trust", served, meta.Signed.Expires, w.set.RefTime)
	} else if err != nil {
		return refused(served, err)
	}
	w.files[role+".json"] = data
	return nil
}

// notBack refuses an older version of a role than was trusted before, even if the online keys were replaced meanwhile, unless the role's
// own keys were replaced too: then its versions start anew.
func (w *walk) notBack(role, served string, version int64) error {
	if w.before == nil || w.before.Targets[role] == nil || version >= w.before.Targets[role].Signed.Version {
		return nil
	}
	was, errWas := keysIn(w.before, role)
	is, errIs := keysIn(w.set, role)
	if errWas == nil && errIs == nil && !was.Equal(is) {
		return nil
	}
	return fault.New(fault.Denied, "verify %s: role %s went back from version %d to %d", served, role, w.before.Targets[role].Signed.Version, version)
}

func keysIn(set *trustedmetadata.TrustedMetadata, role string) (Keys, error) {
	if role == RoleTargets {
		return rootKeys(set.Root, role)
	}
	return delegatedKeys(set.Targets[RoleTargets], role)
}

// keep takes over a role that was verified earlier and is still signed as targets wants it now.
func (w *walk) keep(v *View, role string) {
	old, name := v.set.Targets[role], role+".json"
	if old == nil || w.set.Targets[role] != nil || v.files[name] == nil {
		return
	}
	if w.set.Targets[RoleTargets].VerifyDelegate(role, old) == nil {
		w.set.Targets[role], w.files[name] = old, v.files[name]
	}
}

// listed tells whether targets delegates to the role and the snapshot lists it.
func (w *walk) listed(role string) bool {
	_, err := delegatedKeys(w.set.Targets[RoleTargets], role)
	return err == nil && w.set.Snapshot.Signed.Meta[role+".json"] != nil
}

func (w *walk) delegations() []string {
	var names []string
	if d := w.set.Targets[RoleTargets].Signed.Delegations; d != nil {
		for _, r := range d.Roles {
			names = append(names, r.Name)
		}
	}
	return names
}

// signedBy checks the threshold itself, before go-tuf does, so that the error can tell how many signatures were missing, and because a
// mistake here would be the worst of all.
func signedBy(name, role string, data []byte, delegator any, by string) error {
	var keys Keys
	var err error
	switch d := delegator.(type) {
	case *Root:
		keys, err = rootKeys(d, role)
	case *Targets:
		keys, err = delegatedKeys(d, role)
	}
	if err == nil {
		err = keys.Check(role)
	}
	if err != nil {
		return fault.New(fault.Denied, "verify %s: %w", name, err)
	}
	valid, err := Tally(role, data, keys)
	if err != nil {
		return err
	}
	if len(valid) < keys.Threshold {
		return fault.New(fault.Denied, "verify %s: %d of %d signatures that %s wants of role %s are there and valid (its keys are %v)",
			name, len(valid), keys.Threshold, by, role, shorts(keys))
	}
	return nil
}

func expired(doing, name string, expires, now time.Time) error {
	return fault.New(fault.Unavailable, "%s: %s expired at %s, it is now %s", doing, name, stamp(expires), stamp(now)).
		Hint("Check this host's clock. If it is right, whoever signs %s has to renew it; until then nothing new is activated.", name)
}

// refused words what go-tuf found in a file whose signatures are good: a version that went back, or one that does not match.
func refused(name string, err error) error {
	return fault.New(fault.Denied, "verify %s: %w", name, err)
}

func isEqualVersion(err error) bool {
	var equal *metadata.ErrEqualVersionNumber
	return errors.As(err, &equal)
}
