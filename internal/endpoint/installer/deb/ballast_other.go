//go:build !linux

package deb

import "github.com/firebreak-dev/firebreak/internal/endpoint/disk"

// allocate cannot be done here.
func allocate(disk.File, int64) (done bool, err error) { return false, nil }
