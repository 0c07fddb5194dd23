package disk

import (
	"errors"
	"io"
	"os"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

var errLocked = errors.New("is locked")

// held is a locked file.
type held struct{ f *os.File }

// Close gives the lock up before it closes the file: a process that is being started at this moment has the file open too.
func (h held) Close() error { return errors.Join(unlock(h.f), h.f.Close()) }

// Lock takes the file at path, creating it if need be, for this process alone; the lock ends with Close or with the process, however it
// dies. A lock held by another process is a fault.Conflict.
func Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, Explain(err, "lock %s", path)
	}
	err = lock(f)
	if err == nil {
		return held{f}, nil
	}
	if errors.Is(err, errLocked) {
		err = fault.New(fault.Conflict, "lock %s: another process holds it", path).
			Hint("two agents cannot share a state directory; stop the other one or choose another directory")
	}
	return nil, errors.Join(err, f.Close())
}
