package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

const (
	maxDepth      = 32 // of nested JSON
	maxSignatures = 64
)

// parse reads one metadata file. It stands in front of go-tuf, which trusts the shape of what it reads in places (a null where an
// object belongs, a key of the wrong length) and would panic on bytes that nobody signed.
func parse[T metadata.Roles](name string, data []byte, limit int) (*metadata.Metadata[T], error) {
	refuse := func(format string, args ...any) error {
		return fault.New(fault.Denied, "read %s: %w", name, fmt.Errorf(format, args...))
	}
	if len(data) > limit {
		return nil, refuse("it has %d bytes, %d is the most", len(data), limit)
	}
	if err := plain(data); err != nil {
		return nil, refuse("%w", err)
	}
	var envelope struct {
		Signatures []json.RawMessage `json:"signatures"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil {
		return nil, refuse("%w", err)
	}
	if n := len(envelope.Signatures); n > maxSignatures {
		return nil, refuse("it has %d signatures, %d is the most", n, maxSignatures)
	}
	meta, err := (&metadata.Metadata[T]{}).FromBytes(data)
	if err != nil {
		return nil, refuse("%w", err)
	}
	if err := sound(meta); err != nil {
		return nil, refuse("%w", err)
	}
	return meta, nil
}

// plain accepts one JSON document without null, without a repeated name in an object, and not nested too deeply.
func plain(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := plainValue(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows the JSON document")
	}
	return nil
}

func plainValue(dec *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if token == nil {
		return fmt.Errorf("null at byte %d; no field may be null", dec.InputOffset())
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			name, errName := dec.Token()
			if errName != nil {
				return errName
			}
			key, _ := name.(string)
			if seen[key] {
				return fmt.Errorf("field %q is there twice", key)
			}
			seen[key] = true
		}
		if err = plainValue(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token() // the closing delimiter
	return err
}

// sound checks what go-tuf takes for granted.
func sound(meta any) error {
	switch m := meta.(type) {
	case *metadata.Metadata[metadata.RootType]:
		if m.Signed.Version < 1 {
			return fmt.Errorf("version is %d, must be at least 1", m.Signed.Version)
		}
		for _, role := range []string{RoleRoot, RoleTargets, RoleSnapshot, RoleTimestamp} {
			if _, err := rootKeys(m, role); err != nil {
				return err
			}
		}
		return soundKeys(m.Signed.Keys)
	case *metadata.Metadata[metadata.TimestampType]:
		return soundMeta(m.Signed.Version, m.Signed.Meta, "snapshot.json")
	case *metadata.Metadata[metadata.SnapshotType]:
		return soundMeta(m.Signed.Version, m.Signed.Meta, "targets.json")
	case *metadata.Metadata[metadata.TargetsType]:
		return soundTargets(m)
	}
	return nil
}

func soundMeta(version int64, files map[string]*metadata.MetaFiles, needed string) error {
	if version < 1 {
		return fmt.Errorf("version is %d, must be at least 1", version)
	}
	if files[needed] == nil {
		return fmt.Errorf("it does not mention %s", needed)
	}
	for name, file := range files {
		if file.Version < 1 {
			return fmt.Errorf("it gives %s version %d, must be at least 1", name, file.Version)
		}
	}
	return nil
}

func soundTargets(m *metadata.Metadata[metadata.TargetsType]) error {
	if m.Signed.Version < 1 {
		return fmt.Errorf("version is %d, must be at least 1", m.Signed.Version)
	}
	if m.Signed.Delegations == nil {
		return nil
	}
	if m.Signed.Delegations.SuccinctRoles != nil {
		return errors.New("it delegates to hash bins, which this version does not read")
	}
	seen := map[string]bool{}
	for _, role := range m.Signed.Delegations.Roles {
		if seen[role.Name] {
			return fmt.Errorf("role %q is delegated twice", role.Name)
		}
		seen[role.Name] = true
		if _, err := roleKeys(role.Name, role.KeyIDs, role.Threshold, m.Signed.Delegations.Keys); err != nil {
			return err
		}
	}
	return soundKeys(m.Signed.Delegations.Keys)
}

func soundKeys(keys map[string]*metadata.Key) error {
	for id, key := range keys {
		if _, err := publicKey(id, key); err != nil {
			return err
		}
	}
	return nil
}

// publicKey also compares the key with its id: two ids for one key would let one signature count twice.
func publicKey(id string, key *metadata.Key) (ed25519.PublicKey, error) {
	if key.Type != metadata.KeyTypeEd25519 || key.Scheme != metadata.KeySchemeEd25519 {
		return nil, fmt.Errorf("key %s is %s/%s; only ed25519 is accepted", short(id), key.Type, key.Scheme)
	}
	raw, err := hex.DecodeString(key.Value.PublicKey)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("key %s is not an ed25519 public key", short(id))
	}
	if public := ed25519.PublicKey(raw); KeyID(public) == id {
		return public, nil
	}
	return nil, fmt.Errorf("key %s does not have the id that it is listed under", short(id))
}

// rootKeys are the keys that root names for a top-level role.
func rootKeys(root *metadata.Metadata[metadata.RootType], role string) (Keys, error) {
	r := root.Signed.Roles[role]
	if r == nil {
		return Keys{}, fmt.Errorf("root.json does not name role %s", role)
	}
	return roleKeys(role, r.KeyIDs, r.Threshold, root.Signed.Keys)
}

// delegatedKeys are the keys that targets names for a delegated role.
func delegatedKeys(targets *metadata.Metadata[metadata.TargetsType], role string) (Keys, error) {
	if targets.Signed.Delegations != nil {
		for _, r := range targets.Signed.Delegations.Roles {
			if r.Name == role {
				return roleKeys(role, r.KeyIDs, r.Threshold, targets.Signed.Delegations.Keys)
			}
		}
	}
	return Keys{}, fault.New(fault.NotFound, "targets.json does not delegate to role %s", role)
}

func roleKeys(role string, ids []string, threshold int, all map[string]*metadata.Key) (Keys, error) {
	k := Keys{Threshold: threshold, Public: make(map[string]ed25519.PublicKey, len(ids))}
	for _, id := range ids {
		key := all[id]
		if key == nil {
			return Keys{}, fmt.Errorf("role %s names key %s, which is not listed", role, short(id))
		}
		public, err := publicKey(id, key)
		if err != nil {
			return Keys{}, err
		}
		k.Public[id] = public
	}
	return k, k.Check(role)
}
