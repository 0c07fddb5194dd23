package e2e

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/endpoint/uplink"
)

// A poll of a host with nothing to say, and the control plane's answer, are one packet each, with headers and TLS.
func TestPollIsOnePacketEachWay(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.roll("v1", "good rules 1", atOnce())
	h := p.newHost()
	h.run()
	h.runs("v1")
	h.stop()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var there, back atomic.Int64
	go relay(l, strings.TrimPrefix(p.agents, "https://"), &there, &back)
	identity, err := h.record.TLS()
	if err != nil {
		t.Fatal(err)
	}
	client := uplink.New("https://"+l.Addr().String(), identity)
	t.Cleanup(client.Close)
	for range 3 { // of which the first opens the connection
		there.Store(0)
		back.Store(0)
		if _, err := client.CheckIn(t.Context(), api.CheckIn{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d bytes there, %d bytes back", there.Load(), back.Load())
	if there.Load() == 0 || there.Load() >= 1200 || back.Load() == 0 || back.Load() >= 1200 {
		t.Errorf("got %d bytes there and %d back, want less than 1,200 each", there.Load(), back.Load())
	}
}

// relay passes on what comes over connections, and counts it.
func relay(l net.Listener, to string, there, back *atomic.Int64) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", to) //nolint:noctx // it ends with the connection
		if err != nil {
			_ = from.Close()
			return
		}
		go pass(server, from, there)
		go pass(from, server, back)
	}
}

func pass(to, from net.Conn, count *atomic.Int64) {
	_, _ = io.Copy(to, counter{from, count})
	_ = to.Close()
}

type counter struct {
	io.Reader
	n *atomic.Int64
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
