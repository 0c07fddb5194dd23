package token_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/token"
)

func TestMintMakesAnIDAndASecretOf256Bits(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{token.OperatorPrefix, token.JoinPrefix} {
		got, err := token.Mint(prefix, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := strings.CutPrefix(got.Secret, prefix+got.ID+"_")
		if !ok || len(rest) != 52 { // 52 characters of 5 bits hold 256
			t.Errorf("secret is %q, want %s%s_ and 52 characters", got.Secret, prefix, got.ID)
		}
		want := sha256.Sum256([]byte(got.Secret))
		if !bytes.Equal(got.Hash, want[:]) || !bytes.Equal(token.Hash(got.Secret), want[:]) {
			t.Errorf("hash is %x, want the SHA-256 of the whole token", got.Hash)
		}
		if !token.Plausible(prefix, got.Secret) {
			t.Errorf("Plausible(%q) is false, want true", got.Secret)
		}
	}
}

func TestPlausibleRefusesGarbage(t *testing.T) {
	t.Parallel()
	good, err := token.Mint(token.JoinPrefix, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", "fb_op_", "fb_op__", "fb_op_a_b", good.Secret, good.Secret + "x", strings.Repeat("_", 80)} {
		if token.Plausible(token.OperatorPrefix, s) {
			t.Errorf("Plausible(operator, %q) is true, want false", s)
		}
	}
}

func TestMintNeedsRandomBytes(t *testing.T) {
	t.Parallel()
	if _, err := token.Mint(token.JoinPrefix, strings.NewReader("short")); err == nil {
		t.Error("Mint without enough random bytes succeeded, want an error")
	}
}

// FuzzPlausible: what looks like a token has the length of one, and what Mint makes does.
func FuzzPlausible(f *testing.F) {
	minted, err := token.Mint(token.JoinPrefix, strings.NewReader(strings.Repeat("x", 64)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(minted.Secret)
	f.Add("fb_join__")
	f.Fuzz(func(t *testing.T, secret string) {
		if token.Plausible(token.JoinPrefix, secret) && len(secret) != len(minted.Secret) {
			t.Errorf("got %q taken for a token", secret)
		}
	})
	if !token.Plausible(token.JoinPrefix, minted.Secret) {
		f.Error("got a minted token refused")
	}
}
