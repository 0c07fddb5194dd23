package trust_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/domain/trust/trusttest"
)

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDecodeManifestListsAllMistakes(t *testing.T) {
	t.Parallel()
	good := string(encoded(t, trusttest.Manifest(sensor, "1", 1, start)))
	if _, err := trust.DecodeManifest([]byte(good)); err != nil {
		t.Fatal(err)
	}
	bad := strings.NewReplacer(
		`"format":1,`, `"format":2,"priority":"high",`,
		`"platform":"any"`, `"platform":"any","Name":"x","arch":"amd64"`,
		`"hosts":1,`, `"hosts":1,"bakes":"1h",`,
		`"serial":1`, `"serial":0`,
	).Replace(good)
	_, err := trust.DecodeManifest([]byte(bad))
	refusedFor(t, err, fault.Invalid, "read release manifest")
	var paths []string
	for _, p := range fault.ProblemsOf(err) {
		paths = append(paths, p.Path)
	}
	want := []string{"artifacts[0].Name", "artifacts[0].arch", "plan.rings[0].bakes", "priority", "format", "serial"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeManifestRefuses(t *testing.T) {
	t.Parallel()
	good := string(encoded(t, trusttest.Manifest(sensor, "1", 1, start)))
	for name, c := range map[string]struct{ data, part string }{
		"null":           {strings.Replace(good, `"version":"1"`, `"version":null`, 1), "null"},
		"a field twice":  {strings.Replace(good, `"format":1,`, `"format":1,"format":1,`, 1), `"format" is there twice`},
		"more after it":  {good + "{}", "more follows"},
		"cut short":      {good[:len(good)-1], "EOF"},
		"too large":      {strings.Repeat(" ", release.MaxManifestSize+1), "is the most"},
		"not an object":  {`[]`, "cannot unmarshal array"},
		"deeply nested":  {strings.Repeat("[", 100), "nested deeper"},
		"wrong type":     {strings.Replace(good, `"serial":1`, `"serial":"one"`, 1), "serial"},
		"own name taken": {strings.Replace(good, "rules.json", "release.json", 1), "artifacts[0].name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := trust.DecodeManifest([]byte(c.data))
			refusedFor(t, err, fault.Invalid, c.part)
		})
	}
}

func TestReleasesInRefusesForgottenCustom(t *testing.T) {
	t.Parallel()
	role := trust.NewRole(1, start)
	if err := trust.AddRelease(role, encoded(t, trusttest.Manifest(sensor, "1", 1, start))); err != nil {
		t.Fatal(err)
	}
	if err := trust.AddRelease(role, encoded(t, trusttest.Manifest(sensor, "2", 1, start))); err != nil {
		t.Fatal(err)
	}
	_, err := trust.ReleasesIn(sensor, role)
	refusedFor(t, err, fault.Denied, "same serial 1")
	role.Signed.Targets[sensor+"/2/release.json"].Custom = nil
	_, err = trust.ReleasesIn(sensor, role)
	refusedFor(t, err, fault.Denied, sensor+" 2", "serial and floor")
}

func TestKeyIDIsTheOneOfTUF(t *testing.T) {
	t.Parallel()
	public := trusttest.Signer(t, "a").Public()
	key, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	want, err := key.ID()
	if got := trust.KeyID(public); err != nil || got != want {
		t.Errorf("got key id %s, want %s (%v)", got, want, err)
	}
}

func TestKeysAsPEM(t *testing.T) {
	t.Parallel()
	key := trusttest.Key("a")
	private, err := trust.EncodePrivate(key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := trust.DecodePrivate(private); err != nil || !got.Equal(key) {
		t.Errorf("got another key back: %v", err)
	}
	signer, err := trust.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := trust.EncodePublic(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := trust.DecodePublic(public); err != nil || !got.Equal(signer.Public()) {
		t.Errorf("got another public key back: %v", err)
	}
	_, err = trust.DecodePrivate(public)
	refusedFor(t, err, fault.Invalid, "PRIVATE KEY")
	_, err = trust.DecodePublic(private)
	refusedFor(t, err, fault.Invalid, "PUBLIC KEY")
	_, err = trust.DecodePrivate(bytes.Replace(private, []byte("\nM"), []byte("\nA"), 1))
	refusedFor(t, err, fault.Invalid)
}

func TestMergeSignatures(t *testing.T) {
	t.Parallel()
	a, b, stranger := trusttest.Signer(t, "a"), trusttest.Signer(t, "b"), trusttest.Signer(t, "stranger")
	keys := trust.NewKeys(2, a.Public(), b.Public())
	bare, err := trust.Encode(trust.NewRole(1, start))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(data []byte, signers ...*trust.Signer) []byte {
		signed, err := trust.SignBytes(sensor, data, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	merged, err := trust.Merge(sensor, sign(bare, a, stranger), sign(bare, b), keys)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := trust.Tally(sensor, merged, keys)
	if want := keys.IDs(); err != nil || !cmp.Equal(ids, want) {
		t.Errorf("got signatures by %v, %v, want %v", ids, err, want)
	}
	if bytes.Contains(merged, []byte(stranger.ID())) {
		t.Error("a stranger's signature was kept")
	}
	other, err := trust.Encode(trust.NewRole(2, start))
	if err != nil {
		t.Fatal(err)
	}
	_, err = trust.Merge(sensor, sign(bare, a), sign(other, b), keys)
	refusedFor(t, err, fault.Conflict, sensor, "do not say the same")
}

func FuzzManifest(f *testing.F) {
	f.Add(encoded(f, trusttest.Manifest(sensor, "1", 1, start)))
	f.Add([]byte(`{"plan":{"rings":[{}]},"artifacts":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := trust.DecodeManifest(data)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("got kind %s: %v", fault.KindOf(err), err)
			}
			return
		}
		again, err := trust.DecodeManifest(encoded(t, m))
		if err != nil {
			t.Fatalf("what was accepted is refused when written again: %v", err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Error(diff)
		}
	})
}
