//go:build !linux

package deb

import (
	"context"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// lock fails: dpkg is a thing of Linux.
func (*dpkg) lock(context.Context) (release func() error, err error) {
	return nil, fault.New(fault.Unavailable, "lock dpkg's database: this system has none").Hint("use kind package on Debian and its relatives only")
}
