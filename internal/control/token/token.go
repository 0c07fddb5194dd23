// Package token makes the bearer credentials of operators, of hosts that join, and of other control planes.
//
// A token reads "fb_op_<id>_<secret>", "fb_join_<id>_<secret>" or "fb_peer_<id>_<secret>". The id is public: lists and revocations use it. The secret has 256
// random bits and is shown once; the control plane keeps only the SHA-256 of the whole token. A fast hash is enough, because nobody
// can guess 256 bits, and it makes the lookup one indexed read.
package token

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"strings"
)

// Prefixes of the kinds of tokens: leaked ones are easy to find by them.
const (
	OperatorPrefix = "fb_op_"
	JoinPrefix     = "fb_join_"
	PeerPrefix     = "fb_peer_"
	SessionPrefix  = "fb_se_" // of a session, which is no token: nobody but a browser sees it
)

const (
	idBytes     = 5  // 8 characters: unique enough for a name, its uniqueness is checked on storing
	secretBytes = 32 // 256 bits
)

// Token is a fresh credential.
type Token struct {
	ID     string // public name
	Secret string // the whole token, as its owner sends it
	Hash   []byte // what is stored
}

// Mint makes a token with one of the prefixes. Random is crypto/rand.Reader outside tests.
func Mint(prefix string, random io.Reader) (Token, error) {
	raw := make([]byte, idBytes+secretBytes)
	if _, err := io.ReadFull(random, raw); err != nil {
		return Token{}, fmt.Errorf("make token: read random bytes: %w", err)
	}
	id, secret := text(raw[:idBytes]), prefix+text(raw[:idBytes])+"_"+text(raw[idBytes:])
	return Token{ID: id, Secret: secret, Hash: Hash(secret)}, nil
}

// Hash is what is stored of a token, and what it is looked up by.
func Hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Plausible tells whether secret has the shape of a token with that prefix, so that garbage needs no lookup.
func Plausible(prefix, secret string) bool {
	rest, ok := strings.CutPrefix(secret, prefix)
	id, key, cut := strings.Cut(rest, "_")
	return ok && cut && len(id) == encoded(idBytes) && len(key) == encoded(secretBytes)
}

func text(raw []byte) string { return strings.ToLower(encoding().EncodeToString(raw)) }

func encoded(n int) int { return encoding().EncodedLen(n) }

func encoding() *base32.Encoding { return base32.StdEncoding.WithPadding(base32.NoPadding) }
