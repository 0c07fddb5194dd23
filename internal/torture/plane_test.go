//go:build unix

package torture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// plane is a control plane in a process of its own.
type plane struct {
	t        *testing.T
	told     settings
	database *line // to the database; nil with SQLite
	agents   *line // from the hosts
	out, log prints

	mu      sync.Mutex
	process *exec.Cmd // nil: it does not run
	stdin   io.WriteCloser
	ended   chan struct{}
	killed  bool
	started int
}

// prints is what a process says.
type prints struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *prints) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(data)
}

func (p *prints) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts it, or starts it again. Should it end by itself, that is noted, and it is started again by whoever looks after it.
func (p *plane) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil {
		return nil
	}
	told, err := json.Marshal(p.told)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, "control-plane", string(told)) //nolint:noctx // this very test; kill ends it
	c.Stdout, c.Stderr = &p.out, &p.log
	if p.stdin, err = c.StdinPipe(); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	p.process, p.killed = c, false
	p.started++
	ended := make(chan struct{})
	p.ended = ended
	go func() {
		err := c.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.killed {
			_, _ = io.WriteString(&p.log, "torture: the process ended by itself: "+errorText(err)+"\n")
		}
		p.process = nil
		close(ended)
	}()
	return nil
}

func errorText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

// signal sends the process a signal, if it runs, and gives what is closed when it has ended.
func (p *plane) signal(s syscall.Signal) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	p.killed = p.killed || s == syscall.SIGKILL || s == syscall.SIGTERM
	_ = p.process.Process.Signal(s)
	return p.ended
}

func (p *plane) kill() { <-p.signal(syscall.SIGKILL) }

// turn sets its clock so far ahead of the true time, or behind it. It stays so when the process is started again.
func (p *plane) turn(ahead time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told.Ahead = ahead
	if p.process != nil {
		_, _ = fmt.Fprintln(p.stdin, ahead) // one that was just killed is told when it starts
	}
}

// stop ends it in good order, and tells whether it did.
func (p *plane) stop(within time.Duration) bool {
	select {
	case <-p.signal(syscall.SIGTERM):
		return true
	case <-after(within):
		p.signal(syscall.SIGQUIT) // it says where it is
		<-after(time.Second)
		p.kill()
		return false
	}
}

// starts is how often it was started.
func (p *plane) starts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started
}

// gone tells whether it ended and nobody wanted that.
func (p *plane) gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process == nil && !p.killed
}

// misfortunes are what a control plane must never say.
var misfortunes = regexp.MustCompile(`(?s)(WARNING: DATA RACE|panic: |fatal error: ).{0,1000}`)

var (
	tokenLine = regexp.MustCompile(`FIREBREAK_TOKEN=(\S+)`)
	joinLine  = regexp.MustCompile(`--ca-fingerprint (\S+)`)
)

// greeting is what the first start prints.
func (p *plane) greeting() (operator, fingerprint string, ok bool) {
	text := p.out.String()
	if !strings.Contains(text, "Console:") {
		return "", "", false
	}
	return tokenLine.FindStringSubmatch(text)[1], joinLine.FindStringSubmatch(text)[1], true
}
