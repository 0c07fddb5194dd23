package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// Complete is the record with what the control plane answered.
func (r Record) Complete(key *ecdsa.PrivateKey, reply api.EnrolReply) (Record, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return r, fmt.Errorf("encode the identity key: %w", err)
	}
	r.Endpoint, r.Tenant, r.Key = reply.Endpoint, reply.Tenant, der
	r.Certificate, r.CA, r.Root = reply.Certificate, reply.CA, reply.Root
	return r, nil
}

// Renewer gets a new certificate for a request.
type Renewer interface {
	Renew(ctx context.Context, csr []byte) (api.RenewReply, error)
}

// Keeper keeps an identity's certificate fresh. It is safe for concurrent use.
type Keeper struct {
	fs  disk.FS
	dir string

	mu     sync.Mutex
	record Record
}

// NewKeeper makes a Keeper of the identity in dir.
func NewKeeper(fsys disk.FS, dir string, r Record) *Keeper {
	return &Keeper{fs: fsys, dir: dir, record: r}
}

// Keep renews the certificate if it is due at time t. It tells whether there is a new one.
func (k *Keeper) Keep(ctx context.Context, t time.Time, with Renewer) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, due, err := k.record.Expiry(t)
	if err != nil || !due {
		return false, err
	}
	key, err := k.record.PrivateKey()
	if err != nil {
		return false, err
	}
	csr, err := Request(key)
	if err != nil {
		return false, err
	}
	reply, err := with.Renew(ctx, csr)
	if err != nil {
		return false, fmt.Errorf("renew the certificate: %w", err)
	}
	fresh := k.record
	fresh.Certificate = reply.Certificate
	if _, err := fresh.TLS(); err != nil {
		return false, fmt.Errorf("renew the certificate: %w", err)
	}
	if err := fresh.Save(k.fs, k.dir); err != nil {
		return false, err
	}
	k.record = fresh
	return true, nil
}

// Present is the client certificate for the next handshake; for tls.Config.GetClientCertificate.
func (k *Keeper) Present(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	config, err := k.record.TLS()
	if err != nil {
		return nil, err
	}
	return &config.Certificates[0], nil
}
