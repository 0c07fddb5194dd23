package ca_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func start() time.Time { return time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC) }

func open(t *testing.T, dir string) *ca.CA {
	t.Helper()
	c, err := ca.Open(dir, clock.At(start()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "ep-somebody-else"}, DNSNames: []string{"control-plane.example"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func signed(t *testing.T, c *ca.CA, csr []byte) *x509.Certificate {
	t.Helper()
	der, id, err := c.SignEndpoint(csr)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if ca.EndpointOf(cert) != id || cert.Subject.CommonName != string(id) {
		t.Errorf("got identity %s in a certificate of %s for %s, want one", ca.EndpointOf(cert), cert.Subject.CommonName, id)
	}
	return cert
}

// Who an endpoint is follows from its key, whatever its request says.
func TestIdentityIsTheKey(t *testing.T) {
	t.Parallel()
	c, other := open(t, t.TempDir()), open(t, t.TempDir())
	key := newKey(t)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(public)
	want := "ep-" + hex.EncodeToString(sum[:])[:20]
	cert, again, elsewhere := signed(t, c, request(t, key)), signed(t, c, request(t, key)), signed(t, other, request(t, key))
	for _, got := range []*x509.Certificate{cert, again, elsewhere} {
		if string(ca.EndpointOf(got)) != want {
			t.Errorf("got %s, want %s", ca.EndpointOf(got), want)
		}
	}
	if len(cert.DNSNames) != 0 || cert.IsCA || cert.SerialNumber.Cmp(again.SerialNumber) == 0 {
		t.Errorf("got names %v, CA %v, want nothing of the request's, and a serial of its own", cert.DNSNames, cert.IsCA)
	}
	if strange := signed(t, c, request(t, newKey(t))); ca.EndpointOf(strange) == ca.EndpointOf(cert) {
		t.Error("got one identity for two keys")
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	t.Parallel()
	c, other := open(t, t.TempDir()), open(t, t.TempDir())
	cert := signed(t, c, request(t, newKey(t)))
	server, err := c.SignServer([]string{"127.0.0.1", "control-plane.example"})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(server.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	client, serving := x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth
	for _, x := range []struct {
		name  string
		cert  *x509.Certificate
		roots *x509.CertPool
		at    time.Time
		usage x509.ExtKeyUsage
		host  string
		ok    bool
	}{
		{"endpoint", cert, c.Pool(), start(), client, "", true},
		{"endpoint on a clock that is a little behind", cert, c.Pool(), start().Add(-30 * time.Minute), client, "", true},
		{"endpoint after its life", cert, c.Pool(), start().Add(ca.EndpointLife + time.Second), client, "", false},
		{"endpoint of another authority", cert, other.Pool(), start(), client, "", false},
		{"endpoint as a server", cert, c.Pool(), start(), serving, "", false},
		{"server by address", leaf, c.Pool(), start(), serving, "127.0.0.1", true},
		{"server by name", leaf, c.Pool(), start(), serving, "control-plane.example", true},
		{"server by another name", leaf, c.Pool(), start(), serving, "other.example", false},
		{"server after its life", leaf, c.Pool(), start().Add(ca.ServerLife + time.Second), serving, "127.0.0.1", false},
		{"server as an endpoint", leaf, c.Pool(), start(), client, "", false},
	} {
		_, err := x.cert.Verify(x509.VerifyOptions{Roots: x.roots, CurrentTime: x.at, KeyUsages: []x509.ExtKeyUsage{x.usage}, DNSName: x.host})
		if (err == nil) != x.ok {
			t.Errorf("%s: got %v, want it to pass: %v", x.name, err, x.ok)
		}
	}
}

func TestSignEndpointRefuses(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stolen := request(t, newKey(t))
	stolen[len(stolen)-1] ^= 1 // its signature is not that of the key in it
	for _, x := range []struct {
		name string
		csr  []byte
		kind fault.Kind
		word string
	}{
		{"nothing", nil, fault.Invalid, "read the certificate request"},
		{"garbage", []byte("-----BEGIN"), fault.Invalid, "read the certificate request"},
		{"not signed by its key", stolen, fault.Denied, "not signed by its own key"},
		{"another kind of key", request(t, edwards), fault.Invalid, "must be ECDSA"},
	} {
		der, id, err := c.SignEndpoint(x.csr)
		if der != nil || id != "" || fault.KindOf(err) != x.kind || !strings.Contains(err.Error(), x.word) {
			t.Errorf("%s: got %q, error %v, want %s with %q", x.name, id, err, x.kind, x.word)
		}
	}
}

func TestOpenAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	first := open(t, dir)
	again := open(t, dir)
	if !bytes.Equal(first.Certificate(), again.Certificate()) || first.Fingerprint() != again.Fingerprint() {
		t.Error("got another authority, want the one of the first start")
	}
	sum := sha256.Sum256(first.Certificate())
	if want := "sha256:" + hex.EncodeToString(sum[:]); first.Fingerprint() != want {
		t.Errorf("got fingerprint %s, want %s", first.Fingerprint(), want)
	}
	cert := signed(t, first, request(t, newKey(t)))
	if _, err := cert.Verify(x509.VerifyOptions{Roots: again.Pool(), CurrentTime: start(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("got %v, want a certificate of before to be good", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "ca.pem")); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	good, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	cert, key := pem.Decode(good)
	other, err := x509.MarshalECPrivateKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name string
		data []byte
		mode os.FileMode
		kind fault.Kind
		word string
	}{
		{"empty", nil, 0o600, fault.Invalid, "lacks a certificate or a key"},
		{"without a key", pem.EncodeToMemory(cert), 0o600, fault.Invalid, "lacks"},
		{"without a certificate", key, 0o600, fault.Invalid, "lacks"},
		{"damaged", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Bytes[:40]}), 0o600, fault.Invalid, "ca.pem"},
		{
			"key of another", append(pem.EncodeToMemory(cert), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: other})...), 0o600,
			fault.Invalid, "not that of the certificate",
		},
		{"open to others", good, 0o644, fault.Denied, "others may read it"},
	} {
		if x.mode != 0o600 && runtime.GOOS == "windows" {
			continue
		}
		path := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(path, x.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, x.mode); err != nil {
			t.Fatal(err)
		}
		_, err := ca.Open(filepath.Dir(path), clock.At(start()))
		if fault.KindOf(err) != x.kind || !strings.Contains(err.Error(), x.word) || fault.NextOf(err) == "" {
			t.Errorf("%s: got %v with next step %q, want %s with %q and a next step", x.name, err, fault.NextOf(err), x.kind, x.word)
		}
	}
	if _, err := ca.Open(filepath.Join(dir, "ca.pem"), clock.At(start())); err == nil {
		t.Error("got no error for a directory that is a file")
	}
}

// Replicas with one authority take each other's session tickets, and those of yesterday and tomorrow: clocks and days differ.
func TestTicketKeysAreSharedAndChangeByDay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two, other := open(t, dir), open(t, dir), open(t, t.TempDir())
	day := 24 * time.Hour
	today := one.TicketKeys(start())
	if len(today) != 3 || !slices.Equal(today, two.TicketKeys(start().Add(time.Hour).In(time.FixedZone("", 3600)))) {
		t.Errorf("got %d keys, and others at another replica an hour later, want the same three", len(today))
	}
	tomorrow := one.TicketKeys(start().Add(day))
	if today[0] == tomorrow[0] || !slices.Contains(tomorrow, today[0]) || !slices.Contains(today, tomorrow[0]) {
		t.Error("got the keys of two days that follow each other, want another one on top, and each accepted on the other day")
	}
	if slices.Contains(one.TicketKeys(start().Add(2*day)), today[0]) || slices.Contains(other.TicketKeys(start()), today[0]) {
		t.Error("got a key accepted two days later, or by another authority")
	}
}

// FuzzSignEndpoint sends anything as a certificate request: what is signed is for the key in it, and for nothing else.
func FuzzSignEndpoint(f *testing.F) {
	c, err := ca.Open(f.TempDir(), clock.At(start()))
	if err != nil {
		f.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	good, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0x30, 0x82, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, csr []byte) {
		der, id, err := c.SignEndpoint(csr)
		if err != nil {
			if kind := fault.KindOf(err); kind == fault.Internal || der != nil {
				t.Errorf("got %v of kind %s, want it to be the sender's fault", err, kind)
			}
			return
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil || ca.EndpointOf(cert) != id || cert.IsCA || len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.URIs) > 0 {
			t.Errorf("got a certificate of %s with names, or that cannot be read: %v", id, err)
		}
	})
}
