package publisher_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

// PutDelta implements publisher.Server.
func (s *server) PutDelta(_ context.Context, artifact release.Digest, d api.Delta) error {
	if s.noDeltas {
		return errors.New("out of order")
	}
	s.deltas = append(s.deltas, api.DeltaOf{Artifact: string(artifact), Delta: d})
	return nil
}

func noise(size int, seed byte) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func (o *office) publishFile(t *testing.T, version string, data []byte) publisher.Published {
	t.Helper()
	path := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if version == "1" {
		o.init(components(sensor))
	}
	options := release1(t, version, "good")
	options.Sources, options.Validator = []publisher.Source{{Path: path}}, []string{"true"}
	published, err := o.Publish(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	return published
}

func (o *office) blob(t *testing.T, digest string) []byte {
	t.Helper()
	body, err := o.server.Blob(t.Context(), release.Digest(digest))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPublishMakesDeltasToSmallArtifacts(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	one := append(noise(20_000, 1), bytes.Repeat([]byte("rule "), 10_000)...)
	two := append(bytes.Clone(one), "one more"...)
	three := noise(20_000, 3) // like nothing before, and cannot be compressed
	ignored := cmpopts.IgnoreFields(publisher.Delta{}, "Size")
	for _, row := range []struct {
		version string
		data    []byte
		want    []publisher.Delta
	}{
		{"1", one, []publisher.Delta{{Artifact: "payload", Form: api.DeltaZstd, Of: int64(len(one))}}},
		{"2", two, []publisher.Delta{
			{Artifact: "payload", Form: api.DeltaZstd, Of: int64(len(two))}, {Artifact: "payload", From: "1", Form: api.DeltaDCZ, Of: int64(len(two))},
		}},
		{"3", three, nil},
		{"4", []byte("tiny"), nil},
	} {
		published := o.publishFile(t, row.version, row.data)
		if diff := cmp.Diff(row.want, published.Deltas, ignored); diff != "" || published.NoDeltas != "" {
			t.Errorf("version %s: %s deltas (-want +got):\n%s", row.version, published.NoDeltas, diff)
		}
	}
	last := o.server.deltas[len(o.server.deltas)-1]
	data := o.blob(t, last.Digest)
	got, err := delta.DecodeDictionary(one, data, int64(len(two)))
	if err != nil || !bytes.Equal(got, two) || last.Artifact != string(release.DigestOf(two)) || last.Size != int64(len(data)) || len(data) > 200 {
		t.Errorf("got %+v of %d bytes, %v, want a short delta that leads from 1 to 2", last, len(data), err)
	}
}

func TestPublishMakesDeltasToLargeArtifacts(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	one := noise(delta.MaxSmall+100_000, 1)
	two := append(noise(5000, 2), one...)
	if published := o.publishFile(t, "1", one); len(published.Deltas) != 0 || published.NoDeltas != "" {
		t.Errorf("got %+v, want no deltas of noise", published)
	}
	published := o.publishFile(t, "2", two)
	if len(published.Deltas) != 1 || len(o.server.deltas) != 1 {
		t.Fatalf("got deltas %v, %s, want one", published.Deltas, published.NoDeltas)
	}
	data := o.blob(t, o.server.deltas[0].Digest)
	patch, err := delta.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := patch.Apply(t.Context(), sourceOf(one), 0, &out); err != nil || !bytes.Equal(out.Bytes(), two) {
		t.Errorf("got %d bytes, %v, want the second release", out.Len(), err)
	}
}

func TestPublishWithoutDeltasIsPublished(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.server.noDeltas = true
	published := o.publishFile(t, "1", bytes.Repeat([]byte("rule "), 10_000))
	if published.NoDeltas == "" || published.Submission.State != api.SubmissionPublished {
		t.Errorf("got %+v, want it published, and told why there are no deltas", published)
	}
}

// sourceOf is bytes in memory as a source.
func sourceOf(data []byte) delta.Source {
	return delta.Source{Bytes: bytes.NewReader(data), Size: int64(len(data)), Digest: release.DigestOf(data)}
}
