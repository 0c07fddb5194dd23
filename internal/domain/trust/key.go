package trust

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Keys are the public keys of a role, by key id, and how many of them must sign.
type Keys struct {
	Threshold int
	Public    map[string]ed25519.PublicKey
}

// NewKeys makes a role's keys. The same key given twice counts once.
func NewKeys(threshold int, public ...ed25519.PublicKey) Keys {
	k := Keys{Threshold: threshold, Public: make(map[string]ed25519.PublicKey, len(public))}
	for _, p := range public {
		k.Public[KeyID(p)] = p
	}
	return k
}

// IDs lists the key ids in order.
func (k Keys) IDs() []string { return slices.Sorted(maps.Keys(k.Public)) }

// Equal tells whether both name the same keys and threshold.
func (k Keys) Equal(other Keys) bool {
	return k.Threshold == other.Threshold && slices.Equal(k.IDs(), other.IDs())
}

// Check tells why these keys cannot be a role's: every role needs a threshold of at least one that its keys can reach.
func (k Keys) Check(role string) error {
	switch {
	case k.Threshold < 1:
		return fault.New(fault.Invalid, "check keys of role %s: threshold is %d, must be at least 1", role, k.Threshold)
	case k.Threshold > len(k.Public):
		return fault.New(fault.Invalid, "check keys of role %s: threshold is %d, but it has only %d keys", role, k.Threshold, len(k.Public))
	}
	for id, p := range k.Public {
		if len(p) != ed25519.PublicKeySize || KeyID(p) != id {
			return fault.New(fault.Invalid, "check keys of role %s: key %s is not an ed25519 key with that id", role, id)
		}
	}
	return nil
}

// KeyID is the TUF key id of a public key: SHA-256 over the canonical JSON of its TUF form.
func KeyID(public ed25519.PublicKey) string {
	// Written out, because it is on the path of every lease and the general encoder is slow; a test compares the two.
	const form = `{"keytype":"ed25519","keyval":{"public":"%x"},"scheme":"ed25519"}`
	sum := sha256.Sum256(fmt.Appendf(nil, form, []byte(public)))
	return hex.EncodeToString(sum[:])
}

func tufKey(public ed25519.PublicKey) *metadata.Key {
	return &metadata.Key{
		Type: metadata.KeyTypeEd25519, Scheme: metadata.KeySchemeEd25519,
		Value: metadata.KeyVal{PublicKey: hex.EncodeToString(public)},
	}
}

// Signer signs metadata, directives and leases with one key.
type Signer struct {
	id     string
	public ed25519.PublicKey
	key    crypto.Signer
}

// NewSigner makes a signer of an Ed25519 key, in memory or in hardware.
func NewSigner(key crypto.Signer) (*Signer, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fault.New(fault.Invalid, "use a signing key: it is a %T, must be ed25519", key.Public())
	}
	return &Signer{id: KeyID(public), public: public, key: key}, nil
}

// Public is the signer's public key.
func (s *Signer) Public() ed25519.PublicKey { return s.public }

// ID is the signer's key id.
func (s *Signer) ID() string { return s.id }

func (s *Signer) sign(data []byte) ([]byte, error) {
	sig, err := s.key.Sign(nil, data, crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", short(s.id), err)
	}
	return sig, nil
}

// EncodePrivate writes a private key as PKCS #8 in PEM.
func EncodePrivate(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// DecodePrivate reads a private key written by [EncodePrivate] or by openssl. The error never quotes the input.
func DecodePrivate(data []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fault.New(fault.Invalid, `read private key: it is not PEM with a "PRIVATE KEY" (PKCS #8)`)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read private key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fault.New(fault.Invalid, "read private key: it is a %T, must be ed25519", parsed)
	}
	return key, nil
}

// EncodePublic writes a public key as PKIX in PEM.
func EncodePublic(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// DecodePublic reads a public key written by [EncodePublic] or by openssl.
func DecodePublic(data []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, fault.New(fault.Invalid, `read public key: it is not PEM with a "PUBLIC KEY" (PKIX)`)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read public key: %w", err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fault.New(fault.Invalid, "read public key: it is a %T, must be ed25519", parsed)
	}
	return key, nil
}

func canonical(signed any) ([]byte, error) {
	data, err := cjson.EncodeCanonical(signed)
	if err != nil {
		return nil, fmt.Errorf("encode canonical JSON: %w", err)
	}
	return data, nil
}

// short is enough of a key id for a person.
func short(id string) string { return id[:min(len(id), 12)] }
