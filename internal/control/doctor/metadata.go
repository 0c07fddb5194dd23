package doctor

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// snapshot reads which version of each role is published, and when what is signed online expires.
func (x *examination) snapshot(ctx context.Context) (versions map[string]int64, expires map[string]time.Time, err error) {
	data, err := x.published(ctx, "timestamp.json")
	if err != nil {
		return nil, nil, err
	}
	timestamp, err := trust.DecodeTimestamp(data)
	if err != nil {
		return nil, nil, err
	}
	data, err = x.published(ctx, trust.FileName(trust.RoleSnapshot, timestamp.Signed.Meta["snapshot.json"].Version))
	if err != nil {
		return nil, nil, err
	}
	snapshot, err := trust.DecodeSnapshot(data)
	if err != nil {
		return nil, nil, err
	}
	versions = make(map[string]int64, len(snapshot.Signed.Meta))
	for name, meta := range snapshot.Signed.Meta {
		versions[strings.TrimSuffix(name, ".json")] = meta.Version
	}
	return versions, map[string]time.Time{
		trust.RoleTimestamp: timestamp.Signed.Expires, trust.RoleSnapshot: snapshot.Signed.Expires,
	}, nil
}

// metadata looks when what is signed expires. When it does, endpoints activate nothing new; what they run goes on.
func (x *examination) metadata(ctx context.Context) {
	const check = "metadata"
	if !x.readable {
		return
	}
	root, targets, err := x.anchors(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		x.good(check, "the publisher has made no root yet")
		return
	}
	var versions map[string]int64
	var expires map[string]time.Time
	if err == nil && targets != nil {
		versions, expires, err = x.snapshot(ctx)
	}
	if err != nil {
		x.wrong(check, restore, "it cannot be read: %v", err)
		return
	}
	const soon = 30 * 24 * time.Hour
	x.expiry(check, "root", root.Signed.Expires, soon, "Run 'firebreak key init' with the root key: it signs what is about to expire anew.")
	for _, role := range slices.Sorted(maps.Keys(versions)) {
		x.role(ctx, role, versions[role], soon)
	}
	for _, role := range slices.Sorted(maps.Keys(expires)) {
		x.signedOnline(role, expires[role])
	}
}

// role looks at targets or what they delegate to.
func (x *examination) role(ctx context.Context, role string, version int64, soon time.Duration) {
	const check = "metadata"
	data, err := x.published(ctx, trust.FileName(role, version))
	if err != nil {
		x.wrong(check, restore, "version %d of %s is listed and not there: %v", version, role, err)
		return
	}
	meta, err := trust.DecodeTargets(role, data)
	switch {
	case err != nil:
		x.wrong(check, restore, "%v", err)
	case role == trust.RoleDirector:
		x.signedOnline(role, meta.Signed.Expires)
	case role == trust.RoleTargets:
		x.expiry(check, role, meta.Signed.Expires, soon, "Run 'firebreak key init' with the targets key: it signs what is about to expire anew.")
	default:
		x.expiry(check, role, meta.Signed.Expires, soon, "Its owner signs it anew: firebreak release publish, or firebreak key init.")
	}
}

// signedOnline judges what the server renews by itself.
func (x *examination) signedOnline(role string, expires time.Time) {
	const check = "metadata"
	switch {
	case expires.After(x.Now):
		x.good(check, "%s is valid until %s", role, stamp(expires))
	case x.running:
		x.wrong(check, "Look into the server's log for why it does not renew it.", "%s expired at %s though a server runs", role, stamp(expires))
	default:
		x.good(check, "%s expired at %s; the server renews it when it starts", role, stamp(expires))
	}
}
