package servertest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// Answer is what came back.
type Answer struct {
	StatusCode int
	Header     http.Header
	Length     int64 // Content-Length; -1 if it was not said
}

// Send sends a request and reads the whole answer.
func Send(t testing.TB, method, url, body string, header map[string]string) (Answer, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		request.Header.Set(k, v)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{answer.StatusCode, answer.Header, answer.ContentLength}, string(data)
}
