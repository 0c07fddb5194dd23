package publisher

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/renameio/v2/maybe"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Keyring is a directory with the offline keys of a publisher and what it trusts:
//
//	root.pem, targets.pem, release-<component>.pem   private keys, PKCS #8, only for their owner's eyes; .pub beside each
//	root.json                                        the newest trusted root; give it to whoever shall verify
//	trusted.json                                     the newest verified metadata, so that nobody can show us an older one
//
// A keyring need not have all keys: the root key belongs on a machine that is switched off.
type Keyring struct{ dir string }

// OpenKeyring opens a keyring, and makes the directory if there is none.
func OpenKeyring(dir string) (*Keyring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if err := private(dir, "700"); err != nil {
		return nil, err
	}
	return &Keyring{dir: dir}, nil
}

// Dir is the keyring's directory.
func (k *Keyring) Dir() string { return k.dir }

// KeyFile is the file of a role's private key. Roles are root, targets and the names of components.
func (k *Keyring) KeyFile(role string) string {
	name := "release-" + role
	if role == trust.RoleRoot || role == trust.RoleTargets {
		name = role
	}
	return filepath.Join(k.dir, name+".pem")
}

// PublicFile is the file of a role's public key, which other owners may have.
func (k *Keyring) PublicFile(role string) string { return k.KeyFile(role) + ".pub" }

// Has tells whether the keyring has a role's private key.
func (k *Keyring) Has(role string) bool {
	_, err := os.Stat(k.KeyFile(role))
	return err == nil
}

// Signer reads a role's private key.
func (k *Keyring) Signer(role string) (*trust.Signer, error) {
	path := k.KeyFile(role)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "sign as role %s: the keyring has no %s", role, path).
			Hint("If the component is new, run 'firebreak key init %s'. To be one more owner of it, run 'firebreak key new %s'.", role, role)
	}
	if err != nil {
		return nil, fmt.Errorf("read key of role %s: %w", role, err)
	}
	if modeErr := private(path, "600"); modeErr != nil {
		return nil, modeErr
	}
	key, err := trust.DecodePrivate(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return trust.NewSigner(key)
}

// Make gives a role's key, and makes it first if there is none. Made tells whether it did.
func (k *Keyring) Make(role string, random io.Reader) (signer *trust.Signer, made bool, err error) {
	if err = checkRole(role); err != nil {
		return nil, false, err
	}
	if k.Has(role) {
		signer, err = k.Signer(role)
		return signer, false, err
	}
	public, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, false, fmt.Errorf("make key of role %s: %w", role, err)
	}
	secret, err := trust.EncodePrivate(key)
	if err != nil {
		return nil, false, err
	}
	open, err := trust.EncodePublic(public)
	if err != nil {
		return nil, false, err
	}
	path := k.KeyFile(role)
	if err = maybe.WriteFile(k.PublicFile(role), open, 0o600); err == nil {
		err = maybe.WriteFile(path, secret, 0o600)
	}
	if err != nil {
		return nil, false, fmt.Errorf("write key of role %s: %w", role, err)
	}
	signer, err = trust.NewSigner(key)
	return signer, true, err
}

// Trust makes a root, got from somebody trustworthy, the keyring's own. It refuses to replace a newer one.
func (k *Keyring) Trust(root []byte) error {
	v, err := trust.Open(root, nil)
	if err != nil {
		return err
	}
	if have, errHave := k.View(); errHave == nil && have.RootVersion() > v.RootVersion() {
		return fault.New(fault.Conflict, "trust root version %d: the keyring already trusts version %d", v.RootVersion(), have.RootVersion())
	}
	return k.write("root.json", root)
}

// View is what the keyring trusts, as last remembered.
func (k *Keyring) View() (*trust.View, error) {
	root, err := os.ReadFile(filepath.Join(k.dir, "root.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "open keyring %s: it has no root.json to trust", k.dir).
			Hint("Copy root.json from the machine where `firebreak key init` was run, or run it here if this is the first.")
	}
	if err != nil {
		return nil, fmt.Errorf("read trusted root: %w", err)
	}
	var cached trust.Files
	data, err := os.ReadFile(filepath.Join(k.dir, "trusted.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read trusted metadata: %w", err)
	}
	if err == nil {
		if err = json.Unmarshal(data, &cached); err != nil {
			return nil, fault.New(fault.Invalid, "read trusted metadata in %s: %w", k.dir, err).
				Hint("Remove trusted.json; it is fetched again.")
		}
	}
	return trust.Open(root, cached)
}

func (k *Keyring) remember(files trust.Files) error {
	data, err := json.Marshal(files)
	if err != nil {
		return fmt.Errorf("encode trusted metadata: %w", err)
	}
	if err := k.write("trusted.json", data); err != nil {
		return err
	}
	return k.write("root.json", files["root.json"])
}

func (k *Keyring) write(name string, data []byte) error {
	if err := maybe.WriteFile(filepath.Join(k.dir, name), data, 0o600); err != nil {
		return fmt.Errorf("write %s of keyring: %w", name, err)
	}
	return nil
}

func checkRole(role string) error {
	if role == trust.RoleRoot || role == trust.RoleTargets || plan.Name(role) && !trust.Reserved(role) {
		return nil
	}
	return fault.New(fault.Invalid, "use component %q: a name is 1 to 63 lower-case letters, digits and dashes, and not root, targets, snapshot, timestamp or director", role)
}

func private(path, mode string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fault.New(fault.Denied, "use %s: others may read it (mode %v)", path, info.Mode().Perm()).Hint("Run: chmod %s %s", mode, path)
	}
	return nil
}
