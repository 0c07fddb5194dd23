package web_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/web"
)

func get(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	web.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return answer
}

func TestConsoleServesItsFilesUnderAStrictPolicy(t *testing.T) {
	t.Parallel()
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/console/app.js": "text/javascript; charset=utf-8", "/console/style.css": "text/css; charset=utf-8",
		"/console/icon.svg": "image/svg+xml",
	} {
		answer := get(t, path)
		if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != kind {
			t.Errorf("GET %s: got %d %s, want 200 %s", path, answer.Code, answer.Header().Get("Content-Type"), kind)
		}
		policy := answer.Header().Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("GET %s: policy is %q, want one that starts from nothing and allows nothing unsafe", path, policy)
		}
	}
}

func TestConsoleServesNothingElse(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/other", "/console/", "/console/nothing.js", "/console/..%2fweb.go", "/console/%2e%2e"} {
		if answer := get(t, path); answer.Code == http.StatusOK {
			t.Errorf("GET %s: got 200, want a refusal", path)
		}
	}
}

func TestConsoleHasNoInlineCodeAndLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	page := get(t, "/").Body.String()
	for _, inline := range []string{`<script>`, `<style`, ` style=`, ` onclick=`, `javascript:`} {
		if strings.Contains(page, inline) {
			t.Errorf("the page has %q, which the policy forbids", inline)
		}
	}
	foreign := regexp.MustCompile(`https?://[^"' )]*`)
	for _, path := range []string{"/", "/console/app.js", "/console/style.css"} {
		for _, url := range foreign.FindAllString(get(t, path).Body.String(), -1) {
			if url != "http://www.w3.org/2000/svg" { // a name, not a place
				t.Errorf("%s names %s, want nothing from elsewhere", path, url)
			}
		}
	}
	if code := get(t, "/console/app.js").Body.String(); strings.Contains(code, "innerHTML") || strings.Contains(code, "localStorage") {
		t.Error("the script uses innerHTML or localStorage; want text nodes and a token that ends with the tab")
	}
}
