package deb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// system is the host's packages. There is one for dpkg; rpm would be another, and is not there.
type system interface {
	// read tells what a file holds. fault.Invalid says that it is no package.
	read(ctx context.Context, path string) (parcel, error)
	// query tells what is installed under a name.
	query(ctx context.Context, name string) (status, error)
	// object lists what speaks against installing packages together: dependencies that are missing, another architecture.
	object(ctx context.Context, parcels []parcel) ([]fault.Problem, error)
	// change installs, removes and holds. It waits for whoever else changes packages (errLocked says that it gave up, and nothing was
	// done), and is not interrupted after that.
	change(ctx context.Context, c change) error
	// obtain finds the file of a package as it is installed, and downloads it into dir if it may. fault.NotFound says that it cannot
	// be had.
	obtain(ctx context.Context, s status, dir string, online bool) (path string, err error)
}

var errLocked = errors.New("another process changes packages")

// parcel is one package in a file.
type parcel struct {
	name, version, arch string
	size                int64  // bytes, unpacked
	path                string // of the file
}

// status is one package on the host.
type status struct {
	name, version, arch string
	present             bool // more is there than configuration files
	whole               bool // unpacked and configured
	held                bool
}

// change is what to do at once.
type change struct {
	install []parcel
	remove  []string
	hold    []string
	insist  bool         // scripts of what is replaced or removed must not stand in the way
	room    func() error // gives up what was set aside for this, once nobody else changes packages; nil if nothing was
}

// empty tells whether nothing has to be installed or removed.
func (c change) empty() bool { return len(c.install) == 0 && len(c.remove) == 0 }

func (c change) String() string {
	var parts []string
	for _, p := range c.install {
		parts = append(parts, fmt.Sprintf("installing %s %s (%s)", p.name, p.version, filepath.Base(p.path)))
	}
	for _, name := range c.remove {
		parts = append(parts, "removing "+name)
	}
	return strings.Join(parts, ", ")
}
