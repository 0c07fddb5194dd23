package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/firebreak-dev/firebreak/internal/control/health"
)

// directory looks at the data directory, and tells whether it makes sense to look into it.
func (x *examination) directory() bool {
	const check = "data directory"
	info, err := os.Stat(x.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x.wrong(check, "Name the control plane's directory with --data; 'firebreak serve' makes a new one.", "%s is not there", x.Data)
		return false
	case err != nil:
		x.wrong(check, "Run this as the user that runs the server, or as root.", "%v", err)
		return false
	case !info.IsDir():
		x.wrong(check, "Name the control plane's directory with --data.", "%s is no directory", x.Data)
		return false
	}
	if _, err := os.ReadDir(x.Data); err != nil {
		x.wrong(check, "Run this as the user that runs the server, or as root; or give it the directory: chown -R.", "%v", err)
		return false
	}
	if other := foreign(x.Data, filepath.Join(x.Data, "firebreak.db"), x.Keys); other != "" {
		x.wrong(check, "Give all of it to the user that runs the server: chown -R USER "+x.Data, "%s", other)
		return true
	}
	if mode := info.Mode().Perm(); exposed(mode) {
		x.warn(check, "Run: chmod 700 "+x.Data, "others may look into %s (mode %v)", x.Data, mode)
		return true
	}
	x.good(check, "%s", x.Data)
	return true
}

// Room that an installation should have.
const (
	mib        = 1 << 20
	leastFree  = 256 * mib // below, writes are about to fail
	someFree   = 2048 * mib
	leastFiles = 1000
)

func (x *examination) disk() {
	const check, next = "disk", "Free space on this disk, or move the data directory to a larger one while the server is stopped."
	d, err := health.Room(x.Data)
	switch {
	case err != nil:
		x.wrong(check, "", "look at the disk: %v", err)
	case d.Free < leastFree:
		x.wrong(check, next, "%d MiB of %d are free", d.Free/mib, d.Size/mib)
	case d.Inodes < leastFiles:
		x.wrong(check, "Remove files from this disk.", "only %d more files can be made", d.Inodes)
	case d.Free < someFree && d.Free < d.Size/10:
		x.warn(check, next, "%d MiB of %d are free", d.Free/mib, d.Size/mib)
	default:
		x.good(check, "%d MiB of %d are free", d.Free/mib, d.Size/mib)
	}
}

// lock finds out whether somebody has the database open.
func (x *examination) lock() {
	const check = "lock"
	held, err := locked(filepath.Join(x.Data, "firebreak.db.lock"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x.good(check, "no server runs on it, and none did")
	case err != nil:
		x.wrong(check, "Run this as the user that runs the server, or as root.", "%v", err)
	case held:
		x.running = true
		x.good(check, "a server runs on it")
	default:
		x.good(check, "no server runs on it")
	}
}
