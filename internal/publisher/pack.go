package publisher

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Packed is a file or a directory as an artifact. It holds no bytes: they are read again when they are written.
type Packed struct {
	Path   string // where it was packed from
	Format release.Format
	Name   string // of the artifact
	Digest release.Digest
	Size   int64 // bytes

	entries []entry // of a directory, in order
}

// entry is one file or directory of a tar.
type entry struct {
	name    string // slash-separated, relative; directories end in a slash
	path    string
	program bool // a file that may be executed
	size    int64
}

// Pack describes the artifact that a file or directory is. The same content gives the same bytes everywhere: a tar's entries are sorted,
// belong to user 0 at time 0, and have the mode 0644, or 0755 if they are executable. Links, devices, sockets and names that not every
// system can hold are refused, all at once.
func Pack(ctx context.Context, root string) (Packed, error) {
	info, err := os.Stat(root)
	if err != nil {
		return Packed{}, fault.New(fault.Invalid, "pack %s: %w", root, err)
	}
	p := Packed{Path: root, Format: release.File, Name: filepath.Base(root)}
	if abs, errAbs := filepath.Abs(root); errAbs == nil {
		p.Name = filepath.Base(abs)
	}
	if info.IsDir() {
		p.Format, p.Name = release.Tar, p.Name+".tar"
		if p.entries, err = list(ctx, root); err != nil {
			return Packed{}, err
		}
	} else if !info.Mode().IsRegular() {
		return Packed{}, fault.New(fault.Invalid, "pack %s: it is a %s; only regular files and directories can be packed", root, kind(info.Mode()))
	}
	if !release.FileName(p.Name) {
		return Packed{}, fault.New(fault.Invalid, "pack %s: an artifact cannot be named %q", root, p.Name)
	}
	m := measure{hash: sha256.New()}
	if err := p.Write(ctx, &m); err != nil {
		return Packed{}, err
	}
	p.Digest, p.Size = release.DigestFrom([sha256.Size]byte(m.hash.Sum(nil))), m.size
	if p.Size == 0 || p.Size > release.MaxArtifactSize {
		return Packed{}, fault.New(fault.Invalid, "pack %s: it has %d bytes, must be 1 to %d", root, p.Size, int64(release.MaxArtifactSize))
	}
	return p, nil
}

// Write writes the artifact's bytes. If the files changed since Pack, the bytes are others, or it fails.
func (p Packed) Write(ctx context.Context, w io.Writer) error {
	if p.Format == release.File {
		return copyFile(ctx, w, p.Path, -1)
	}
	archive := tar.NewWriter(w)
	for _, e := range p.entries {
		header := delta.TarHeader(e.name, e.size, e.program)
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("pack %s: %w", e.path, err)
		}
		if header.Typeflag == tar.TypeReg {
			if err := copyFile(ctx, archive, e.path, e.size); err != nil {
				return err
			}
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("pack %s: %w", p.Path, err)
	}
	return nil
}

func (p Packed) artifact(platform string) release.Artifact {
	return release.Artifact{Platform: platform, Format: p.Format, Name: p.Name, Digest: p.Digest, Size: p.Size}
}

// list walks a directory in the order of names, and lists everything that cannot be packed.
func list(ctx context.Context, root string) ([]entry, error) {
	var entries []entry
	var problems []fault.Problem
	folded := map[string]string{}
	files := 0
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || at == root {
			return err
		}
		rel, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		e := entry{name: filepath.ToSlash(rel), path: at}
		if why := unfit(e.name, d.Type(), folded); why != "" {
			problems = append(problems, fault.Problem{Path: e.name, Message: why})
			return nil
		}
		if d.IsDir() {
			e.name += "/"
		} else {
			info, err := d.Info()
			if err != nil {
				return err
			}
			files++
			e.size = info.Size()
			e.program = info.Mode()&0o111 != 0
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", root, err)
	}
	if files == 0 && len(problems) == 0 {
		problems = append(problems, fault.Problem{Message: "has no files"})
	}
	return entries, fault.Problems("pack "+root, problems)
}

// unfit says why an entry cannot be packed. folded has the names seen so far as a file system that ignores case sees them.
func unfit(name string, mode fs.FileMode, folded map[string]string) string {
	if !mode.IsRegular() && !mode.IsDir() {
		return "is a " + kind(mode) + "; only regular files and directories can be packed"
	}
	base := path.Base(name)
	if !utf8.ValidString(base) || strings.ContainsFunc(base, unicode.IsControl) || strings.ContainsAny(base, `\`) {
		return "has a name that not every system can hold"
	}
	fold := strings.ToLower(name)
	if other, taken := folded[fold]; taken {
		return "differs from " + other + " only in upper and lower case"
	}
	folded[fold] = name
	return ""
}

func kind(mode fs.FileMode) string {
	for _, k := range []struct {
		bit  fs.FileMode
		name string
	}{{fs.ModeSymlink, "symbolic link"}, {fs.ModeNamedPipe, "named pipe"}, {fs.ModeSocket, "socket"}, {fs.ModeDevice, "device"}} {
		if mode&k.bit != 0 {
			return k.name
		}
	}
	return "special file"
}

// copyFile writes a file of which size bytes are expected; -1 for any.
func copyFile(ctx context.Context, w io.Writer, name string, size int64) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	defer f.Close()
	n, err := io.Copy(w, reader{ctx, f})
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && size >= 0 && n != size {
		return fault.New(fault.Conflict, "pack %s: it changed while it was read", name).Hint("Publish from a directory that nobody writes to.")
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	return nil
}

// reader stops when its context ends.
type reader struct {
	ctx context.Context //nolint:containedctx // for the length of one copy
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// measure counts and hashes what is written to it.
type measure struct {
	hash hash.Hash
	size int64
}

func (m *measure) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	return m.hash.Write(p)
}
