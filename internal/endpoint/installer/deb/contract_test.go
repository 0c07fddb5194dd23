package deb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/files"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer/installertest"
)

// The suite runs over a host of packages in memory: what it tests is the order of links, packages of before and slots. The tests of dpkg
// itself are in deb_test.go.
func TestContract(t *testing.T) {
	t.Parallel()
	installertest.Run(t, func(t *testing.T) installertest.World {
		dir, downloads := filepath.Join(writable(t), "component"), t.TempDir()
		host := &memory{installed: map[string]string{"x": "0"}, downloads: downloads} // what was there before is what a consumer reads as nothing
		writeFile(t, filepath.Join(downloads, "0"), "x 0")
		return installertest.World{
			Open: func(fsys disk.FS) (installer.Installer, error) { return open(options(fsys, dir).defaulted(), host) },
			Make: func(version string) (installer.Stage, error) {
				return artifact(downloads, version, []byte("x "+version))
			},
			Active: func() (string, error) {
				host.mu.Lock()
				defer host.mu.Unlock()
				if host.installed["x"] == "" {
					return "", errors.New("the package of before is gone")
				}
				return strings.TrimPrefix(host.installed["x"], "0"), nil
			},
		}
	})
}

func options(fsys disk.FS, dir string) Options {
	return Options{Files: files.Options{FS: fsys, Dir: dir, Limits: component.Limits{Size: 1 << 24, Files: 100}}, Clock: clock.Wall{}, Reserve: 1}
}

// artifact puts the bytes of a release where a download would be.
func artifact(dir, version string, data []byte) (installer.Stage, error) {
	path := filepath.Join(dir, "artifact-"+version)
	return installer.Stage{Version: version, Path: path, Artifact: release.Artifact{
		Format: release.File, Name: "x.deb", Digest: release.DigestOf(data), Size: int64(len(data)),
	}}, os.WriteFile(path, data, 0o600)
}

// writable is a directory that is removed after the test although slots in it are read-only.
func writable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := disk.RemoveAll(disk.OS{}, dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// memory is a host whose packages are entries of a map; a package is a file that says its name and version.
type memory struct {
	mu        sync.Mutex
	installed map[string]string
	downloads string
}

func (m *memory) read(_ context.Context, path string) (parcel, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return parcel{}, err
	}
	p := parcel{arch: "all", path: path, size: int64(len(data))}
	if n, err := fmt.Sscan(string(data), &p.name, &p.version); n != 2 || err != nil {
		return parcel{}, fault.New(fault.Invalid, "read %s: is no package", path)
	}
	return p, nil
}

func (m *memory) query(_ context.Context, name string) (status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.installed[name]
	return status{name: name, version: v, arch: "all", present: v != "", whole: v != "", held: true}, nil
}

func (m *memory) object(context.Context, []parcel) ([]fault.Problem, error) { return nil, nil }

func (m *memory) change(ctx context.Context, c change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.room != nil {
		if err := c.room(); err != nil {
			return err
		}
	}
	for _, p := range c.install {
		if found, err := m.read(ctx, p.path); err != nil || found != p {
			return errors.Join(err, fmt.Errorf("got %+v, want %+v", found, p))
		}
		m.installed[p.name] = p.version
	}
	for _, name := range c.remove {
		delete(m.installed, name)
	}
	return nil
}

func (m *memory) obtain(_ context.Context, s status, _ string, _ bool) (string, error) {
	return filepath.Join(m.downloads, s.version), nil
}
