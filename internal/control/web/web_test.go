package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/firebreak-dev/firebreak/internal/control/web"
)

const (
	script = "assets/app-1a2b3c4d.js"
	page   = "<!doctype html><title>Firebreak</title>"
)

var code = strings.Repeat("export const fire = 'break';\n", 100)

// built is a console as the build makes it.
func built(t *testing.T) http.Handler {
	t.Helper()
	h, err := web.Of(fstest.MapFS{
		"index.html": {Data: []byte(page)}, script: {Data: []byte(code)}, script + ".br": {Data: []byte("brotli of it")},
		"assets/style-5e6f.css": {Data: []byte(strings.Repeat("p { margin: 0 }\n", 100))}, "icon.svg": {Data: []byte("<svg/>")}, ".hidden": {Data: []byte("x")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ask(t *testing.T, h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/", nil)
	r.URL.Path, r.RequestURI = target, target
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer
}

func TestEveryPageOfTheConsoleIsTheApplication(t *testing.T) {
	t.Parallel()
	h := built(t)
	for target, want := range map[string]int{
		"/": 200, "/rollouts": 200, "/rollouts/ro-1": 200, "/releases": 200, "/releases/nginx/1.2.3": 200, "/fleet": 200, "/endpoints/e-1": 200,
		"/incidents": 200, "/incidents/in-1": 200, "/plans": 200, "/plans/default": 200, "/holds": 200, "/audit": 200,
		"/nothing": 404, "/rollouts/ro-1/more": 404, "/releases/nginx": 404, "/index.html/x": 404, "/console/app.js": 404, "/.hidden": 404, "/endpoints": 404,
	} {
		answer := ask(t, h, http.MethodGet, target)
		if answer.Code != want || answer.Body.String() != page || answer.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("GET %s: got %d %s %.40q, want %d with the application", target, answer.Code, answer.Header().Get("Content-Type"), answer.Body, want)
		}
		cache, tag := answer.Header().Get("Cache-Control"), answer.Header().Get("ETag")
		if want == 200 && (cache != "no-cache" || tag == "") || want == 404 && (cache != "no-store" || tag != "") {
			t.Errorf("GET %s: got cache %q and tag %q, want that it is asked for again, and a tag of what is there", target, cache, tag)
		}
		if head := ask(t, h, http.MethodHead, target); head.Code != want || head.Body.Len() != 0 {
			t.Errorf("HEAD %s: got %d with %d bytes, want %d without a body", target, head.Code, head.Body.Len(), want)
		}
	}
}

func TestAssetsAreKeptForEverAndTheRestIsAskedForAgain(t *testing.T) {
	t.Parallel()
	h := built(t)
	for target, want := range map[string]string{"/" + script: "public, max-age=31536000, immutable", "/icon.svg": "no-cache", "/": "no-cache"} {
		answer := ask(t, h, http.MethodGet, target)
		if got := answer.Header().Get("Cache-Control"); answer.Code != 200 || got != want {
			t.Errorf("GET %s: got %d, cache %q, want 200, %q", target, answer.Code, got, want)
		}
		again := ask(t, h, http.MethodGet, target, "If-None-Match", answer.Header().Get("ETag"))
		if again.Code != http.StatusNotModified || again.Body.Len() != 0 || again.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("GET %s again: got %d with %d bytes, want 304 and the policy", target, again.Code, again.Body.Len())
		}
	}
	gone := ask(t, h, http.MethodGet, "/assets/app-old.js")
	if gone.Code != 404 || strings.Contains(gone.Body.String(), "<") || gone.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("an asset that is not there: got %d %q, want 404 without a page, not to be kept", gone.Code, gone.Body)
	}
}

func TestWhoeverUnderstandsItGetsItCompressed(t *testing.T) {
	t.Parallel()
	h := built(t)
	tags := map[string]string{}
	for accepted, want := range map[string]string{
		"": "", "gzip, deflate, br, zstd": "br", "gzip": "gzip", "GZIP;q=0.5": "gzip", "br;q=0, gzip": "gzip", "br;q=0": "", "br;q=x": "", "identity": "", "brother": "",
	} {
		answer := ask(t, h, http.MethodGet, "/"+script, "Accept-Encoding", accepted)
		got, body := answer.Header().Get("Content-Encoding"), answer.Body.String()
		if answer.Code != 200 || got != want || answer.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: got %d coded %q, want 200 coded %q", accepted, answer.Code, got, want)
		}
		switch want {
		case "br":
			if body != "brotli of it" || answer.Header().Get("Content-Length") != "12" {
				t.Errorf("%q: got %q of %s bytes, want what the build compressed", accepted, body, answer.Header().Get("Content-Length"))
			}
		case "gzip":
			body = unzip(t, answer.Body)
			fallthrough
		default:
			if body != code {
				t.Errorf("%q: got %.40q, want the script", accepted, body)
			}
		}
		if tag := answer.Header().Get("ETag"); tags[want] != "" && tags[want] != tag {
			t.Errorf("%q: got tag %s and %s of the same bytes", accepted, tag, tags[want])
		} else {
			tags[want] = tag
		}
	}
	if tags[""] == tags["br"] || tags["br"] == tags["gzip"] || tags[""] == tags["gzip"] {
		t.Errorf("got tags %v, want one for each coding", tags)
	}
	small := ask(t, h, http.MethodGet, "/icon.svg", "Accept-Encoding", "gzip")
	if small.Header().Get("Content-Encoding") != "" {
		t.Error("got a tiny file compressed, want it as it is")
	}
}

func unzip(t *testing.T, r io.Reader) string {
	t.Helper()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPartsAreOfTheFileAsItIs(t *testing.T) {
	t.Parallel()
	answer := ask(t, built(t), http.MethodGet, "/"+script, "Range", "bytes=7-11", "Accept-Encoding", "br, gzip")
	if answer.Code != http.StatusPartialContent || answer.Body.String() != code[7:12] || answer.Header().Get("Content-Encoding") != "" {
		t.Errorf("got %d %q coded %q, want 206 %q", answer.Code, answer.Body, answer.Header().Get("Content-Encoding"), code[7:12])
	}
}

func TestEveryAnswerHasAStrictPolicy(t *testing.T) {
	t.Parallel()
	h := built(t)
	for _, target := range []string{"/", "/" + script, "/nothing", "/assets/nothing"} {
		header := ask(t, h, http.MethodGet, target).Header()
		policy := header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(policy, "unsafe") {
			t.Errorf("GET %s: policy is %q, want one that starts from nothing and allows nothing unsafe", target, policy)
		}
		for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Permissions-Policy"} {
			if header.Get(name) == "" {
				t.Errorf("GET %s: got no %s", target, name)
			}
		}
	}
}

func TestHostilePathsGetNothing(t *testing.T) {
	t.Parallel()
	h := built(t)
	for _, target := range []string{
		"/../web.go", "/assets/../../web.go", "/assets/..", "/assets/", "//etc/passwd", "/assets//" + path.Base(script), "/%2e%2e/web.go", "/\x00", "/assets/\x00.js",
		"/index.html.br", "/" + script + ".br", "/" + strings.Repeat("a/", 5000), `/..\web.go`, "/<script>alert(1)</script>",
	} {
		answer := ask(t, h, http.MethodGet, target)
		if answer.Code == http.StatusOK || strings.Contains(answer.Body.String(), "package web") || strings.Contains(answer.Body.String(), "alert") {
			t.Errorf("GET %.40q: got %d %.80q, want nothing of it", target, answer.Code, answer.Body)
		}
	}
	if answer := ask(t, h, http.MethodPost, "/rollouts"); answer.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d, want 405", answer.Code)
	}
}

func TestAConsoleWithoutItsPageIsNone(t *testing.T) {
	t.Parallel()
	if _, err := web.Of(fstest.MapFS{script: {Data: []byte(code)}}); err == nil {
		t.Error("got no error, want that there is no index.html")
	}
}

// What is embedded keeps to the policy that it is served with.
func TestTheBuiltConsoleHasNoInlineCodeAndLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	served := ask(t, web.Handler(), http.MethodGet, "/")
	if served.Code != 200 {
		t.Fatalf("GET /: got %d, want 200", served.Code)
	}
	foreign := regexp.MustCompile(`(?:src|href)="(?:https?:)?//|url\(["']?(?:https?:)?//|@import`)
	err := fs.WalkDir(os.DirFS("dist"), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path.Join("dist", name))
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".html") {
			for _, inline := range []string{"<script>", "<style", " style=", " onclick=", " onload=", "javascript:"} {
				if bytes.Contains(data, []byte(inline)) {
					t.Errorf("%s has %q, which the policy forbids", name, inline)
				}
			}
		}
		if found := foreign.Find(data); found != nil && path.Ext(name) != ".br" && path.Ext(name) != ".gz" {
			t.Errorf("%s has %q, want nothing from elsewhere", name, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
