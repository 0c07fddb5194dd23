// Package ca is the installation's own certificate authority: it gives endpoints their short-lived identities and the agent port its
// server certificate.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/renameio/v2/maybe"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Lifetimes. Endpoints renew by themselves after two thirds of theirs.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	EndpointLife  = 14 * 24 * time.Hour
	ServerLife    = 30 * 24 * time.Hour
	backdate      = time.Hour // for clocks that are a little behind
)

// CA signs certificates with a key that never leaves its directory.
type CA struct {
	clock clock.Clock
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
}

// Open loads the authority from dir, or creates it there at the first start.
func Open(dir string, clk clock.Clock) (*CA, error) {
	path := filepath.Join(dir, "ca.pem")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = create(dir, path, clk.Now())
	}
	if err != nil {
		return nil, fmt.Errorf("open the certificate authority in %s: %w", dir, err)
	}
	if err = private(path); err != nil {
		return nil, err
	}
	c := &CA{clock: clk}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			c.cert, err = x509.ParseCertificate(block.Bytes)
		case "EC PRIVATE KEY":
			c.key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "read the certificate authority %s: %w", path, err).Hint(restore)
		}
	}
	if c.cert == nil || c.key == nil {
		return nil, fault.New(fault.Invalid, "read the certificate authority %s: it lacks a certificate or a key", path).Hint(restore)
	}
	if !c.key.PublicKey.Equal(c.cert.PublicKey) {
		return nil, fault.New(fault.Invalid, "read the certificate authority %s: the key is not that of the certificate", path).Hint(restore)
	}
	return c, nil
}

const restore = "restore the file from a backup; deleting it makes every endpoint join again"

// private refuses a key that others may read.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("open the certificate authority: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fault.New(fault.Denied, "use the certificate authority %s: others may read it (mode %v)", path, info.Mode().Perm()).
			Hint("run: chmod 600 %s", path)
	}
	return nil
}

func create(dir, path string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Firebreak CA"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})...)
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return data, maybe.WriteFile(path, data, 0o600)
}

// Certificate is the authority's own certificate, DER.
func (c *CA) Certificate() []byte { return c.cert.Raw }

// Expires is when the authority's own certificate does.
func (c *CA) Expires() time.Time { return c.cert.NotAfter }

// Fingerprint is what a host compares when it joins.
func (c *CA) Fingerprint() string {
	sum := sha256.Sum256(c.cert.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Pool holds only this authority.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// Identify tells the endpoint that a public key belongs to: its identity is the key.
func Identify(publicKey []byte) fleet.EndpointID {
	sum := sha256.Sum256(publicKey)
	return fleet.EndpointID("ep-" + hex.EncodeToString(sum[:])[:20])
}

// EndpointOf tells the endpoint that a verified client certificate belongs to.
func EndpointOf(cert *x509.Certificate) fleet.EndpointID {
	return Identify(cert.RawSubjectPublicKeyInfo)
}

// SignEndpoint gives the key of a certificate request its identity. The request's own names are ignored.
func (c *CA) SignEndpoint(csr []byte) (der []byte, id fleet.EndpointID, err error) {
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "read the certificate request: %w", err)
	}
	if err = request.CheckSignature(); err != nil {
		return nil, "", fault.New(fault.Denied, "check the certificate request: it is not signed by its own key")
	}
	if _, ok := request.PublicKey.(*ecdsa.PublicKey); !ok {
		return nil, "", fault.New(fault.Invalid, "check the certificate request: its key must be ECDSA, is %T", request.PublicKey)
	}
	id = Identify(request.RawSubjectPublicKeyInfo)
	now := c.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: string(id)},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(EndpointLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err = x509.CreateCertificate(rand.Reader, template, c.cert, request.PublicKey, c.key)
	if err != nil {
		return nil, "", fmt.Errorf("sign the certificate of %s: %w", id, err)
	}
	return der, id, nil
}

// TicketKeys are the keys of TLS session tickets at a time: those of that day, by which new tickets are sealed, and of the days before and
// after. They follow from the authority's key, so that all replicas have the same, and a host resumes its session at any of them.
func (c *CA) TicketKeys(at time.Time) [][32]byte {
	secret, err := c.key.Bytes()
	if err != nil {
		return nil // not of a key that was read
	}
	keys := make([][32]byte, 0, 3)
	for _, days := range []int{0, -1, 1} {
		day := at.UTC().AddDate(0, 0, days).Format(time.DateOnly)
		key, err := hkdf.Key(sha256.New, secret, nil, "firebreak session tickets of "+day, 32)
		if err != nil {
			return nil
		}
		keys = append(keys, [32]byte(key))
	}
	return keys
}

// SignServer makes a certificate for the agent port under these names and addresses, with a key of its own that is kept nowhere.
func (c *CA) SignServer(hosts []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make the server's key: %w", err)
	}
	now := c.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Firebreak control plane"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(ServerLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign the server's certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, c.cert.Raw}, PrivateKey: key}, nil
}

// serial is random: 128 bits from the system's source, which does not fail.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return new(big.Int).SetBytes(b[:])
}
