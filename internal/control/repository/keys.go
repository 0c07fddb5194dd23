package repository

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/renameio/v2/maybe"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Keys are the private keys that the control plane signs with.
type Keys struct {
	Snapshot  *trust.Signer
	Timestamp *trust.Signer
	Director  *trust.Signer
}

// OpenKeys reads the online keys of a directory, or makes those that are not there, from random. Each is PKCS #8 in PEM in a file that
// only its owner may read.
func OpenKeys(dir string, random io.Reader) (Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Keys{}, fmt.Errorf("make key directory: %w", err)
	}
	var keys Keys
	for _, k := range []struct {
		name string
		into **trust.Signer
	}{{"snapshot", &keys.Snapshot}, {"timestamp", &keys.Timestamp}, {"director", &keys.Director}} {
		signer, err := openKey(filepath.Join(dir, k.name+".pem"), random)
		if err != nil {
			return Keys{}, fmt.Errorf("open %s key: %w", k.name, err)
		}
		*k.into = signer
	}
	return keys, nil
}

func openKey(path string, random io.Reader) (*trust.Signer, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = makeKey(path, random)
	}
	if err != nil {
		return nil, err
	}
	if err = private(path); err != nil {
		return nil, err
	}
	key, err := trust.DecodePrivate(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return trust.NewSigner(key)
}

func makeKey(path string, random io.Reader) ([]byte, error) {
	_, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	data, err := trust.EncodePrivate(key)
	if err != nil {
		return nil, err
	}
	if err := maybe.WriteFile(path, data, 0o600); err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return data, nil
}

func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fault.New(fault.Denied, "use key %s: others may read it (mode %v)", path, info.Mode().Perm()).Hint("Run: chmod 600 %s", path)
	}
	return nil
}
