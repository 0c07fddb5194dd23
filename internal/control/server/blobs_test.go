package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// piece sends a piece of an upload.
func piece(t *testing.T, w *servertest.World, id, contentRange, body string) (servertest.Answer, string) {
	t.Helper()
	return servertest.Send(t, http.MethodPatch, w.URL+"/api/v1/uploads/"+id, body,
		map[string]string{"Authorization": "Bearer " + w.Token, "Content-Range": contentRange})
}

func begin(t *testing.T, w *servertest.World, content string) api.Upload {
	t.Helper()
	answer, body := w.Do("POST", "/api/v1/uploads", fmt.Sprintf(`{"digest":%q,"size":%d}`, release.DigestOf([]byte(content)), len(content)))
	var u api.Upload
	if err := json.Unmarshal([]byte(body), &u); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s, want an upload", answer.StatusCode, body)
	}
	if got := answer.Header.Get(api.UploadOffset); got != strconv.FormatInt(u.Offset, 10) {
		t.Errorf("got offset %q in the header, want %d as in the body", got, u.Offset)
	}
	return u
}

func TestUploadsInPieces(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	u := begin(t, w, "0123456789")
	if answer, body := piece(t, w, u.ID, "bytes 0-3/10", "0123"); answer.StatusCode != http.StatusOK || answer.Header.Get(api.UploadOffset) != "4" {
		t.Errorf("got %d %s, want 200 at 4", answer.StatusCode, body)
	}
	if again := begin(t, w, "0123456789"); again.ID != u.ID || again.Offset != 4 || again.Complete {
		t.Errorf("got %+v, want the same at 4", again)
	}
	if answer, _ := w.Do("HEAD", "/api/v1/uploads/"+u.ID, ""); answer.Header.Get(api.UploadOffset) != "4" {
		t.Errorf("got offset %q by HEAD, want 4", answer.Header.Get(api.UploadOffset))
	}
	for contentRange, want := range map[string]int{
		"bytes 0-3/10": 409, "bytes 5-8/10": 409, "bytes 4-7/11": 400, "bytes 4-8/10": 400, "bytes */10": 400, "": 400, "bytes 4-99/10": 400,
	} {
		answer, body := piece(t, w, u.ID, contentRange, "4567")
		if answer.StatusCode != want || want == 409 && answer.Header.Get(api.UploadOffset) != "4" {
			t.Errorf("%q: got %d at %q: %s, want %d", contentRange, answer.StatusCode, answer.Header.Get(api.UploadOffset), body, want)
		}
	}
	answer, body := piece(t, w, u.ID, "bytes 4-9/10", "456789")
	if answer.StatusCode != http.StatusOK || !strings.Contains(body, `"complete":true`) {
		t.Errorf("got %d %s, want it complete", answer.StatusCode, body)
	}
	if _, body := w.Do("GET", "/api/v1/blobs/"+u.Digest, ""); body != "0123456789" {
		t.Errorf("got %q stored, want what was uploaded", body)
	}
	if done := begin(t, w, "0123456789"); !done.Complete || done.Offset != 10 {
		t.Errorf("got %+v, want to be told that it is there", done)
	}
	if answer, _ := piece(t, w, u.ID, "bytes 0-3/10", "0123"); answer.StatusCode != http.StatusNotFound {
		t.Errorf("got %d for an upload that is over, want 404", answer.StatusCode)
	}
}

func TestUploadsAreCancelledAndJudged(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	u := begin(t, w, "0123456789")
	if answer, body := piece(t, w, u.ID, "bytes 0-9/10", "9876543210"); answer.StatusCode != http.StatusBadRequest || !strings.Contains(body, "digest") {
		t.Errorf("got %d %s for other bytes, want 400", answer.StatusCode, body)
	}
	u = begin(t, w, "0123456789")
	if u.Offset != 0 {
		t.Errorf("got offset %d after other bytes, want to begin anew", u.Offset)
	}
	for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		if answer, body := w.Do("DELETE", "/api/v1/uploads/"+u.ID, ""); answer.StatusCode != want {
			t.Errorf("got %d %s, want %d", answer.StatusCode, body, want)
		}
	}
	for _, body := range []string{
		``, `{}`, `[]`, `{"digest":"sha256:00","size":1}`, `{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":0}`,
		`{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":99999999999}`, `{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":1,"x":1}`,
	} {
		if answer, got := w.Do("POST", "/api/v1/uploads", body); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %d %s, want 400", body, answer.StatusCode, got)
		}
	}
}

// A publisher asks by HEAD, does not send what is there, and publishes later: garbage collection must leave the blob alone until then.
func TestWhoAsksForABlobMakesItYoung(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	d := release.DigestOf([]byte("old"))
	if err := w.Blobs.Put(t.Context(), d, 3, strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	w.Pass(10)
	if answer, _ := w.Do("HEAD", "/api/v1/blobs/"+string(d), ""); answer.StatusCode != http.StatusOK {
		t.Fatalf("got %d, want 200", answer.StatusCode)
	}
	for info, err := range w.Blobs.List(t.Context()) {
		if err != nil || !info.Put.After(servertest.Start()) {
			t.Errorf("got %+v, %v, want it as young as the question", info, err)
		}
	}
}

// A rollout of a release whose artifact is gone is refused before anybody is exposed to it.
func TestARolloutNeedsItsArtifacts(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	p := w.Publish("sensor-content", "1")
	if err := w.Blobs.Remove(t.Context(), p.Manifest.Artifacts[0].Digest); err != nil {
		t.Fatal(err)
	}
	answer, body := w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	if answer.StatusCode != http.StatusConflict || !strings.Contains(body, "Publish the same content again") {
		t.Errorf("got %d %s, want a conflict and what to do", answer.StatusCode, body)
	}
}

// Clients of registries authenticate with a user and a password, of which the password is a token.
func TestTheRegistryNeedsAToken(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	get := func(password string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			request.SetBasicAuth("anybody", password)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, answer.Header.Get("WWW-Authenticate")
	}
	if status, _ := get(w.Token); status != http.StatusOK {
		t.Errorf("got %d with a token, want 200", status)
	}
	for _, wrong := range []string{"", "wrong"} {
		if status, challenge := get(wrong); status != http.StatusUnauthorized || !strings.HasPrefix(challenge, "Basic ") {
			t.Errorf("got %d and %q with %q, want 401 and a Basic challenge", status, challenge, wrong)
		}
	}
}

func FuzzUpload(f *testing.F) {
	w := servertest.Open(f, nil)
	send := func(t *testing.T, method, path, contentRange string, body []byte) int {
		request, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+w.Token)
		if strings.Trim(contentRange, "0123456789bytes /-*") == "" {
			request.Header.Set("Content-Range", contentRange)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
	f.Add([]byte(`{"digest":"sha256:`+strings.Repeat("a", 64)+`","size":10}`), "bytes 0-3/10")
	f.Add([]byte(`{"digest":"`+string(release.DigestOf([]byte("x")))+`","size":1}`), "bytes 0-0/1")
	f.Add([]byte(`{"size":-1}`), "bytes 9-1/1")
	f.Fuzz(func(t *testing.T, body []byte, contentRange string) {
		var wanted api.NewUpload
		_ = json.Unmarshal(body, &wanted)
		id := strings.TrimPrefix(wanted.Digest, "sha256:") + "-" + strconv.FormatInt(wanted.Size, 10)
		first := send(t, http.MethodPost, "/api/v1/uploads", "", body)
		second := http.StatusNotFound
		if strings.Trim(id, "0123456789abcdef-") == "" {
			second = send(t, http.MethodPatch, "/api/v1/uploads/"+id, contentRange, body)
		}
		for _, status := range []int{first, second} {
			switch status {
			case http.StatusOK, http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable:
			default:
				t.Errorf("%q, %q: got %d", body, contentRange, status)
			}
		}
	})
}
