//go:build !linux

package disk

import "os"

// datasync is a full sync where there is nothing cheaper that holds.
func datasync(f *os.File) error { return f.Sync() }
