package ingest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
)

// BenchmarkCheckInUnchanged is a check-in of an endpoint that changed nothing, handled in this process without TLS. Compare it with
// BenchmarkTrivialHandler of the same run.
func BenchmarkCheckInUnchanged(b *testing.B) {
	w := open(b)
	h := w.enrolled()
	h.checkIn(full())
	serve(b, w.ingest.Handler(), h.chain())
}

// BenchmarkTrivialHandler answers as many bytes as an unchanged check-in does, and does nothing else.
func BenchmarkTrivialHandler(b *testing.B) {
	w := open(b)
	h := w.enrolled()
	h.checkIn(full())
	size := answered(b, w.ingest.Handler(), request(h.chain())).Body.Len()
	body := bytes.Repeat([]byte("x"), size)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathCheckIn, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	serve(b, mux, h.chain())
}

// serve makes a request and an answer for each round, as a server does.
func serve(b *testing.B, handler http.Handler, chain []*x509.Certificate) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		answered(b, handler, request(chain))
	}
}

// request is an unchanged check-in as it comes out of a TLS connection.
func request(chain []*x509.Certificate) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, api.PathCheckIn, bytes.NewReader([]byte("{}")))
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{chain}}
	return r
}

func answered(tb testing.TB, handler http.Handler, r *http.Request) *httptest.ResponseRecorder {
	tb.Helper()
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, r)
	if answer.Code != http.StatusOK {
		tb.Fatalf("got %d %s, want 200", answer.Code, answer.Body)
	}
	return answer
}
