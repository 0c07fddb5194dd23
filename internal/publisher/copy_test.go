package publisher_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// branch is another control plane of the same owners: a keyring with the same keys, that knows nothing else.
func (o *office) branch() *office {
	o.t.Helper()
	other := newOffice(o.t)
	keys, err := filepath.Glob(filepath.Join(o.dir, "*.pem*"))
	if err != nil || len(keys) == 0 {
		o.t.Fatalf("found keys %v, error %v", keys, err)
	}
	for _, key := range keys {
		data, err := os.ReadFile(key)
		if err != nil {
			o.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other.dir, filepath.Base(key)), data, 0o600); err != nil {
			o.t.Fatal(err)
		}
	}
	other.init(components(sensor))
	return other
}

// A copied release is the same release: the same manifest, the same bytes, in the same order.
func TestCopy(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.init(components(sensor))
	there := o.branch()
	for _, version := range []string{"1", "2"} {
		first, err := o.Publish(t.Context(), release1(t, version, "good "+version))
		if err != nil {
			t.Fatal(err)
		}
		there.clock.Move(1000)
		copied, err := there.Copy(t.Context(), o.server, sensor, version)
		if err != nil || copied.Digest != first.Digest || copied.Before {
			t.Fatalf("got %+v, error %v, want manifest %s", copied, err, first.Digest)
		}
		if _, err := there.Verify(t.Context(), sensor, version, ""); err != nil {
			t.Errorf("verify the copy: %v", err)
		}
		if again, err := there.Copy(t.Context(), o.server, sensor, version); err != nil || !again.Before {
			t.Errorf("again: got %+v, error %v, want nothing done", again, err)
		}
	}
	_, err := there.Copy(t.Context(), o.server, sensor, "3")
	refused(t, err, fault.NotFound, "no such release")
	late := o.branch()
	_, err = late.Copy(t.Context(), o.server, sensor, "2")
	refused(t, err, fault.Conflict, "its serial is 2, the next one here is 1")
	if _, err = there.Publish(t.Context(), release1(t, "3", "good three")); err != nil {
		t.Fatal(err)
	}
	if _, err = o.Publish(t.Context(), release1(t, "3", "good other three")); err != nil {
		t.Fatal(err)
	}
	_, err = there.Copy(t.Context(), o.server, sensor, "3")
	refused(t, err, fault.Conflict, "another release has that version")
}

// The other control plane is not trusted: neither its metadata nor its bytes.
func TestCopyTrustsOnlyTheOwnersKeys(t *testing.T) {
	t.Parallel()
	stranger := newOffice(t)
	stranger.init(components(sensor))
	o := newOffice(t)
	o.init(components(sensor))
	there := o.branch()
	for _, from := range []*office{stranger, o} {
		if _, err := from.Publish(t.Context(), release1(t, "1", "good one")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := there.Copy(t.Context(), stranger.server, sensor, "1")
	refused(t, err, fault.Denied, "0 signatures")
	liar := *o.server
	liar.forge = func(_ string, data []byte) []byte {
		return bytes.Replace(data, []byte(`"version":1`), []byte(`"version":7`), 1)
	}
	if _, err := there.Copy(t.Context(), &liar, sensor, "1"); err == nil {
		t.Error("forged metadata was copied")
	}
	_, err = there.Copy(t.Context(), swapper{o.server}, sensor, "1")
	refused(t, err, fault.Denied, "manifest")
}

// swapper is a server that gives other bytes than it was asked for.
type swapper struct{ *server }

func (s swapper) Blob(context.Context, release.Digest) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("{}")), nil
}
