package disk

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/blob"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dev, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("needs /dev/full: %v", err)
	}
	defer dev.Close()
	_, err = io.Copy(dev, blob.Verify(t.Context(), release.DigestOf([]byte("bytes")), 5, strings.NewReader("bytes")))
	err = failed("store blob", err)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "disk is full") || fault.NextOf(err) == "" {
		t.Errorf("got %v (next %q), want unavailable because the disk is full", err, fault.NextOf(err))
	}
}
