//go:build !linux

package agent

import (
	"runtime"

	"github.com/firebreak-dev/firebreak/api"
)

// Describe tells what the host says of itself. Boots are not counted on this system yet.
func Describe() (attributes api.Attributes, boot string) {
	return api.Attributes{OS: runtime.GOOS, Arch: runtime.GOARCH}, ""
}
