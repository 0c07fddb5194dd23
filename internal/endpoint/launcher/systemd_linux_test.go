package launcher_test

import (
	"net"
	"path/filepath"
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
