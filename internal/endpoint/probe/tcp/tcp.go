// Package tcp probes with a connection that must be accepted.
package tcp

import (
	"context"
	"net"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Probe connects to an address.
type Probe struct {
	Address string // host:port
	Timeout time.Duration
}

// Check connects and hangs up.
func (p Probe) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return fault.New(fault.Conflict, "connect: %w", err)
	}
	_ = conn.Close()
	return nil
}
