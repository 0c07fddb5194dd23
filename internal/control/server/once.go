package server

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strconv"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Answers keeps what keyed requests were answered. *store.Store is one.
type Answers interface {
	// ClaimAnswer returns what was answered before, or nil if the request is to be carried out now. A key that another request had is
	// fault.Invalid, one whose request is under way fault.Conflict.
	ClaimAnswer(ctx context.Context, k store.Keyed) ([]byte, error)
	KeepAnswer(ctx context.Context, k store.Keyed, answer []byte) error
	ForgetAnswer(ctx context.Context, k store.Keyed) error
}

const (
	maxKey  = 200       // bytes of an Idempotency-Key
	maxKept = 256 << 10 // bytes of an answer that is kept
)

// once carries out a request with an Idempotency-Key once, however often it is sent: whoever sends it again gets the first answer.
// A request that could not be carried out now (it was refused for what the server is like, not for what the request is) is not counted.
func (s *server) once(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		if key == "" {
			next.ServeHTTP(w, r)
			return
		}
		k, err := s.keyed(r, key)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if urgent(r) {
			s.atOnce(w, r, k, next)
			return
		}
		kept, err := s.Tokens.ClaimAnswer(r.Context(), k)
		switch {
		case err != nil:
			s.unclaimed(w, r, err)
		case kept != nil:
			s.replay(w, r, k, kept)
		default:
			s.first(w, r, k, next)
		}
	})
}

// keyed is what the request is known by. Its body was received before.
func (s *server) keyed(r *http.Request, key string) (store.Keyed, error) {
	if len(key) > maxKey {
		return store.Keyed{}, fault.Problems("read headers", []fault.Problem{{
			Path: "Idempotency-Key", Message: fmt.Sprintf("has %d bytes; %d is the most", len(key), maxKey),
		}})
	}
	data, err := whole(r)
	if err != nil {
		return store.Keyed{}, err
	}
	r.Body = unread{bytes.NewReader(data)}
	sum := sha256.New()
	for _, part := range []string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("If-Match"), r.Header.Get("If-None-Match")} {
		fmt.Fprintf(sum, "%d %s\n", len(part), part)
	}
	sum.Write(data)
	return store.Keyed{Token: callerOf(r.Context()).token, Key: key, Sum: sum.Sum(nil), At: s.Clock.Now()}, nil
}

// unread is a body that was received.
type unread struct{ *bytes.Reader }

// Close implements [io.Closer].
func (unread) Close() error { return nil }

// atOnce carries out what ends harm before its key is looked at, and answers before anything is noted of it: a halt that comes twice halts,
// one that waits for the database does not. Only a refusal waits: nothing is left to be done then, and if it is because the same request
// was carried out before, its answer is given again.
func (s *server) atOnce(w http.ResponseWriter, r *http.Request, k store.Keyed, next http.Handler) {
	held := &heldAnswer{header: http.Header{}}
	next.ServeHTTP(held, r)
	refused := held.status == http.StatusConflict || held.status == http.StatusPreconditionFailed
	if !refused {
		held.send(w)
		_ = http.NewResponseController(w).Flush() // a writer without a connection is a test's
	}
	if held.transient() {
		return
	}
	ctx, enough := context.WithTimeout(context.WithoutCancel(r.Context()), s.Patience)
	defer enough()
	kept, err := s.Tokens.ClaimAnswer(ctx, k)
	if err == nil && kept == nil {
		err = s.settle(ctx, callerOf(ctx), k, held)
	}
	if err != nil {
		s.unkept(ctx, err)
	}
	switch {
	case refused && kept != nil:
		s.replay(w, r, k, kept)
	case refused:
		held.send(w)
	}
}

// unkept logs why an answer will not be given again.
func (s *server) unkept(ctx context.Context, err error) {
	level := slog.LevelError
	if kind := fault.KindOf(err); kind == fault.Conflict || kind == fault.Invalid {
		level = slog.LevelDebug // the key is another request's, or this one's that came twice at once
	}
	s.Log.Log(ctx, level, "answer not kept", slog.String("request_id", requestID(ctx)), slog.Any("error", err))
}

func (s *server) unclaimed(w http.ResponseWriter, r *http.Request, err error) {
	switch fault.KindOf(err) {
	case fault.Invalid:
		err = withStatus(http.StatusUnprocessableEntity, err)
	case fault.Conflict:
		w.Header().Set("Retry-After", "1")
	case fault.NotFound, fault.Denied, fault.Unavailable, fault.Internal:
	}
	s.fail(w, r, err)
}

// first carries out a request, and keeps its answer before it is given.
func (s *server) first(w http.ResponseWriter, r *http.Request, k store.Keyed, next http.Handler) {
	ctx, held := context.WithoutCancel(r.Context()), &heldAnswer{header: http.Header{}}
	done := false
	defer func() {
		if !done { // it panicked
			_ = s.Tokens.ForgetAnswer(ctx, k)
		}
	}()
	next.ServeHTTP(held, r)
	err := s.settle(ctx, callerOf(r.Context()), k, held)
	done = true
	if err != nil {
		s.unkept(ctx, err)
	}
	held.send(w)
}

// settle keeps an answer, or gives the key back if the request may be carried out later.
func (s *server) settle(ctx context.Context, who caller, k store.Keyed, held *heldAnswer) error {
	if held.transient() || held.body.Len() > maxKept {
		return s.Tokens.ForgetAnswer(ctx, k)
	}
	sealed, err := seal(who, k, keptAnswer{
		Status: held.status, Type: held.header.Get("Content-Type"), Tag: held.header.Get("ETag"), Body: held.body.Bytes(),
	})
	if err != nil {
		return err
	}
	return s.Tokens.KeepAnswer(ctx, k, sealed)
}

func (s *server) replay(w http.ResponseWriter, r *http.Request, k store.Keyed, sealed []byte) {
	kept, err := unseal(callerOf(r.Context()), k, sealed)
	if errors.Is(err, errSealed) {
		err = fault.New(fault.Conflict, "%s %s: it was carried out already, before this session began", r.Method, shorten(r.URL.Path)).
			Hint("Look at what there is now.")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	header := w.Header()
	header.Set("Idempotency-Replayed", "true")
	for name, value := range map[string]string{"Content-Type": kept.Type, "ETag": kept.Tag, "Content-Length": lengthOf(kept)} {
		if value != "" {
			header.Set(name, value)
		}
	}
	w.WriteHeader(kept.Status)
	_, _ = w.Write(kept.Body) // nobody is left to be told of an error
}

// keptAnswer is an answer as it is kept.
type keptAnswer struct {
	Status int    `json:"status"`
	Type   string `json:"type,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Body   []byte `json:"body,omitempty"`
}

// lengthOf is how long the body of an answer is; empty if it has none.
func lengthOf(kept keptAnswer) string {
	if len(kept.Body) == 0 {
		return ""
	}
	return strconv.Itoa(len(kept.Body))
}

// heldAnswer is an answer that is not sent yet. Its header has what the answer's gets beside what that has.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (h *heldAnswer) Header() http.Header { return h.header }

// WriteHeader implements [http.ResponseWriter].
func (h *heldAnswer) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

// Write implements [http.ResponseWriter].
func (h *heldAnswer) Write(data []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	return h.body.Write(data)
}

// transient tells whether it says that the request could not be carried out now.
func (h *heldAnswer) transient() bool {
	return h.status >= 500 || h.status == http.StatusTooManyRequests || h.status == http.StatusRequestTimeout
}

func (h *heldAnswer) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), h.header)
	w.WriteHeader(h.status)
	_, _ = w.Write(h.body.Bytes()) // nobody is left to be told of an error
}

// Kept answers are sealed with what only their receiver has, the secret of his token, because some hold a secret: that of a new token.
// The database, and a copy of it, show nothing.

// errSealed is for an answer that was given to somebody with another secret: the same token in another session.
var errSealed = errors.New("it is sealed with another secret")

func seal(who caller, k store.Keyed, answer keptAnswer) ([]byte, error) {
	data, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	box, err := boxOf(who, k)
	if err != nil {
		return nil, err
	}
	return box.Seal(nil, nil, data, k.Sum), nil //nolint:gosec // this cipher draws its nonce by itself, and wants none
}

func unseal(who caller, k store.Keyed, sealed []byte) (keptAnswer, error) {
	box, err := boxOf(who, k)
	if err != nil {
		return keptAnswer{}, err
	}
	data, err := box.Open(nil, nil, sealed, k.Sum)
	if err != nil {
		return keptAnswer{}, fmt.Errorf("open a kept answer: %w: %w", errSealed, err)
	}
	var answer keptAnswer
	if err := json.Unmarshal(data, &answer); err != nil {
		return keptAnswer{}, fmt.Errorf("read a kept answer: %w", err)
	}
	return answer, nil
}

// boxOf is the cipher of one key of one token. Its nonces are random.
func boxOf(who caller, k store.Keyed) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(who.secret), []byte(k.Key), "firebreak kept answer", 32)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	return box, nil
}
