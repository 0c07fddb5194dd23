// Package web serves the console: the built application of the folder console, embedded.
//
// The application is a pure client of the operators' API. It is static, the same for everybody and without secrets, so that it needs no
// token; it loads nothing from anywhere else, and its policy lets it load nothing from there. It is served while the control plane is only
// starting, too.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed all:dist
var dist embed.FS

// policy forbids everything that the console does not need: scripts, styles and pictures come from its own files, data from its own server.
// Forms are never sent by the browser itself: where the script does not run, a token that was typed goes nowhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'none'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// permissions denies what a page could ask of a browser and this one never does.
const permissions = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=(), serial=(), midi=()"

// Assets have their digest in their names and never change.
const (
	assets    = "assets/"
	immutable = "public, max-age=31536000, immutable"
)

// index is the application's page; it is the same for all its paths.
const index = "index.html"

// pages are the paths of the application. It looks itself at what stands in them.
func pages() []string {
	return []string{
		"/{$}", "/rollouts", "/rollouts/{id}", "/releases", "/releases/{component}/{version}", "/fleet", "/endpoints/{id}",
		"/incidents", "/incidents/{id}", "/plans", "/plans/{name}", "/holds", "/audit",
	}
}

// Handler serves the console. It answers every path: with a file, with the application, or with the application's word that there is no
// such page.
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err == nil {
		var h http.Handler
		if h, err = Of(files); err == nil {
			return h
		}
	}
	panic(fmt.Sprintf("web: what is embedded cannot be read: %v", err)) // a test looks
}

// Of serves a built console. Beside a file there may be one with .br or .gz at the end of its name, compressed: whoever understands that
// gets it. What is not there so is compressed with gzip when it is asked for first.
func Of(built fs.FS) (http.Handler, error) {
	files, err := load(built)
	if err != nil {
		return nil, err
	}
	page, ok := files[index]
	if !ok {
		return nil, fmt.Errorf("serve the console: it has no %s", index)
	}
	mux := http.NewServeMux()
	for _, pattern := range pages() {
		mux.HandleFunc("GET "+pattern, page.serve)
	}
	for name, f := range files {
		if name != index {
			mux.HandleFunc("GET /"+name, f.serve)
		}
	}
	mux.HandleFunc("GET /"+assets, http.NotFound) // a page in place of a script says nothing to a browser
	mux.HandleFunc("GET /", page.missing)
	return secured(mux), nil
}

// secured puts on every answer what a browser must know of it.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": permissions,
			"Cache-Control": "no-store",
		} {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}

// file is one file of the console, and what it becomes compressed.
type file struct {
	kind   string // media type
	cache  string
	plain  coded
	brotli *coded        // nil: none
	zipped func() *coded // nil: it becomes no smaller
}

// coded is the bytes of a file in one coding.
type coded struct {
	coding string // empty: none
	data   []byte
	tag    string
}

func newCoded(coding string, data []byte) *coded {
	sum := sha256.Sum256(data)
	return &coded{coding, data, `"` + hex.EncodeToString(sum[:16]) + `"`}
}

// load reads a built console.
func load(built fs.FS) (map[string]*file, error) {
	all := map[string][]byte{}
	err := fs.WalkDir(built, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.HasPrefix(path.Base(name), ".") {
			all[name], err = fs.ReadFile(built, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the console: %w", err)
	}
	files := map[string]*file{}
	for name, data := range all {
		if extension := path.Ext(name); extension == ".br" || extension == ".gz" {
			if _, belongs := all[strings.TrimSuffix(name, extension)]; belongs {
				continue
			}
		}
		f := &file{kind: kindOf(name), cache: "no-cache", plain: *newCoded("", data)}
		if strings.HasPrefix(name, assets) {
			f.cache = immutable
		}
		if packed, has := all[name+".br"]; has {
			f.brotli = newCoded("br", packed)
		}
		f.zipped = sync.OnceValue(func() *coded {
			if packed, has := all[name+".gz"]; has {
				return newCoded("gzip", packed)
			}
			return zip(data)
		})
		files[name] = f
	}
	return files, nil
}

// kindOf is a file's media type. What the machine thinks of file names does not count.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".ico":
		return "image/x-icon"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".webmanifest":
		return "application/manifest+json"
	}
	return "application/octet-stream"
}

// zip compresses; nil if that makes nothing smaller.
func zip(data []byte) *coded {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(data)
	if err != nil || w.Close() != nil || packed.Len() >= len(data) {
		return nil
	}
	return newCoded("gzip", packed.Bytes())
}

// in picks what a request can read. Whoever asks for a part means a part of the file as it is.
func (f *file) in(r *http.Request) *coded {
	if r.Header.Get("Range") != "" {
		return &f.plain
	}
	accepted := strings.Join(r.Header.Values("Accept-Encoding"), ",")
	if f.brotli != nil && accepts(accepted, "br") {
		return f.brotli
	}
	if accepts(accepted, "gzip") {
		if packed := f.zipped(); packed != nil {
			return packed
		}
	}
	return &f.plain
}

// accepts tells whether a list of codings has one, by its name and with a weight above 0.
func accepts(list, coding string) bool {
	for one := range strings.SplitSeq(list, ",") {
		name, weight, _ := strings.Cut(one, ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		_, text, weighted := strings.Cut(weight, "=")
		q, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		return !weighted || err == nil && q > 0
	}
	return false
}

// serve answers with the file: whole, a part of it, or that it has not changed.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	c := f.in(r)
	f.describe(w, c)
	w.Header().Set("Cache-Control", f.cache)
	w.Header().Set("ETag", c.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.data))
}

// missing answers with the file too: the application says that there is no such page.
func (f *file) missing(w http.ResponseWriter, r *http.Request) {
	c := f.in(r)
	f.describe(w, c)
	w.WriteHeader(http.StatusNotFound)
	if r.Method != http.MethodHead {
		_, _ = w.Write(c.data)
	}
}

func (f *file) describe(w http.ResponseWriter, c *coded) {
	header := w.Header()
	header.Set("Content-Type", f.kind)
	header.Add("Vary", "Accept-Encoding")
	if c.coding != "" {
		header.Set("Content-Encoding", c.coding)
		header.Set("Content-Length", strconv.Itoa(len(c.data))) // nobody else says it of what is coded
	}
}
