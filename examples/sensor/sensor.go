package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/examples/sensor/detection"
)

// sensor matches events with the content it loaded last.
type sensor struct {
	dir     string
	log     *slog.Logger
	content atomic.Pointer[detection.Content] // nil while idle; written by the event loop, read by handlers too
}

// run serves HTTP on the listener and matches one event every interval until ctx ends. It loads the content again for
// every value from reload. The event loop is the caller's goroutine, so that nothing stands between a panic of the
// engine and the process; the one goroutine started here ends with the server, which run shuts down.
func (s *sensor) run(ctx context.Context, listener net.Listener, every time.Duration, reload <-chan os.Signal) error {
	server := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second}
	defer server.Close()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	s.log.InfoContext(ctx, "sensor started", slog.String("addr", listener.Addr().String()))

	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := uint64(0); ; {
		select {
		case <-ctx.Done():
			s.log.InfoContext(ctx, "sensor stopped")
			return nil
		case err := <-served:
			return err
		case <-reload:
			s.load(ctx)
		case <-ticker.C:
			s.match(ctx, n)
			n++
		}
	}
}

// load reads the content directory. No content is a state like any other: the sensor idles. Content that cannot be
// parsed changes nothing: the old stays in use.
func (s *sensor) load(ctx context.Context) {
	content, err := detection.Load(s.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.content.Store(nil)
		s.log.InfoContext(ctx, "no content, idling", slog.String("dir", s.dir))
	case err != nil:
		s.log.ErrorContext(ctx, "content not loaded, keeping what there was", slog.String("error", err.Error()))
	default:
		s.content.Store(content)
		s.log.InfoContext(ctx, "content loaded", slog.String("digest", content.Digest),
			slog.Int("rules", len(content.Rules)), slog.Int("fields", content.Fields))
	}
}

// match meets the n-th event. It dies with the process if the content is defective.
func (s *sensor) match(ctx context.Context, n uint64) {
	content := s.content.Load()
	if content == nil {
		return
	}
	event := detection.Generate(n)
	for _, rule := range content.Match(&event) {
		s.log.InfoContext(ctx, "detection", slog.String("rule", rule), slog.Uint64("event", n))
	}
}

// loadedBody is the body of GET /loaded.
type loadedBody struct {
	File   string `json:"file"`
	Digest string `json:"digest"` // of the file's bytes as they were loaded; empty while idle
}

func (s *sensor) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /loaded", func(w http.ResponseWriter, r *http.Request) {
		body := loadedBody{File: detection.File}
		if content := s.content.Load(); content != nil {
			body.Digest = content.Digest
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(body); err != nil {
			s.log.WarnContext(r.Context(), "answer not written", slog.String("error", err.Error()))
		}
	})
	return mux
}
