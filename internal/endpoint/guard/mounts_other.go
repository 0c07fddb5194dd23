//go:build !linux

package guard

import "errors"

// Kernel is the mounts of the running host, which only Linux lets the guard change.
type Kernel struct{}

var _ Mounts = Kernel{}

// ReadOnly implements [Mounts].
func (Kernel) ReadOnly(string) (bool, error) { return false, nil }

// Remount implements [Mounts].
func (Kernel) Remount(string, bool) error { return errors.ErrUnsupported }
