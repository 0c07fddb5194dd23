package launcher_test

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSystemdIsNotified(t *testing.T) {
	t.Parallel()
	h := newHost(t, "")
	socket := filepath.Join(h.root, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	h.options.Socket, h.options.Times.Watchdog = socket, 20*time.Millisecond
	stop := h.launch()
	next := func() string {
		buf := make([]byte, 256)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	until := func(want string) {
		for got := next(); !strings.HasPrefix(got, want); got = next() {
			if got != "WATCHDOG=1" {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	until("READY=1")
	until("STATUS=running the current agent of slot good")
	until("WATCHDOG=1")
	until("WATCHDOG=1")
	go stop()
	until("STOPPING=1")
}

// Systemd's patience ends too: it is told that an installer is at work.
func TestSystemdIsAskedToWaitForAnInstaller(t *testing.T) {
	t.Parallel()
	h := newHost(t, "")
	h.install("good", script("good", nothin, `trap 'say busy; sleep 0.2; exit 0' TERM; say ready; echo listens; while :; do sleep 0.05; done`))
	socket := filepath.Join(h.root, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	h.options.Socket = socket
	stop := h.launch()
	h.said.await("listens")
	stop()
	var said []string
	for buf := make([]byte, 256); !slices.Contains(said, "STOPPING=1"); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, string(buf[:n]))
	}
	if !slices.Contains(said, "EXTEND_TIMEOUT_USEC=60000000") {
		t.Errorf("got %q, want twice the 30 s", said)
	}
}
