// Package loaded probes whether the consumer really uses the release that is installed: the digest of a file of it must be the one that
// the consumer says it loaded.
package loaded

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// Probe compares two digests.
type Probe struct {
	FS   disk.FS
	Path string                                             // of the file within the slot in use
	Ask  func(ctx context.Context) (said []byte, err error) // what the consumer says
}

var digests = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// Check asks the consumer and compares. A file that cannot be read tells nothing (fault.Unavailable): the consumer is not to blame.
func (p Probe) Check(ctx context.Context) error {
	want, err := p.installed()
	if err != nil {
		return fault.New(fault.Unavailable, "read what is installed: %w", err)
	}
	said, err := p.Ask(ctx)
	if err != nil {
		return fault.New(fault.KindOf(err), "ask what is loaded: %w", err)
	}
	switch got := release.Digest(digests.Find(said)); {
	case got == "":
		return fault.New(fault.Conflict, "the consumer does not say that it loaded anything")
	case got != want:
		return fault.New(fault.Conflict, "the consumer loaded %s, installed is %s", got.Short(), want.Short())
	}
	return nil
}

func (p Probe) installed() (digest release.Digest, err error) {
	f, err := p.FS.Open(filepath.Clean(p.Path), os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	if _, err = io.Copy(sum, f); err != nil {
		return "", err
	}
	return release.DigestFrom([sha256.Size]byte(sum.Sum(nil))), nil
}
