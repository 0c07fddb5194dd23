package launcher

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/firebreak-dev/firebreak/internal/domain/launch"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// Directories of the agent's state that it cannot get back by itself.
const (
	identityDir  = "identity"     // who it is
	componentDir = "components.d" // what its owner said
	lockedFile   = "lock"         // that a running agent holds
)

const (
	maxFile  = 1 << 20
	maxFiles = 256
)

// newSum finds what broke by itself. Only root gets to the copies, and whoever is root need not bother with them: a checksum does, and
// keeps the guard's program small.
func newSum() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

func (l *launcher) keepDir() string { return filepath.Join(l.GuardDir, "keep") }

func (l *launcher) state(name string) string { return filepath.Join(l.AgentState, name) }

// hasIdentity tells whether the host has joined. If the disk does not say, it has.
func (l *launcher) hasIdentity() bool {
	entries, err := l.FS.ReadDir(l.state(identityDir))
	return len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// restore gives the agent back what an earlier one has removed. Files that are there are left as they are.
func (l *launcher) restore() {
	if err := disk.MkdirAll(l.FS, l.AgentState, 0o755); err != nil { //nolint:mnd // consumers read below it, as other users
		l.Log("the agent's state directory is missing: %v", err)
		return
	}
	_, err := l.FS.Lstat(l.state(componentDir))
	whole := errors.Is(err, fs.ErrNotExist) // its files are the owner's, who may have removed any, but hardly the directory
	for _, name := range []string{identityDir, componentDir} {
		if name == componentDir && !whole {
			continue
		}
		if n, err := l.copyFiles(filepath.Join(l.keepDir(), name), l.state(name), absent); err != nil {
			l.Log("restoring %s: %v", name, err)
		} else if n > 0 {
			l.Log("restored %d files of %s, which were missing", n, name)
		}
	}
}

// preserve keeps what a host needs to get itself back, from an agent that is good and has reached the control plane.
func (l *launcher) preserve() {
	run := l.State.Running
	if run == nil {
		return
	}
	good, _ := l.good(l.link())
	isGood := run.Slot != "" && run.Slot == string(good)
	if run.Trial && !isGood {
		return
	}
	if run.Trial {
		l.State = l.State.Proved()
		l.save()
	}
	for _, name := range []string{identityDir, componentDir} {
		if _, err := l.copyFiles(l.state(name), filepath.Join(l.keepDir(), name), different); err != nil {
			l.Log("keeping %s: %v", name, err)
		}
	}
	if isGood && run.Rung != launch.Keep && !l.keepHolds(good) {
		if err := l.keepAgent(good); err != nil {
			l.Log("keeping the agent of slot %s: %v", good, err)
		}
	}
}

// absent and different tell whether a file is to be copied over what is there.
func absent(_, _ []byte, missing bool) bool { return missing }

func different(have, want []byte, missing bool) bool { return missing || !bytes.Equal(have, want) }

// copyFiles copies the files of a directory for which need holds, durably. It is no error if there is no such directory.
func (l *launcher) copyFiles(from, to string, need func(have, want []byte, missing bool) bool) (copied int, err error) {
	entries, err := l.FS.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, e := range entries[:min(len(entries), maxFiles)] {
		if !e.Type().IsRegular() || filepath.Ext(e.Name()) == ".tmp" {
			continue
		}
		done, err := l.copyFile(filepath.Join(from, e.Name()), to, need)
		if err != nil {
			return copied, err
		}
		if done {
			copied++
		}
	}
	return copied, nil
}

func (l *launcher) copyFile(from, dir string, need func(have, want []byte, missing bool) bool) (copied bool, err error) {
	want, err := disk.ReadFile(l.FS, from, maxFile)
	if err != nil {
		return false, err
	}
	to := filepath.Join(dir, filepath.Base(from))
	have, err := disk.ReadFile(l.FS, to, maxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || !need(have, want, err != nil) {
		return false, err
	}
	if err = disk.MkdirAll(l.FS, dir, 0o700); err == nil { //nolint:mnd // the identity is a secret
		err = disk.WriteFile(l.FS, to, want, 0o600)
	}
	return err == nil, err
}

// keepAgent copies the executable of a slot. The copy gets a name of its own first, so that the old one counts until the memory has the
// new one. It is no hard link: an agent that damages its slots in place must not reach it.
func (l *launcher) keepAgent(slot slots.Slot) error {
	if err := disk.MkdirAll(l.FS, l.keepDir(), 0o700); err != nil {
		return err
	}
	if err := l.sweep(l.Keep.File); err != nil {
		return err
	}
	tmp := filepath.Join(l.keepDir(), executable+".tmp")
	k := kept{Slot: string(slot)}
	var err error
	if k.Size, k.Sum, err = l.copyAgent(l.executable(slot), tmp); err != nil {
		return err
	}
	k.File = fmt.Sprintf("agent-%08x%s", k.Sum, suffix)
	if err = l.FS.Rename(tmp, filepath.Join(l.keepDir(), k.File)); err == nil {
		err = l.FS.SyncDir(l.keepDir())
	}
	if err != nil {
		return err
	}
	l.Keep, l.verified = k, true
	l.save()
	l.Log("kept the agent of slot %s (%d bytes)", slot, k.Size)
	return nil
}

func (l *launcher) copyAgent(from, to string) (size int64, sum uint32, err error) {
	in, err := l.FS.Open(from, os.O_RDONLY, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := l.FS.Open(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return 0, 0, err
	}
	digest := newSum()
	size, err = io.Copy(io.MultiWriter(out, digest), in)
	if err == nil {
		err = out.Sync()
	}
	return size, digest.Sum32(), errors.Join(err, out.Close())
}

// sweep removes copies other than the one of that name.
func (l *launcher) sweep(but string) error {
	entries, err := l.FS.ReadDir(l.keepDir())
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != but {
			err = errors.Join(err, l.FS.Remove(filepath.Join(l.keepDir(), e.Name())))
		}
	}
	return err
}

// keepHolds tells whether there is a copy, of one of the slots if any is named, that is what it was.
func (l *launcher) keepHolds(of ...slots.Slot) bool {
	if l.Keep.Slot == "" || len(of) > 0 && l.Keep.Slot != string(of[0]) {
		return false
	}
	path := filepath.Join(l.keepDir(), l.Keep.File)
	info, err := l.FS.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != l.Keep.Size || filepath.Base(l.Keep.File) != l.Keep.File {
		return false
	}
	if !l.verified { // once: nobody but root gets there, and a disk that fails is for the next start
		err := l.verify(path)
		if err != nil {
			l.Log("the copy of the agent is no good: %v", err)
			return false
		}
		l.verified = true
	}
	return true
}

func (l *launcher) verify(path string) error {
	f, err := l.FS.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	digest := newSum()
	_, err = io.Copy(digest, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if digest.Sum32() != l.Keep.Sum {
		return fmt.Errorf("%s is not what was kept", path)
	}
	return nil
}
