// Package identity is who an endpoint is: its key, which never leaves the host, the certificate that the control plane gave it, and
// what it trusts since it joined.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// Record is what joining left behind, one file.
type Record struct {
	Server      string            `json:"server"`           // base URL of the agent port
	Others      []string          `json:"others,omitempty"` // further addresses of the same control plane: its replicas
	Endpoint    string            `json:"endpoint"`
	Tenant      string            `json:"tenant"`
	Key         []byte            `json:"key"`         // EC private key, DER
	Certificate []byte            `json:"certificate"` // DER
	CA          []byte            `json:"ca"`          // DER
	Root        []byte            `json:"root,omitempty"`
	Attributes  api.Attributes    `json:"attributes"` // those the owner chose: class, site, region
	Labels      map[string]string `json:"labels,omitempty"`
}

const (
	fileName = "identity.json"
	maxFile  = 1 << 20
)

// NewKey makes an identity key.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Request is a certificate request for the key, DER.
func Request(key *ecdsa.PrivateKey) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// Load reads the identity from an agent's state directory. NotFound means that the host has not joined.
func Load(fsys disk.FS, dir string) (Record, error) {
	path := filepath.Join(dir, fileName)
	data, err := disk.ReadFile(fsys, path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, fault.New(fault.NotFound, "read the identity in %s: this host has not joined", dir).
			Hint("run 'firebreak-agent join'; the control plane printed the whole command when it started")
	}
	if err != nil {
		return Record{}, fmt.Errorf("read the identity: %w", err)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fault.New(fault.Invalid, "read the identity %s: %w", path, err).Hint("join again, or restore the file")
	}
	return r, nil
}

// Save writes the identity durably, readable by its owner only.
func (r Record) Save(fsys disk.FS, dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := disk.MkdirAll(fsys, dir, 0o700); err != nil {
		return err
	}
	return disk.WriteFile(fsys, filepath.Join(dir, fileName), data, 0o600)
}

// Addresses are all base URLs of the agent port.
func (r Record) Addresses() []string { return append([]string{r.Server}, r.Others...) }

// PrivateKey is the identity key.
func (r Record) PrivateKey() (*ecdsa.PrivateKey, error) { return x509.ParseECPrivateKey(r.Key) }

// Expiry tells when the certificate ends, and whether it should be renewed at time t: after two thirds of its life.
func (r Record) Expiry(t time.Time) (end time.Time, due bool, err error) {
	cert, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read the certificate: %w", err)
	}
	life := cert.NotAfter.Sub(cert.NotBefore)
	return cert.NotAfter, t.After(cert.NotBefore.Add(life * 2 / 3)), nil
}

// TLS is how the endpoint proves itself to the control plane and recognises it.
func (r Record) TLS() (*tls.Config, error) {
	key, err := r.PrivateKey()
	if err != nil {
		return nil, fmt.Errorf("read the identity key: %w", err)
	}
	authority, err := x509.ParseCertificate(r.CA)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool,
		Certificates: []tls.Certificate{{Certificate: [][]byte{r.Certificate}, PrivateKey: key}},
	}, nil
}

// Pinned is how a host talks to a control plane that it only knows by the fingerprint of its authority: the chain must hold a
// certificate with that fingerprint, and the server's own must be signed by it.
func Pinned(fingerprint, host string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         host,
		InsecureSkipVerify: true, //nolint:gosec // the chain is verified below, against the fingerprint instead of the system's roots
		VerifyConnection: func(state tls.ConnectionState) error {
			for _, cert := range state.PeerCertificates {
				sum := sha256.Sum256(cert.Raw)
				if "sha256:"+hex.EncodeToString(sum[:]) != fingerprint {
					continue
				}
				pool := x509.NewCertPool()
				pool.AddCert(cert)
				_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: host})
				return err
			}
			return fault.New(fault.Denied, "recognise the control plane: no certificate of it has the fingerprint %s", fingerprint).
				Hint("compare the fingerprint with 'firebreak token create --kind join', which prints it; if it differs, somebody is in between")
		},
	}
}
