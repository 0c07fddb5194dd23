//go:build !unix

package journal

import "io/fs"

// allocated is not known here.
func allocated(fs.FileInfo) (bytes int64, known bool) { return 0, false }
