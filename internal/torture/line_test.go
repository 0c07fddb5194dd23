//go:build unix

package torture

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
)

// weather is what a line does to what it carries.
type weather string

const (
	fair    weather = "fair"
	cut     weather = "cut"     // connections end, and no new one begins
	stalled weather = "stalled" // connections stay, and nothing gets through
	slow    weather = "slow"    // whatever is sent comes late
)

// line carries bytes from an address of its own to another, as long as the weather lets it.
type line struct {
	net.Listener
	to string

	mu      sync.Mutex
	weather weather
	change  chan struct{} // closed when the weather changes
	conns   map[net.Conn]struct{}
	done    sync.WaitGroup
}

const late = 60 * time.Millisecond

func newLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, to: to, weather: fair, change: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	l.done.Go(l.accept)
	t.Cleanup(func() {
		_ = l.Close()
		l.set(cut)
		l.done.Wait()
	})
	return l
}

func (l *line) accept() {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			l.done.Go(func() { l.carry(conn) })
		}
	}
}

// carry connects through, if the weather is not too bad.
func (l *line) carry(near net.Conn) {
	defer near.Close()
	if !l.keep(near) {
		return
	}
	defer l.leave(near)
	far, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(context.Background(), "tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !l.keep(far) {
		return
	}
	defer l.leave(far)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			l.copy(way[1], way[0])
			_, _ = way[0].Close(), way[1].Close()
		})
	}
	both.Wait()
}

// copy carries one direction until either end is closed.
func (l *line) copy(to io.Writer, from io.Reader) {
	data := make([]byte, 16<<10)
	for {
		n, err := from.Read(data)
		if n > 0 {
			l.weatherPasses()
			if _, err := to.Write(data[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// weatherPasses waits until something may get through.
func (l *line) weatherPasses() {
	for {
		l.mu.Lock()
		w, change := l.weather, l.change
		l.mu.Unlock()
		switch w {
		case slow:
			_ = clock.Wall{}.Sleep(context.Background(), late)
			return
		case stalled:
			<-change
		case fair, cut:
			return
		}
	}
}

func (l *line) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.weather == cut {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *line) leave(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

func (l *line) set(w weather) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weather = w
	close(l.change)
	l.change = make(chan struct{})
	if w == cut {
		for c := range l.conns {
			_ = c.Close()
		}
	}
}
