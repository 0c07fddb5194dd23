// Package web is the console: one read-only page for people who want to watch rollouts in a browser.
//
// The page is static and embedded. It asks for an operator token, keeps it in the tab's session storage only, and reads the
// operators' API with it; it can do nothing that the API does not allow, and it loads nothing from anywhere else.
package web

import (
	"bytes"
	"embed"
	"net/http"
	"path"
	"time"
)

//go:embed console
var console embed.FS

// policy forbids everything that the page does not need: scripts and styles come from its own files, data from its own server.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// Handler serves the page at / and its files under /console/.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { serve(w, r, "index.html") })
	mux.HandleFunc("GET /console/{file}", func(w http.ResponseWriter, r *http.Request) { serve(w, r, r.PathValue("file")) })
	return mux
}

func serve(w http.ResponseWriter, r *http.Request, name string) {
	data, err := console.ReadFile(path.Join("console", path.Base(name)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}
