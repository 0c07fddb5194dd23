package ingest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
)

// FuzzDownload asks for an artifact with any headers, and for any path below it: it is served, or refused as the sender's fault.
func FuzzDownload(f *testing.F) {
	w := open(f)
	h := w.enrolled()
	handler, chain := w.ingest.Handler(), h.chain()
	digest := string(w.put("content of an artifact"))
	f.Add(digest, "bytes=0-0,1-1", "zstd;q=0.5, dcz", ":AAAA:", `"x"`)
	f.Add(digest, "bytes=-1", "dcz", "", "*")
	f.Add("sha256:..", "", "", "", "")
	f.Fuzz(func(t *testing.T, path, ranges, accept, dictionary, match string) {
		for _, prefix := range []string{api.PathArtifacts, api.PathDeltas, api.PathDirectives, api.PathTUF} {
			r := request(chain)
			r.Method, r.URL.Path = http.MethodGet, prefix+path
			r.Header = http.Header{"Range": {ranges}, "Accept-Encoding": {accept}, "Available-Dictionary": {dictionary}, "If-None-Match": {match}}
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, r)
			if answer.Code >= 500 {
				t.Errorf("%s%q: got %d %s", prefix, path, answer.Code, answer.Body)
			}
		}
	})
}

// FuzzRenew sends anything as a request for a new certificate: nobody gets one for another key.
func FuzzRenew(f *testing.F) {
	w := open(f)
	h, other := w.enrolled(), w.enrolled()
	handler, chain := w.ingest.Handler(), h.chain()
	seeds(f, api.RenewRequest{CSR: h.csr()}, api.RenewRequest{CSR: other.csr()})
	f.Fuzz(func(t *testing.T, body []byte) {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, sent(api.PathRenew, body, chain))
		if answer.Code >= 500 {
			t.Errorf("got %d %s", answer.Code, answer.Body)
		}
	})
}
