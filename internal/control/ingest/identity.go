package ingest

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// ConnContext is for [http.Server]: it gives each connection a place where it is kept whose certificate it came with. Without it the
// identity is worked out for each request.
func (in *Ingest) ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

type connectionKey struct{}

// connection is what is kept of one. Requests on it may come together.
type connection struct{ who atomic.Pointer[identity] }

type identity struct {
	leaf *x509.Certificate
	id   fleet.EndpointID
}

// identify tells who sent a request: the key of the verified client certificate, never anything in the request.
func identify(r *http.Request) fleet.EndpointID {
	leaf := r.TLS.VerifiedChains[0][0]
	c, kept := r.Context().Value(connectionKey{}).(*connection)
	if !kept {
		return ca.EndpointOf(leaf)
	}
	if who := c.who.Load(); who != nil && who.leaf == leaf {
		return who.id
	}
	who := &identity{leaf, ca.EndpointOf(leaf)}
	c.who.Store(who)
	return who.id
}

// known lets only enrolled endpoints through. That is asked for each request: whoever is not enrolled any more is out at once.
func (in *Ingest) known(handle func(http.ResponseWriter, *http.Request, fleet.EndpointID) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			in.fail(w, r, fault.New(fault.Denied, "identify the endpoint: the request came without a client certificate").
				Hint("join first: firebreak-agent join"))
			return
		}
		id := identify(r)
		if !in.Fleet.Known(id) {
			in.fail(w, r, in.unknown(id))
			return
		}
		if err := handle(w, r, id); err != nil {
			in.fail(w, r, err)
		}
	}
}

// unknown says why an endpoint is not known.
func (in *Ingest) unknown(id fleet.EndpointID) error {
	if why, revoked := in.Fleet.Revoked(id); revoked {
		return fault.New(fault.Denied, "identify the endpoint: %s was revoked: %s", id, why).
			Hint("if this host is to be managed again: delete the agent's identity directory, and join with a new token")
	}
	return fault.New(fault.Denied, "identify the endpoint: %s is not enrolled here", id).Hint("join again with a new token")
}
