package oci_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/control/blob/disk"
	"github.com/firebreak-dev/firebreak/internal/control/blob/oci"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// published is what a control plane published.
type published struct {
	t     testing.TB
	dir   string
	blobs *disk.Store
	all   []release.Published
	*oci.Catalogue
}

func (p *published) Releases(_ context.Context, component string) ([]release.Published, error) {
	var some []release.Published
	for _, r := range p.all {
		if component == "" || r.Manifest.Component == component {
			some = append(some, r)
		}
	}
	return some, nil
}

func open(t testing.TB) *published {
	t.Helper()
	p := &published{t: t, dir: t.TempDir()}
	var err error
	if p.blobs, err = disk.Open(p.dir); err != nil {
		t.Fatal(err)
	}
	p.Catalogue = oci.NewCatalogue(p, p.blobs)
	return p
}

func (p *published) put(data string) (release.Digest, int64) {
	p.t.Helper()
	d := release.DigestOf([]byte(data))
	if err := p.blobs.Put(p.t.Context(), d, int64(len(data)), strings.NewReader(data)); err != nil {
		p.t.Fatal(err)
	}
	return d, int64(len(data))
}

// publish publishes a release for two platforms.
func (p *published) publish(component, version string) release.Published {
	p.t.Helper()
	m := release.Manifest{
		Format: 1, Component: component, Version: version, Serial: int64(len(p.all)) + 1, Kind: release.Content,
		Created: time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC),
	}
	for platform, format := range map[string]release.Format{"linux/amd64": release.File, "windows/amd64": release.Tar} {
		d, size := p.put(component + version + platform)
		m.Artifacts = append(m.Artifacts, release.Artifact{Platform: platform, Format: format, Name: "rules", Digest: d, Size: size})
	}
	slices.SortFunc(m.Artifacts, func(a, b release.Artifact) int { return strings.Compare(a.Platform, b.Platform) })
	data, err := json.Marshal(m)
	if err != nil {
		p.t.Fatal(err)
	}
	d, _ := p.put(string(data))
	r := release.Published{Manifest: m, Digest: d}
	p.all = append(p.all, r)
	return r
}

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Digest       release.Digest    `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations"`
}

// document is an index or a manifest, read by the specification's rules and not by our structs.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *descriptor       `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations"`
}

// checkLayout holds a directory against the image layout, index, manifest and descriptor rules of image-spec 1.1, and returns the index.
func checkLayout(t *testing.T, dir string) document {
	t.Helper()
	var layout struct {
		Version string `json:"imageLayoutVersion"`
	}
	parse(t, filepath.Join(dir, "oci-layout"), &layout)
	if layout.Version != "1.0.0" {
		t.Errorf("got layout version %q, want 1.0.0", layout.Version)
	}
	var index document
	parse(t, filepath.Join(dir, "index.json"), &index)
	if index.SchemaVersion != 2 || index.MediaType != "application/vnd.oci.image.index.v1+json" || index.Manifests == nil {
		t.Errorf("got index %+v, want schema 2, its media type and a list", index)
	}
	names := map[string]bool{}
	for _, m := range index.Manifests {
		checkDescriptor(t, dir, m)
		name := m.Annotations["org.opencontainers.image.ref.name"]
		if names[name] && name != "" {
			t.Errorf("got the name %q twice", name)
		}
		if names[name] = true; name != "" && !regexp.MustCompile(`^[A-Za-z0-9]+([-._:@/+]+[A-Za-z0-9]+)*$`).MatchString(name) {
			t.Errorf("got name %q, want one of the specification's grammar", name)
		}
		var manifest document
		parse(t, blobPath(dir, m.Digest), &manifest)
		checkManifest(t, dir, m, manifest)
	}
	return index
}

func checkManifest(t *testing.T, dir string, m descriptor, manifest document) {
	t.Helper()
	if manifest.SchemaVersion != 2 || manifest.MediaType != m.MediaType || m.MediaType != "application/vnd.oci.image.manifest.v1+json" {
		t.Errorf("got manifest %+v under %+v, want schema 2 and one media type", manifest, m)
	}
	if manifest.ArtifactType != "application/vnd.firebreak.release.v1" || m.ArtifactType != manifest.ArtifactType {
		t.Errorf("got artifact types %q and %q, want ours in both", m.ArtifactType, manifest.ArtifactType)
	}
	if manifest.Config == nil || manifest.Config.MediaType != "application/vnd.oci.empty.v1+json" || manifest.Config.Size != 2 ||
		manifest.Config.Digest != "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" {
		t.Errorf("got configuration %+v, want the specification's empty one", manifest.Config)
	} else {
		checkDescriptor(t, dir, *manifest.Config)
	}
	if len(manifest.Layers) == 0 {
		t.Error("got no layers, want one at least")
	}
	titles := map[string]bool{}
	for _, layer := range manifest.Layers {
		checkDescriptor(t, dir, layer)
		title := layer.Annotations["org.opencontainers.image.title"]
		if title == "" || titles[title] || strings.ContainsAny(title, `/\`) {
			t.Errorf("got title %q, want a plain file name of its own", title)
		}
		titles[title] = true
	}
	if _, err := time.Parse(time.RFC3339, manifest.Annotations["org.opencontainers.image.created"]); err != nil {
		t.Errorf("got created %v, want RFC 3339", err)
	}
}

// checkDescriptor finds the blob and compares it with what is said of it.
func checkDescriptor(t *testing.T, dir string, d descriptor) {
	t.Helper()
	data, err := os.ReadFile(blobPath(dir, d.Digest))
	if err != nil || int64(len(data)) != d.Size || release.DigestOf(data) != d.Digest {
		t.Errorf("got %d bytes, %v for %+v, want what it says", len(data), err, d)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$`).MatchString(d.MediaType) {
		t.Errorf("got media type %q, want one of RFC 6838", d.MediaType)
	}
}

func blobPath(dir string, d release.Digest) string {
	return filepath.Join(dir, "blobs", "sha256", d.Hex())
}

func parse(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func names(index document) []string {
	var all []string
	for _, m := range index.Manifests {
		all = append(all, m.Annotations["org.opencontainers.image.ref.name"])
	}
	return all
}

func TestTheLayoutKeepsTheSpecification(t *testing.T) {
	t.Parallel()
	p := open(t)
	if err := p.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkLayout(t, p.dir)
	p.publish("sensor-content", "1")
	two := p.publish("sensor-content", "2+b1")
	p.publish("rules", "2026.7")
	p.publish("rules", "-odd") // no tag can be that
	if err := p.Published(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"rules:2026.7", "", "sensor-content:1", "sensor-content:2_b1"}, names(checkLayout(t, p.dir))); diff != "" {
		t.Errorf("names differ (-want +got):\n%s", diff)
	}
	again := oci.NewCatalogue(p, p.blobs) // another replica, or after a restart
	before, err := p.blobs.Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := p.blobs.Index(t.Context()); string(after) != string(before) || err != nil {
		t.Errorf("got another index %s, %v, want the same bytes", after, err)
	}
	needs, err := p.Needs(t.Context(), two)
	if err != nil || len(needs) != 2 {
		t.Errorf("got needs %v, %v, want a manifest and the configuration", needs, err)
	}
	if err := p.blobs.Remove(t.Context(), two.Manifest.Artifacts[0].Digest); err != nil {
		t.Fatal(err)
	}
	if err := p.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := names(checkLayout(t, p.dir)); slices.Contains(got, "sensor-content:2_b1") || len(got) != 3 {
		t.Errorf("got %v, want all but the release that is not whole any more", got)
	}
}

type port struct {
	t   *testing.T
	url string
}

func serving(t *testing.T, p *published) port {
	t.Helper()
	s := httptest.NewServer(oci.Handler(p.Catalogue, slog.New(slog.DiscardHandler)))
	t.Cleanup(s.Close)
	return port{t, s.URL}
}

func (p port) do(method, path string, header map[string]string) (answered, string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for k, v := range header {
		request.Header.Set(k, v)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answered{answer.StatusCode, answer.Header, answer.ContentLength}, string(data)
}

// answered is an answer whose body was read.
type answered struct {
	StatusCode    int
	Header        http.Header
	ContentLength int64
}

// A client pulls a release as clients do: the base, the tags, the manifest by tag, then every blob.
func TestAReleaseCanBePulled(t *testing.T) {
	t.Parallel()
	p := open(t)
	p.publish("rules", "1")
	r := p.publish("sensor-content", "2")
	at := serving(t, p)
	if answer, _ := at.do("GET", "/v2/", nil); answer.StatusCode != http.StatusOK {
		t.Errorf("got %d of /v2/, want 200", answer.StatusCode)
	}
	answer, body := at.do("GET", "/v2/sensor-content/manifests/2", map[string]string{"Accept": oci.ManifestType})
	digest := answer.Header.Get("Docker-Content-Digest")
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != oci.ManifestType || digest != string(release.DigestOf([]byte(body))) {
		t.Fatalf("got %d %v %s, want the manifest with its digest", answer.StatusCode, answer.Header, body)
	}
	if got := answer.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("got a tag cached with %q, want to be asked again", got)
	}
	answer, same := at.do("GET", "/v2/sensor-content/manifests/"+digest, nil)
	if same != body || !strings.Contains(answer.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("got %q cached with %q by digest, want the same for ever", same, answer.Header.Get("Cache-Control"))
	}
	var m document
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Layers) != 3 || m.Layers[0].Digest != r.Digest || m.Annotations["org.opencontainers.image.version"] != "2" {
		t.Errorf("got layers %+v, want release.json and two artifacts", m.Layers)
	}
	if err := p.Published(t.Context()); err != nil { // stores the configuration
		t.Fatal(err)
	}
	for _, d := range append(m.Layers, *m.Config) {
		whole, got := at.do("GET", "/v2/sensor-content/blobs/"+string(d.Digest), nil)
		if whole.StatusCode != http.StatusOK || release.DigestOf([]byte(got)) != d.Digest || whole.Header.Get("Docker-Content-Digest") != string(d.Digest) {
			t.Errorf("got %d %q for %s, want its bytes", whole.StatusCode, got, d.Digest)
		}
		if asked, _ := at.do("HEAD", "/v2/sensor-content/blobs/"+string(d.Digest), nil); asked.ContentLength != d.Size {
			t.Errorf("got length %d by HEAD, want %d", asked.ContentLength, d.Size)
		}
	}
	artifact := "/v2/sensor-content/blobs/" + string(r.Manifest.Artifacts[0].Digest)
	answer, part := at.do("GET", artifact, map[string]string{"Range": "bytes=7-13"})
	if answer.StatusCode != http.StatusPartialContent || part != "content" {
		t.Errorf("got %d %q of a range, want 206 content", answer.StatusCode, part)
	}
	if beyond, _ := at.do("GET", artifact, map[string]string{"Range": "bytes=1000-"}); beyond.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("got %d of a range beyond the end, want 416", beyond.StatusCode)
	}
	if known, _ := at.do("GET", artifact, map[string]string{"If-None-Match": answer.Header.Get("ETag")}); known.StatusCode != http.StatusNotModified {
		t.Errorf("got %d of what is known, want 304", known.StatusCode)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	p := open(t)
	for _, version := range []string{"1", "2", "3+x", "-odd", "10"} {
		p.publish("rules", version)
	}
	plus := p.publish("rules", "4+x")
	under := p.publish("rules", "4_x")
	p.publish("rules", "3-x")
	at := serving(t, p)
	for query, want := range map[string]string{
		"":                `{"name":"rules","tags":["1","10","2","3-x","3_x","4_x"]}`,
		"?n=2":            `{"name":"rules","tags":["1","10"]}`,
		"?n=2&last=10":    `{"name":"rules","tags":["2","3-x"]}`,
		"?n=9&last=11":    `{"name":"rules","tags":["2","3-x","3_x","4_x"]}`,
		"?n=0":            `{"name":"rules","tags":[]}`,
		"?last=zzz":       `{"name":"rules","tags":[]}`,
		"?n=9999999&x=%2": `{"name":"rules","tags":["1","10","2","3-x","3_x","4_x"]}`,
	} {
		answer, body := at.do("GET", "/v2/rules/tags/list"+query, nil)
		if more := strings.Contains(query, "n=2"); body != want || (answer.Header.Get("Link") != "") != more {
			t.Errorf("%s: got %s with link %q, want %s", query, body, answer.Header.Get("Link"), want)
		}
	}
	_, body := at.do("GET", "/v2/rules/manifests/4_x", nil)
	if strings.Contains(body, string(plus.Digest)) || !strings.Contains(body, string(under.Digest)) {
		t.Errorf("got %s, want the release whose version is the tag", body)
	}
}

func TestEverythingElseIsRefused(t *testing.T) {
	t.Parallel()
	p := open(t)
	p.publish("rules", "1")
	secret, _ := p.put("uploaded, not published")
	other := p.publish("other", "1")
	at := serving(t, p)
	for path, code := range map[string]string{
		"/v2/rules": "NAME_UNKNOWN", "/v2/nothing/tags/list": "NAME_UNKNOWN", "/v2/rules/tags": "NAME_UNKNOWN",
		"/v2/rules/manifests/2": "MANIFEST_UNKNOWN", "/v2/rules/manifests/" + string(secret): "MANIFEST_UNKNOWN",
		"/v2/rules/blobs/" + string(secret): "BLOB_UNKNOWN", "/v2/rules/blobs/" + string(other.Digest): "BLOB_UNKNOWN",
		"/v2/rules/blobs/sha256:..%2f..": "NAME_UNKNOWN", "/v2/_catalog": "NAME_UNKNOWN", "/v2/rules/manifests/..%2findex.json": "NAME_UNKNOWN",
	} {
		answer, body := at.do("GET", path, nil)
		if answer.StatusCode != http.StatusNotFound || !strings.Contains(body, `"code":"`+code+`"`) {
			t.Errorf("%s: got %d %s, want 404 %s", path, answer.StatusCode, body, code)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		if answer, body := at.do(method, "/v2/rules/blobs/uploads/", nil); answer.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(body, "UNSUPPORTED") {
			t.Errorf("%s: got %d %s, want 405", method, answer.StatusCode, body)
		}
	}
}

func FuzzPath(f *testing.F) {
	p := open(f)
	r := p.publish("rules", "1")
	handler := oci.Handler(p.Catalogue, slog.New(slog.DiscardHandler))
	f.Add("/v2/rules/tags/list", "")
	f.Add("/v2/rules/manifests/1", "bytes=0-4")
	f.Add("/v2/rules/blobs/"+string(r.Digest), "bytes=-5,3-")
	f.Add("/v2/../rules", "bytes=9-1")
	f.Fuzz(func(t *testing.T, path, ranges string) {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		request.URL.Path = path
		request.Header.Set("Range", ranges)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request)
		switch w.Code {
		case http.StatusOK, http.StatusPartialContent, http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable:
		default:
			t.Errorf("%q with range %q: got %d %s", path, ranges, w.Code, w.Body)
		}
		if w.Code == http.StatusOK && !strings.HasPrefix(path, "/v2") {
			t.Errorf("%q: got an answer outside /v2", path)
		}
	})
}
