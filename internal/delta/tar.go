package delta

import (
	"archive/tar"
	"strings"
	"time"
)

// TarHeader is the header of a file, or of a directory if its name ends in a slash, in an artifact that is a tar. An artifact's bytes
// follow from its files alone: so a host can have the bytes of one again from the files that it unpacked. It must never change.
func TarHeader(name string, size int64, program bool) *tar.Header {
	h := &tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
	if strings.HasSuffix(name, "/") {
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
	}
	if program {
		h.Mode = 0o755
	}
	return h
}
