//go:build unix

package launcher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/launcher"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// script is an agent: a real process that says its name on its output, and on descriptor 3 what agents say. $S is its state directory.
func script(name, check, run string) string {
	return fmt.Sprintf(`#!/bin/sh
S=$3
C=$S/components/firebreak-agent
if [ "$1" = check ]; then
	%s
fi
say() { echo "$1" >&3; }
echo "%s runs"
%s
`, check, name, run)
}

const (
	steady = `say ready; say checked; say alive; exec sleep 1000` // does all that is asked of it
	nothin = `exit 0`                                             // a check that finds nothing to do
)

// host is one with an agent good in use and a new one on trial.
type host struct {
	t       *testing.T
	root    string
	dir     slots.Dir
	options launcher.Options
	said    *journalOfWords
}

func newHost(t *testing.T, fresh string) *host {
	t.Helper()
	root := t.TempDir()
	h := &host{t: t, root: root, said: &journalOfWords{t: t, more: make(chan struct{})}}
	h.options = options(root)
	h.options.Log, h.options.Output = h.said.log, h.said
	h.dir = slots.Dir{FS: disk.OS{}, Path: filepath.Join(root, "agent", "components", launcher.Component)}
	h.write(h.options.Factory, script("factory", nothin, steady))
	h.install("good", script("good", nothin, steady))
	h.put("agent/identity/identity.json", "who I am")
	h.put("agent/components.d/sensor.yaml", "component: sensor")
	h.activate("good", "")
	if fresh != "" {
		h.install("new", fresh)
	}
	return h
}

// options are those of a launcher on the host whose files are below root.
func options(root string) launcher.Options {
	times := launcher.Defaults()
	times.MinPause, times.MaxPause = time.Millisecond, 5*time.Millisecond
	return launcher.Options{
		FS: disk.OS{}, AgentState: filepath.Join(root, "agent"), GuardDir: filepath.Join(root, "guard"), Factory: filepath.Join(root, "factory"),
		Args: []string{"run", "--state", filepath.Join(root, "agent")}, Env: []string{"PATH=" + os.Getenv("PATH"), "NOTIFY_SOCKET=/dev/null"},
		Book: book(filepath.Join(root, "book")), Clock: clock.Wall{}, Boot: "this-boot", Times: times,
	}
}

// write makes an executable. Another process does so: one that this process had open for writing could not be run while a third is
// being started.
func (h *host) write(path, text string) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), "/bin/sh", "-c", `mkdir -p "$(dirname "$1")" && cat > "$1" && chmod 755 "$1"`, "sh", path)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
}

func (h *host) install(slot slots.Slot, text string) {
	h.t.Helper()
	h.write(filepath.Join(h.dir.Slot(slot), launcher.Component), text)
}

func (h *host) put(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) get(name string) string {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.root, name))
	if err != nil {
		h.t.Error(err)
	}
	return string(data)
}

// activate does what an agent does: the book first, then the links.
func (h *host) activate(to, good string) {
	h.t.Helper()
	e := bootguard.Entry{Component: launcher.Component, Current: to, Good: to}
	if good != "" {
		e.Good, e.Pending = good, true
	}
	b := book(filepath.Join(h.root, "book"))
	if err := errors.Join(b.sync(e), h.dir.Make(), h.dir.Switch(slots.Slot(to), slots.Slot(good))); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) link() string {
	h.t.Helper()
	slot, err := h.dir.Target(slots.Current)
	if err != nil {
		h.t.Error(err)
	}
	return string(slot)
}

func (h *host) undone() []bootguard.Undone {
	h.t.Helper()
	p, err := book(filepath.Join(h.root, "book")).read()
	if err != nil {
		h.t.Error(err)
	}
	for i := range p.Undone {
		p.Undone[i].At = time.Time{}
	}
	return p.Undone
}

// launch runs a launcher until stop, or until the test ends.
func (h *host) launch() (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := launcher.Run(ctx, h.options); err != nil {
			h.t.Errorf("run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	h.t.Cleanup(stop)
	return stop
}

// keepGood runs the good agent until the launcher has kept what it keeps.
func (h *host) keepGood() {
	h.t.Helper()
	stop := h.launch()
	h.said.await("kept the agent of slot good")
	stop()
	h.said.forget()
}

// journalOfWords gathers what agents and launcher say, and lets tests wait for it.
type journalOfWords struct {
	t    *testing.T
	mu   sync.Mutex
	text string
	more chan struct{} // closed when there is more
}

func (j *journalOfWords) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text += string(p)
	close(j.more)
	j.more = make(chan struct{})
	return len(p), nil
}

func (j *journalOfWords) log(format string, args ...any) {
	_, _ = fmt.Fprintf(j, format+"\n", args...)
}

func (j *journalOfWords) count(what string) (int, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text, what), j.more
}

func (j *journalOfWords) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = ""
}

// await waits until something was said; more than once if times says so.
func (j *journalOfWords) await(what string, times ...int) {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(j.t.Context(), 30*time.Second)
	defer cancel()
	for {
		n, more := j.count(what)
		if n >= max(1, slices.Max(append(times, 0))) {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			j.mu.Lock()
			defer j.mu.Unlock()
			j.t.Fatalf("waited in vain for %q; said was:\n%s", what, j.text)
		}
	}
}

// book is a book in a file, by its path.
type book string

type pages struct {
	Entries []bootguard.Entry
	Undone  []bootguard.Undone
}

var _ launcher.Book = book("")

func (b book) read() (p pages, err error) {
	data, err := os.ReadFile(string(b))
	if errors.Is(err, fs.ErrNotExist) {
		return pages{}, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	return p, err
}

func (b book) write(p pages) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return disk.WriteFile(disk.OS{}, string(b), data, 0o600)
}

func (b book) sync(e bootguard.Entry) error {
	p, err := b.read()
	if err != nil {
		return err
	}
	p.Entries = []bootguard.Entry{e}
	return b.write(p)
}

func (b book) Entries() ([]bootguard.Entry, error) {
	p, err := b.read()
	return p.Entries, err
}

func (b book) Undid(u bootguard.Undone) error {
	p, err := b.read()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(p.Undone, func(o bootguard.Undone) bool { return o.From == u.From }) {
		p.Undone = append(p.Undone, u)
	}
	return b.write(p)
}

// leaping is a clock that leaps back and forth by years whenever it is asked, and waits as any other.
type leaping struct {
	clock.Wall
	mu     sync.Mutex
	random *rand.Rand
}

func (c *leaping) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(c.random.Int64N(1<<34), 0)
}

// recorded is a clock that remembers what it was asked to wait.
type recorded struct {
	clock.Wall
	mu    sync.Mutex
	slept []time.Duration
}

func (c *recorded) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.slept = append(c.slept, d)
	c.mu.Unlock()
	return c.Wall.Sleep(ctx, d)
}

func (c *recorded) all() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.slept)
}
