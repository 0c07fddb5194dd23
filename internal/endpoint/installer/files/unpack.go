package files

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// Limits of a name within an artifact.
const (
	maxPath    = 1024 // bytes
	maxElement = 255  // bytes, the limit of nearly all file systems
	maxNesting = 32
)

// Modes of what is staged. Slots are immutable, as far as modes can say so.
const (
	fileMode    fs.FileMode = 0o444
	programMode fs.FileMode = 0o555 // a file that its owner may execute
	dirMode     fs.FileMode = 0o555
)

// unpack verifies the downloaded artifact and writes its files below root, durably but for root's own name.
func (i *Installer) unpack(ctx context.Context, s installer.Stage, root string) (err error) {
	f, err := i.FS.Open(s.Path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := &verifier{ctx: ctx, from: io.LimitReader(f, s.Artifact.Size+1), hash: sha256.New()}
	u := unpacker{fs: i.FS, root: root, limits: i.Limits, seen: map[string]entry{}}
	if err = i.FS.Mkdir(root, 0o700); err != nil {
		return err
	}
	switch s.Artifact.Format {
	case release.File:
		mode := fileMode
		if i.Program {
			mode = programMode
		}
		err = u.file(s.Artifact.Name, s.Artifact.Size, mode, in)
	case release.Tar:
		err = u.archive(in)
	default:
		err = fault.New(fault.Invalid, "unpack: format %q is not known", s.Artifact.Format)
	}
	if err == nil || fault.KindOf(err) == fault.Invalid { // bytes that were tampered with are not worth any other complaint
		if tampered := in.verify(s.Artifact); tampered != nil {
			err = tampered
		}
	}
	if err != nil {
		return err
	}
	return u.seal()
}

// verifier hashes and counts what is read through it, and ends with its context.
type verifier struct {
	ctx  context.Context //nolint:containedctx // lives for one call of unpack
	from io.Reader
	hash interface {
		io.Writer
		Sum(b []byte) []byte
	}
	n int64
}

func (v *verifier) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := v.from.Read(p)
	v.n += int64(n)
	_, _ = v.hash.Write(p[:n])
	return n, err
}

// verify reads the rest and compares size and digest with what was signed.
func (v *verifier) verify(a release.Artifact) error {
	if _, err := io.Copy(io.Discard, v); err != nil {
		return err
	}
	if v.n != a.Size {
		return fault.New(fault.Denied, "verify: is not %d bytes long as signed", a.Size)
	}
	if got := release.DigestFrom([sha256.Size]byte(v.hash.Sum(nil))); got != a.Digest {
		return fault.New(fault.Denied, "verify: has digest %s, signed is %s", got, a.Digest)
	}
	return nil
}

// unpacker writes files below root and refuses whatever is not plainly one.
type unpacker struct {
	fs     disk.FS
	root   string
	limits component.Limits
	size   int64
	seen   map[string]entry // by folded name
	dirs   []string         // in the order they were made: parents first
}

type entry struct {
	name     string
	dir      bool
	explicit bool // named by the archive, not only implied by what lies below it
}

func refuse(name, format string, args ...any) error {
	return fault.New(fault.Invalid, "unpack %q: %s", name, fmt.Sprintf(format, args...))
}

// archive unpacks a tar of regular files and directories.
func (u *unpacker) archive(in io.Reader) error {
	r := tar.NewReader(in)
	for {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			return err
		case err != nil:
			return fault.New(fault.Invalid, "unpack: is not a tar archive: %w", err)
		}
		if err := u.entry(h, r); err != nil {
			return err
		}
	}
}

func (u *unpacker) entry(h *tar.Header, in io.Reader) error {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return refuse(h.Name, "is a sparse file; only plain files and directories are allowed")
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		mode := fileMode
		if h.Mode&0o100 != 0 {
			mode = programMode
		}
		return u.file(h.Name, h.Size, mode, in)
	case tar.TypeDir:
		return u.directory(strings.TrimSuffix(h.Name, "/"))
	case tar.TypeSymlink, tar.TypeLink:
		return refuse(h.Name, "is a link to %q; only plain files and directories are allowed", h.Linkname)
	default:
		return refuse(h.Name, "is of tar type %q; only plain files and directories are allowed", h.Typeflag)
	}
}

func (u *unpacker) directory(name string) error {
	known, err := u.claim(entry{name: name, dir: true, explicit: true})
	if err != nil || known {
		return err
	}
	return u.mkdir(name)
}

func (u *unpacker) mkdir(name string) error {
	u.dirs = append(u.dirs, name)
	return u.fs.Mkdir(u.path(name), 0o700)
}

// file writes one file of exactly size bytes.
func (u *unpacker) file(name string, size int64, mode fs.FileMode, in io.Reader) error {
	if size < 0 || size > u.limits.Size-u.size {
		return refuse(name, "unpacks to more than %d bytes, the limit of the component file", u.limits.Size)
	}
	u.size += size
	if _, err := u.claim(entry{name: name, explicit: true}); err != nil {
		return err
	}
	f, err := u.fs.Open(u.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(struct{ io.Writer }{f}, io.LimitReader(in, size))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && n < size:
		err = refuse(name, "ends after %d of %d bytes", n, size)
	case err == nil:
		err = u.fs.Chmod(u.path(name), mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// claim takes a name, and makes the directories above it that the archive only implies. Known is true for a directory that is there.
func (u *unpacker) claim(e entry) (known bool, err error) {
	if err := checkName(e.name); err != nil {
		return false, err
	}
	if parent := path.Dir(e.name); parent != "." {
		known, err := u.claim(entry{name: parent, dir: true})
		if err == nil && !known {
			err = u.mkdir(parent)
		}
		if err != nil {
			return false, err
		}
	}
	key := fold(e.name)
	was, taken := u.seen[key]
	switch {
	case taken && was.name != e.name:
		return false, refuse(e.name, "has the same name as %q where case does not matter", was.name)
	case taken && (!was.dir || !e.dir || was.explicit && e.explicit):
		return false, refuse(e.name, "is there twice")
	case !taken && len(u.seen) >= u.limits.Files:
		return false, refuse(e.name, "is one more than %d files and directories, the limit of the component file", u.limits.Files)
	}
	e.explicit = e.explicit || was.explicit
	u.seen[key] = e
	return taken, nil
}

// seal takes the right to write from the directories and makes them durable, the deepest first.
func (u *unpacker) seal() error {
	slices.Reverse(u.dirs)
	for _, name := range append(u.dirs, ".") {
		if err := u.fs.Chmod(u.path(name), dirMode); err != nil {
			return err
		}
		if err := u.fs.SyncDir(u.path(name)); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) path(name string) string { return filepath.Join(u.root, filepath.FromSlash(name)) }

// checkName refuses names that would leave the slot, or mean something else on another system or to another reader.
func checkName(name string) error {
	switch {
	case name == "" || len(name) > maxPath:
		return refuse(name, "has a name of %d bytes; must be 1 to %d", len(name), maxPath)
	case !utf8.ValidString(name):
		return refuse(name, "has a name that is not UTF-8")
	case strings.ContainsFunc(name, unprintable):
		return refuse(name, "has control characters in its name")
	case strings.Contains(name, `\`):
		return refuse(name, "has a backslash in its name")
	case path.IsAbs(name):
		return refuse(name, "is an absolute path")
	case name == "." || name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "/../") || strings.HasSuffix(name, "/.."):
		return refuse(name, "leads out of the release")
	case path.Clean(name) != name:
		return refuse(name, "is not the plain form of its path, %q", path.Clean(name))
	case strings.Count(name, "/") >= maxNesting:
		return refuse(name, "is nested deeper than %d directories", maxNesting)
	case !filepath.IsLocal(filepath.FromSlash(name)), runtime.GOOS == "windows" && strings.ContainsAny(name, `:*?"<>|`):
		return refuse(name, "has a name that this system cannot hold")
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > maxElement {
			return refuse(name, "has a part of %d bytes in its name; %d is the most", len(element), maxElement)
		}
	}
	return nil
}

// unprintable picks control characters, and those that change how a name is shown.
func unprintable(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// fold maps names to one that a file system may take for the same because it ignores case.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }
