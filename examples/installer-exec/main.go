// Command installer-exec is an installer for Firebreak's kind exec, as a stranger would write it: it knows the protocol and nothing else.
//
// It installs documents. An artifact is one file; it is kept as slots/<slot>/<name> below the component's directory, and readers find the
// one in use through the link "current". Switching is one rename, so that a reader finds the old document or the new one at any moment,
// and a kill at any moment leaves one of them in use.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// protocol is the version that this program speaks.
const protocol = 1

type request struct {
	Protocol int    `json:"protocol"`
	Method   string `json:"method"`
	Dir      string `json:"dir"`
	Slot     string `json:"slot"`
	Back     string `json:"back"`
	Artifact struct {
		Path   string `json:"path"`
		Format string `json:"format"`
		Name   string `json:"name"`
	} `json:"artifact"`
	Keep []string `json:"keep"`
}

type reply struct {
	Protocol int     `json:"protocol"`
	Result   *result `json:"result,omitempty"`
	Error    *failed `json:"error,omitempty"`
}

type result struct {
	Current  string   `json:"current,omitempty"`
	Previous string   `json:"previous,omitempty"`
	Slots    []string `json:"slots,omitempty"`
}

// failed is an error with the kind that Firebreak goes by.
type failed struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (f *failed) Error() string { return f.Message }

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "installer-exec:", err)
		os.Exit(1)
	}
}

// serve answers one request.
func serve(in io.Reader, out io.Writer) error {
	var r request
	answer := reply{Protocol: protocol}
	err := json.NewDecoder(in).Decode(&r) // fields that are new are none of our business as long as the protocol is the same
	switch {
	case err != nil:
		err = &failed{Kind: "invalid", Message: "read the request: " + err.Error()}
	case r.Protocol != protocol:
		err = &failed{Kind: "invalid", Message: fmt.Sprintf("protocol %d is not known", r.Protocol), Hint: "use protocol 1"}
	default:
		answer.Result, err = handle(place(r.Dir), r)
	}
	if err != nil {
		var why *failed
		if !errors.As(err, &why) {
			why = &failed{Kind: "unavailable", Message: err.Error()} // of the disk: may pass
		}
		answer.Result, answer.Error = nil, why
	}
	return json.NewEncoder(out).Encode(answer)
}

func handle(p place, r request) (*result, error) {
	if err := os.MkdirAll(p.slots(), 0o755); err != nil { //nolint:gosec // readers run as other users
		return nil, err
	}
	done := &result{}
	switch r.Method {
	case "stage":
		return done, p.stage(r)
	case "check":
		return done, p.staged(r.Slot)
	case "activate":
		return done, p.activate(r.Slot, r.Back)
	case "revert":
		return done, p.revert(r.Slot)
	case "inspect":
		return p.inspect()
	case "collect":
		return done, p.collect(r.Keep)
	default:
		return nil, &failed{Kind: "invalid", Message: fmt.Sprintf("method %q is not known", r.Method)}
	}
}

// place is the component's directory.
type place string

func (p place) slots() string            { return filepath.Join(string(p), "slots") }
func (p place) slot(name string) string  { return filepath.Join(p.slots(), name) }
func (p place) link(name string) string  { return filepath.Join(string(p), name) }
func (p place) staging(r request) string { return filepath.Join(p.slots(), ".stage-"+r.Slot) }

// stage copies the document into a slot of its own. The slot appears by a rename: it is there as a whole or not at all.
func (p place) stage(r request) error {
	if r.Artifact.Format != "file" {
		return &failed{Kind: "invalid", Message: "an artifact must be one file, and is " + r.Artifact.Format}
	}
	if p.staged(r.Slot) == nil {
		return nil
	}
	tmp := p.staging(r)
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil { //nolint:gosec // readers run as other users
		return err
	}
	if err := copyFile(r.Artifact.Path, filepath.Join(tmp, r.Artifact.Name)); err != nil {
		return err
	}
	if err := sync(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, p.slot(r.Slot)); err != nil {
		return err
	}
	return sync(p.slots())
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444) //nolint:gosec // readers run as other users
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// sync makes the names in a directory durable.
func sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// staged says that a slot is not there.
func (p place) staged(slot string) error {
	if info, err := os.Lstat(p.slot(slot)); err != nil || !info.IsDir() || slot == "" {
		return &failed{Kind: "not_found", Message: fmt.Sprintf("no slot %q is staged", slot)}
	}
	return nil
}

// activate makes the way back first. After that, whenever it is killed, one of the two is in use.
func (p place) activate(slot, back string) error {
	if err := p.staged(slot); err != nil {
		return err
	}
	if err := p.point("back", back); err != nil {
		return err
	}
	return p.point("current", slot)
}

// revert goes back; to no slot means to take the document away.
func (p place) revert(slot string) error {
	if slot != "" {
		if err := p.staged(slot); err != nil {
			return err
		}
	}
	if p.target("current") != slot {
		if err := p.point("current", slot); err != nil {
			return err
		}
	}
	return p.point("back", slot)
}

// point makes a link lead to a slot, in one step; to no slot removes it.
func (p place) point(name, slot string) error {
	if slot == "" {
		if err := os.Remove(p.link(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return sync(string(p))
	}
	tmp := p.link(name + ".tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Join("slots", slot), tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, p.link(name)); err != nil {
		return err
	}
	return sync(string(p))
}

// target is the slot that a link leads to, or "".
func (p place) target(name string) string {
	to, err := os.Readlink(p.link(name))
	if slot := filepath.Base(to); err == nil && p.staged(slot) == nil {
		return slot
	}
	return ""
}

func (p place) inspect() (*result, error) {
	entries, err := os.ReadDir(p.slots())
	if err != nil {
		return nil, err
	}
	found := &result{Current: p.target("current")}
	if back := p.target("back"); back != found.Current && found.Current != "" {
		found.Previous = back
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			found.Slots = append(found.Slots, e.Name())
		}
	}
	return found, nil
}

// collect removes slots that nobody needs, and what a killed call left behind.
func (p place) collect(keep []string) error {
	entries, err := os.ReadDir(p.slots())
	if err != nil {
		return err
	}
	keep = append(keep, p.target("current"), p.target("back"))
	for _, e := range entries {
		if slices.Contains(keep, e.Name()) {
			continue
		}
		trash := p.slot(".trash-" + strings.TrimLeft(e.Name(), "."))
		if err := os.Rename(p.slot(e.Name()), trash); err != nil {
			return err
		}
		if err := os.RemoveAll(trash); err != nil {
			return err
		}
	}
	return nil
}
