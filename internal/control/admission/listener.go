package admission

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/firebreak-dev/firebreak/internal/clock"
)

// Listener is a port with a door. Put TLS on top of it, with Hello in its configuration, and Watch into the HTTP server.
type Listener struct {
	net.Listener
	Door   *Door
	Clock  clock.Clock
	Turned func(Reason) // somebody was turned away; nil: nobody counts
	// Busy has a place for each handshake that may be worked out at a time; others wait. So however many come, whatever else the process
	// has to do waits for a few of them at most. Nil: any number.
	Busy chan struct{}
}

// Accept waits for a connection that is let in. The others are reset: they leave nothing behind here.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		guest, why := l.Door.Arrive(addressOf(c), func() { reset(c) }, l.Clock.Now())
		if why == None {
			return &conn{Conn: c, guest: guest, at: l}, nil
		}
		l.turned(why)
		reset(c)
	}
}

func (l *Listener) turned(why Reason) {
	if l.Turned != nil {
		l.Turned(why)
	}
}

// errBusy ends a handshake that may not begin.
var errBusy = errors.New("too many handshakes: come again later")

// preSharedKey is the extension of a hello by which a client says that it has a ticket (RFC 8446, 4.2.11).
const preSharedKey = 41

// Hello is for [tls.Config.GetConfigForClient]: it lets a handshake begin, before it costs much, or ends it.
func (l *Listener) Hello(hello *tls.ClientHelloInfo) error {
	c, ours := hello.Conn.(*conn)
	if !ours {
		return nil
	}
	if why := l.Door.Greet(c.guest, slices.Contains(hello.Extensions, preSharedKey), l.Clock.Now()); why != None {
		l.turned(why)
		return errBusy
	}
	if l.Busy != nil {
		l.Busy <- struct{}{}
		c.works.Store(true)
	}
	return nil
}

// Watch is for [http.Server.ConnState]: it sees who came to a request.
func (l *Listener) Watch(c net.Conn, state http.ConnState) {
	if state != http.StateActive {
		return
	}
	secured, ours := c.(*tls.Conn)
	if !ours {
		return
	}
	if inner, ours := secured.NetConn().(*conn); ours && !inner.served {
		inner.served = true
		l.Door.Serve(inner.guest, secured.ConnectionState().DidResume, l.Clock.Now())
	}
}

// conn is a connection of a guest.
type conn struct {
	net.Conn
	guest  *Guest
	at     *Listener
	once   sync.Once
	served bool // of the one goroutine that serves it
	works  atomic.Bool
}

// Write writes. With the first flight of the server most of the work of a handshake is done.
func (c *conn) Write(data []byte) (int, error) {
	c.rest()
	return c.Conn.Write(data)
}

// rest gives back the place among those that are busy.
func (c *conn) rest() {
	if c.works.Load() && c.works.CompareAndSwap(true, false) {
		<-c.at.Busy
	}
}

// Close ends the connection, and the guest's stay.
func (c *conn) Close() error {
	c.rest()
	c.once.Do(func() { c.at.Door.Leave(c.guest, c.at.Clock.Now()) })
	return c.Conn.Close()
}

// reset ends a connection without a farewell.
func reset(c net.Conn) {
	if tcp, ours := c.(*net.TCPConn); ours {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func addressOf(c net.Conn) netip.Addr {
	if at, ours := c.RemoteAddr().(*net.TCPAddr); ours {
		return at.AddrPort().Addr()
	}
	return netip.Addr{}
}
