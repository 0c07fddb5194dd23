package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Names of the key files.
const authority = "ca.pem"

func online() []string { return []string{trust.RoleSnapshot, trust.RoleTimestamp, trust.RoleDirector} }

func (x *examination) hasKeys() bool { return exists(filepath.Join(x.Keys, authority)) }

// keys looks at every key file: there, private, readable, and the one that was used so far.
func (x *examination) keys(ctx context.Context) {
	x.authority(ctx)
	for _, role := range online() {
		x.onlineKey(ctx, role)
	}
}

// authority looks at the certificate authority.
func (x *examination) authority(ctx context.Context) {
	const check = "key ca"
	data, ok := x.keyFile(check, authority, x.database.Tables["endpoints"] > 0,
		"Put it back from a backup before the next start: a new one would make every endpoint join again.")
	if !ok {
		return
	}
	cert, err := readAuthority(data)
	if err != nil {
		x.wrong(check, "Put it back from a backup; deleting it makes every endpoint join again.", "%v", err)
		return
	}
	if x.readable {
		sum := sha256.Sum256(cert.Raw)
		begun, err := ask[string](ctx, x.file(), `SELECT value FROM settings WHERE key = 'authority'`)
		if err == nil && begun != "" && begun != "sha256:"+hex.EncodeToString(sum[:]) {
			x.wrong(check, "Put the right file back from a backup.", "it is another authority than the one that the installation began with")
			return
		}
	}
	const year = 365 * 24 * time.Hour
	x.expiry(check, "the certificate authority", cert.NotAfter, year, "Plan a new authority: with the old one's end every endpoint has to join again.")
	if cert.NotBefore.After(x.Now) {
		x.wrong(check, "Set this machine's clock.", "the certificate authority is valid from %s on", stamp(cert.NotBefore))
	}
}

func readAuthority(data []byte) (*x509.Certificate, error) {
	var cert *x509.Certificate
	var key *ecdsa.PrivateKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var err error
		switch block.Type {
		case "CERTIFICATE":
			cert, err = x509.ParseCertificate(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("it cannot be read: %w", err)
		}
	}
	switch {
	case cert == nil || key == nil:
		return nil, errors.New("it lacks a certificate or a key")
	case !key.PublicKey.Equal(cert.PublicKey):
		return nil, errors.New("its key is not that of its certificate")
	}
	return cert, nil
}

// keyFile reads a key file, and tells whether there is something to look at. Needed is whether the installation has used it.
func (x *examination) keyFile(check, name string, needed bool, next string) ([]byte, bool) {
	path := filepath.Join(x.Keys, name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && needed:
		x.wrong(check, next, "%s is not there, and the database was used with it", path)
		return nil, false
	case errors.Is(err, fs.ErrNotExist):
		x.good(check, "there is none yet: the first start makes it")
		return nil, false
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		x.wrong(check, "Run this as the user that runs the server, or as root.", "%v", err)
		return nil, false
	}
	if exposed(info.Mode().Perm()) {
		x.wrong(check, "Run: chmod 600 "+path+"  If others may have read it, replace it: docs/disaster.md.", "others may read %s (mode %v)", path, info.Mode().Perm())
		return nil, false
	}
	return data, true
}

// onlineKey looks at a key that signs metadata or directives, and whether the repository names it.
func (x *examination) onlineKey(ctx context.Context, role string) {
	check := "key " + role
	named, err := x.named(ctx, role)
	data, ok := x.keyFile(check, role+".pem", err == nil && len(named.Public) > 0,
		"Put it back from a backup. If it is lost, start the server, which makes another, and run 'firebreak key init' with the root key.")
	if !ok {
		return
	}
	key, errKey := trust.DecodePrivate(data)
	if errKey != nil {
		x.wrong(check, "Put it back from a backup.", "it cannot be read: %v", errKey)
		return
	}
	signer, errKey := trust.NewSigner(key)
	switch {
	case errKey != nil:
		x.wrong(check, "Put it back from a backup.", "it cannot be used: %v", errKey)
	case errors.Is(err, sql.ErrNoRows) || !x.readable:
		x.good(check, "the publisher has not named it yet")
	case err != nil:
		x.skipped(check, "the repository cannot be read: %v", err)
	case named.Public[signer.ID()] == nil:
		x.wrong(check, "Put the right key back from a backup, or run 'firebreak key init' with the root key: it names this one.",
			"the repository names another key than %s", filepath.Join(x.Keys, role+".pem"))
	default:
		x.good(check, "the repository names it")
	}
}

// named are the keys that the repository names for a role that is signed online.
func (x *examination) named(ctx context.Context, role string) (trust.Keys, error) {
	if !x.readable {
		return trust.Keys{}, sql.ErrNoRows
	}
	root, targets, err := x.anchors(ctx)
	if err != nil {
		return trust.Keys{}, err
	}
	roles, err := trust.RolesOf(root)
	if err != nil {
		return trust.Keys{}, err
	}
	switch role {
	case trust.RoleSnapshot:
		return roles.Snapshot, nil
	case trust.RoleTimestamp:
		return roles.Timestamp, nil
	}
	if targets == nil {
		return trust.Keys{}, sql.ErrNoRows
	}
	delegations, err := trust.DelegationsOf(targets)
	if err != nil {
		return trust.Keys{}, err
	}
	for _, d := range delegations {
		if d.Role == role {
			return d.Keys, nil
		}
	}
	return trust.Keys{}, sql.ErrNoRows
}

// anchors are the newest root, and targets if they were published.
func (x *examination) anchors(ctx context.Context) (*trust.Root, *trust.Targets, error) {
	data, err := x.published(ctx, "root.json")
	if err != nil {
		return nil, nil, err
	}
	root, err := trust.DecodeRoot(data)
	if err != nil {
		return nil, nil, err
	}
	versions, _, err := x.snapshot(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return root, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	data, err = x.published(ctx, trust.FileName(trust.RoleTargets, versions[trust.RoleTargets]))
	if err != nil {
		return nil, nil, err
	}
	targets, err := trust.DecodeTargets(trust.RoleTargets, data)
	return root, targets, err
}

func (x *examination) published(ctx context.Context, name string) ([]byte, error) {
	return ask[[]byte](ctx, x.file(), `SELECT data FROM metadata WHERE name = $1`, name)
}
