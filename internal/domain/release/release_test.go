package release_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// whole is a manifest with nothing wrong.
func whole() release.Manifest {
	digest := release.DigestOf([]byte("rules"))
	return release.Manifest{
		Format: 1, Component: "sensor-content", Version: "2026.7.1+b4_x", Serial: 3, Floor: 2, Kind: release.Content,
		Created:   time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC),
		Artifacts: []release.Artifact{{Platform: release.AnyPlatform, Format: release.File, Name: "rules.json", Digest: digest, Size: 5}},
		Verdicts:  []release.Verdict{{Validator: "check", Artifact: digest, Passed: true}},
		Plan:      plan.Plan{Name: "content", Rings: []plan.Ring{{Name: "first", Hosts: 1}, {Name: "rest", Share: 1}}},
	}
}

func TestManifestCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*release.Manifest)
		want   []string
	}{
		"whole":     {func(*release.Manifest) {}, nil},
		"empty":     {func(m *release.Manifest) { *m = release.Manifest{} }, []string{"format", "component", "version", "serial", "kind", "created", "artifacts", "plan.name", "plan.rings"}},
		"floor":     {func(m *release.Manifest) { m.Floor = 4 }, []string{"floor"}},
		"below":     {func(m *release.Manifest) { m.Floor, m.Serial = -1, 0 }, []string{"serial", "floor"}},
		"kind":      {func(m *release.Manifest) { m.Kind = "firmware" }, []string{"kind"}},
		"too many":  {func(m *release.Manifest) { m.Artifacts = make([]release.Artifact, release.MaxArtifacts+1) }, nil},
		"twice":     {func(m *release.Manifest) { m.Artifacts = append(m.Artifacts, m.Artifacts[0]) }, []string{"artifacts[1].platform"}},
		"artifact":  {func(m *release.Manifest) { m.Artifacts[0] = release.Artifact{} }, []string{"artifacts[0].platform", "artifacts[0].format", "artifacts[0].name", "artifacts[0].digest", "artifacts[0].size"}},
		"huge":      {func(m *release.Manifest) { m.Artifacts[0].Size = release.MaxArtifactSize + 1 }, []string{"artifacts[0].size"}},
		"platform":  {func(m *release.Manifest) { m.Artifacts[0].Platform = "linux/amd64" }, nil},
		"way up":    {func(m *release.Manifest) { m.Artifacts[0].Platform = "../amd64" }, []string{"artifacts[0].platform"}},
		"no os":     {func(m *release.Manifest) { m.Artifacts[0].Platform = "/amd64" }, []string{"artifacts[0].platform"}},
		"no arch":   {func(m *release.Manifest) { m.Artifacts[0].Platform = "linux" }, []string{"artifacts[0].platform"}},
		"too deep":  {func(m *release.Manifest) { m.Artifacts[0].Platform = "linux/arm/v7" }, []string{"artifacts[0].platform"}},
		"bad plan":  {func(m *release.Manifest) { m.Plan.Rings = m.Plan.Rings[:1] }, []string{"plan.rings"}},
		"a bad few": {func(m *release.Manifest) { m.Version, m.Plan.Name, m.Artifacts[0].Digest = "a/b", "", "md5:1" }, []string{"version", "artifacts[0].digest", "plan.name"}},
	} {
		m := whole()
		test.change(&m)
		var got []string
		for _, p := range m.Check() {
			got = append(got, p.Path)
		}
		if name == "too many" {
			if len(got) == 0 || got[0] != "artifacts" {
				t.Errorf("%s: got problems %v, want artifacts first", name, got)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestFor(t *testing.T) {
	t.Parallel()
	artifact := func(platform string) release.Artifact {
		return release.Artifact{Platform: platform, Digest: release.DigestOf([]byte(platform))}
	}
	both := release.Manifest{Artifacts: []release.Artifact{artifact("any"), artifact("linux/amd64")}}
	one := release.Manifest{Artifacts: []release.Artifact{artifact("linux/amd64")}}
	for _, test := range []struct {
		m        release.Manifest
		platform string
		want     string
	}{
		{both, "linux/amd64", "linux/amd64"},
		{both, "windows/amd64", "any"},
		{one, "linux/amd64", "linux/amd64"},
		{one, "windows/amd64", ""},
		{release.Manifest{}, "linux/amd64", ""},
	} {
		got, ok := test.m.For(test.platform)
		if got.Platform != test.want || ok != (test.want != "") {
			t.Errorf("got %q, %t for %s, want %q", got.Platform, ok, test.platform, test.want)
		}
	}
}

// A missing verdict is a rejection.
func TestValidated(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*release.Manifest)
		want   bool
	}{
		"passed":     {func(*release.Manifest) {}, true},
		"no verdict": {func(m *release.Manifest) { m.Verdicts = nil }, false},
		"another's":  {func(m *release.Manifest) { m.Verdicts[0].Artifact = release.DigestOf(nil) }, false},
		"failed": {func(m *release.Manifest) {
			m.Verdicts = append(m.Verdicts, release.Verdict{Artifact: m.Artifacts[0].Digest})
		}, false},
		"nothing to say": {func(m *release.Manifest) { m.Artifacts = nil }, false},
	} {
		m := whole()
		test.change(&m)
		if got := m.Validated(); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	d := release.DigestOf(nil)
	const hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if string(d) != "sha256:"+hex || d.Hex() != hex || !d.Valid() || d.Short() != hex[:12] {
		t.Errorf("got %s, %s, %t, %s of no bytes", d, d.Hex(), d.Valid(), d.Short())
	}
	for _, bad := range []release.Digest{"", hex, "sha256:", release.Digest("sha256:" + hex[1:]), "sha256:" + hex + "0", release.Digest("sha256:" + strings.ToUpper(hex)), "sha512:" + hex} {
		if bad.Valid() || bad.Short() != string(bad) {
			t.Errorf("got %q accepted as a digest, short %q", bad, bad.Short())
		}
	}
	m := whole()
	if diff := cmp.Diff([]release.Digest{m.Artifacts[0].Digest}, m.Digests()); diff != "" {
		t.Errorf("digests differ (-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][2]bool{ // version, file
		"1.2.3":                  {true, true},
		"2026-07-19_r1+x":        {true, true},
		"rules of 20.json":       {false, true},
		"":                       {false, false},
		".":                      {false, false},
		"..":                     {false, false},
		".hidden":                {false, false},
		"a/b":                    {false, false},
		`a\b`:                    {false, false},
		"c:rules":                {false, false},
		"a\x00b":                 {false, false},
		"a\nb":                   {false, false},
		"a\x7f":                  {false, false},
		"a\xff":                  {false, false},
		"é":                      {false, true},
		strings.Repeat("1", 64):  {true, true},
		strings.Repeat("1", 65):  {false, true},
		strings.Repeat("1", 256): {false, false},
	} {
		if got := [2]bool{release.VersionName(s), release.FileName(s)}; got != want {
			t.Errorf("got %v (version, file) for %q, want %v", got, s, want)
		}
	}
	for kind, want := range map[release.Kind]bool{
		release.Content: true, release.Config: true, release.Toggle: true, release.Binary: true, release.Package: true, release.Agent: true,
		"x-firmware": true, "x": false, "x-": false, "x-Firm": false, "": false,
	} {
		if got := kind.Installable(); got != want {
			t.Errorf("got %t for installing %s, want %t", got, kind, want)
		}
	}
}
