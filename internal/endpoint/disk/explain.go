package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Full tells whether err means that a file system, or the caller's share of it, has no space or no inodes left.
func Full(err error) bool { return full(err) }

// Explain turns an error of the file system into a fault with a next step. The format says what was being done, without the reason.
func Explain(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	doing := fmt.Sprintf(format, args...)
	switch {
	case full(err):
		return fault.New(fault.Unavailable, "%s: %w", doing, err).
			Hint("free some space (or inodes) on the file system of %s; what was there before still runs", pathOf(err))
	case readOnly(err):
		return fault.New(fault.Unavailable, "%s: %w", doing, err).Hint("mount the file system of %s for writing", pathOf(err))
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Denied, "%s: %w", doing, err).Hint("let the agent's user write to %s", pathOf(err))
	default:
		return fault.New(fault.Internal, "%s: %w", doing, err)
	}
}

func pathOf(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Path
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.New
	}
	return "the state directory"
}
