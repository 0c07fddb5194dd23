package delta_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// program is bytes that look like a program: they repeat themselves, but not too much.
func program(size int, seed byte) []byte {
	r := rand.New(rand.NewChaCha8([32]byte{seed}))
	words := make([][]byte, 5000)
	for i := range words {
		words[i] = make([]byte, 4+r.IntN(40))
		for j := range words[i] {
			words[i][j] = byte(r.Uint32())
		}
	}
	data := make([]byte, 0, size+64)
	for len(data) < size {
		data = append(data, words[r.IntN(len(words))]...)
		data = append(data, byte(r.Uint32()), byte(r.Uint32()))
	}
	return data[:size]
}

// edited has runs of bytes changed at many places, 1 % in all.
func edited(data []byte) []byte {
	r := rand.New(rand.NewChaCha8([32]byte{9}))
	data = bytes.Clone(data)
	for changed := 0; changed < len(data)/100; changed += 32 {
		at := r.IntN(len(data) - 32)
		for i := range 32 {
			data[at+i] = byte(r.Uint32())
		}
	}
	return data
}

// shifted has bytes inserted near the beginning, so that nothing is where it was.
func shifted(data []byte) []byte {
	return append(append(bytes.Clone(data[:1000]), program(len(data)/100, 7)...), data[1000:]...)
}

func made(t testing.TB, base, target []byte) []byte {
	t.Helper()
	var from delta.Source
	if base != nil {
		from = sourceOf(base)
	}
	var b bytes.Buffer
	if err := delta.Make(t.Context(), &b, from, sourceOf(target)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t testing.TB, data []byte) *delta.Patch {
	t.Helper()
	p, err := delta.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWindowsLeadFromOldToNew(t *testing.T) {
	t.Parallel()
	old := program(600_123, 1)
	far := slices.Concat(old, make([]byte, 5<<20), old) // several windows
	for name, row := range map[string]struct {
		base, target []byte
		most         int // bytes of the delta
	}{
		"edited":      {old, edited(old), len(old) / 50},
		"shifted":     {old, shifted(old), len(old) / 50},
		"same":        {old, old, 20_000},
		"grown":       {old[:300_000], old, len(old) * 9 / 10},
		"far":         {old, far, 20_000},
		"shrunk":      {old, old[200_000:], 5_000},
		"tiny base":   {old[:10], old[:100_000], 100_000},
		"unrelated":   {old, program(300_000, 2), 300_000},
		"from none":   {nil, far, len(old) * 18 / 10},
		"one byte":    {old, old[:1], 1000},
		"all zeros":   {make([]byte, 3<<20), make([]byte, 9<<20), 5_000},
		"moved parts": {old, append(bytes.Clone(old[300_000:]), old[:300_000]...), 20_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := made(t, row.base, row.target)
			if len(d) > row.most {
				t.Errorf("got a delta of %d bytes, want at most %d", len(d), row.most)
			}
			base := sourceOf(row.base)
			if row.base == nil {
				base = delta.Source{}
			}
			p := open(t, d)
			if p.Target != sourceOf(row.target).Digest || p.Size != int64(len(row.target)) || p.Base != base.Digest {
				t.Fatalf("got header %+v, want that of the files", p)
			}
			for _, have := range []int{0, 1, 2 << 20, 2<<20 + 1, len(row.target)} {
				have = min(have, len(row.target))
				var out bytes.Buffer
				if err := p.Apply(t.Context(), base, int64(have), &out); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(out.Bytes(), row.target[have:]) {
					t.Errorf("from %d on: got other bytes, want the new ones", have)
				}
			}
		})
	}
}

func TestApplyRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	old := program(200_000, 1)
	is := edited(old)
	d, full := made(t, old, is), made(t, nil, is)
	for name, row := range map[string]struct {
		delta, base []byte
		kind        fault.Kind
	}{
		"other base":     {d, is, fault.Conflict},
		"no base":        {d, nil, fault.Conflict},
		"needs no base":  {full, old, fault.Conflict},
		"truncated":      {d[:len(d)-1], old, fault.Invalid},
		"half":           {d[:len(d)/2], old, fault.Invalid},
		"header only":    {d[:84], old, fault.Invalid},
		"no header":      {d[:83], old, fault.Invalid},
		"something else": {is, old, fault.Invalid},
		"region outside": {with(d, 84+5, 0xff), old, fault.Invalid},
		"large region":   {with(d, 84+11, 0xff), old, fault.Invalid},
		"large body":     {with(d, 84+15, 0xff), old, fault.Invalid},
		"large window":   {with(d, 83, 0xff), old, fault.Invalid},
		"small window":   {with(d, 82, 0), old, fault.Invalid},
		"giant":          {with(d, 79, 0xff), old, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var base delta.Source
			if row.base != nil {
				base = sourceOf(row.base)
			}
			var out bytes.Buffer
			p, err := delta.Open(bytes.NewReader(row.delta), int64(len(row.delta)))
			if err == nil {
				err = p.Apply(t.Context(), base, 0, &out)
			}
			if fault.KindOf(err) != row.kind {
				t.Errorf("got %v, want %s", err, row.kind)
			}
			if !bytes.HasPrefix(is, out.Bytes()) {
				t.Error("what was written before the error is not right")
			}
		})
	}
}

func with(data []byte, at int, b byte) []byte {
	data = bytes.Clone(data)
	data[at] = b
	return data
}

// No flipped bit gives wrong bytes: they come out right, or not at all.
func TestFlippedBitsNeverGiveWrongBytes(t *testing.T) {
	t.Parallel()
	old := program(50_000, 1)
	is := edited(old)
	d := made(t, old, is)
	r := rand.New(rand.NewChaCha8([32]byte{3}))
	for range 300 {
		at := 8 + 64 + r.IntN(len(d)-8-64)
		bad := with(d, at, d[at]^1<<r.IntN(8))
		p, err := delta.Open(bytes.NewReader(bad), int64(len(bad)))
		if err != nil {
			continue
		}
		var out bytes.Buffer
		err = p.Apply(t.Context(), sourceOf(old), 0, &out)
		if !bytes.HasPrefix(is, out.Bytes()) || err == nil && p.Size == int64(len(is)) && out.Len() != len(is) {
			t.Fatalf("bit flipped in byte %d: got wrong bytes, want none", at)
		}
	}
}

func TestApplyStopsAtTheWritersError(t *testing.T) {
	t.Parallel()
	old := program(200_000, 1)
	broken := errors.New("disk")
	err := open(t, made(t, old, old)).Apply(t.Context(), sourceOf(old), 0, failing{broken})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the writer's error", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestDictionary(t *testing.T) {
	t.Parallel()
	old := rules(50_000, "1")
	is := rules(50_000, "2")
	d, err := delta.EncodeDictionary(old, is)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := delta.Compress(is)
	if err != nil {
		t.Fatal(err)
	}
	if len(d) > len(is)/50 || len(d) > len(plain)/4 {
		t.Errorf("got %d bytes, %d without the old ones, want far less of %d", len(d), len(plain), len(is))
	}
	got, err := delta.DecodeDictionary(old, d, int64(len(is)))
	if err != nil || !bytes.Equal(got, is) {
		t.Errorf("got %d bytes, %v, want the new ones", len(got), err)
	}
	if got, err = delta.Decompress(plain, int64(len(is))); err != nil || !bytes.Equal(got, is) {
		t.Errorf("without the old ones: got %d bytes, %v, want the new ones", len(got), err)
	}
	for name, row := range map[string]struct {
		base, data []byte
		size       int
		kind       fault.Kind
	}{
		"other base": {is, d, len(is), fault.Conflict},
		"no stream":  {old, d[1:], len(is), fault.Invalid},
		"truncated":  {old, d[:len(d)-1], len(is), fault.Invalid},
		"no header":  {old, d[:39], len(is), fault.Invalid},
		"gives more": {old, d, len(is) - 1, fault.Invalid},
		"no size":    {old, d, 0, fault.Invalid},
	} {
		if _, err := delta.DecodeDictionary(row.base, row.data, int64(row.size)); fault.KindOf(err) != row.kind {
			t.Errorf("%s: got %v, want %s", name, err, row.kind)
		}
	}
	if _, err := delta.EncodeDictionary(make([]byte, delta.MaxSmall+1), is); fault.KindOf(err) != fault.Invalid {
		t.Errorf("too large a base: got %v, want invalid", err)
	}
}

// rules is a content file: version 2 differs from 1 in one line of a hundred.
func rules(size int, version string) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		n := i * 2654435761 % 1_000_003
		if i%100 == 7 {
			n += len(version) * int(version[0])
		}
		fmt.Fprintf(&b, `{"id": %d, "match": "proc_%d", "score": %d}`+"\n", i, n, n%97)
	}
	return b.Bytes()
}

// What others made can be read, and what we made can others read.
func TestDictionaryIsThatOfZstd(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("zstd is not installed")
	}
	dir := t.TempDir()
	old, is := rules(100_000, "1"), rules(100_000, "2")
	d, err := delta.EncodeDictionary(old, is)
	if err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, data := range map[string][]byte{"old": old, "new": is, "delta.zst": d} {
		if err := os.WriteFile(path(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("zstd %q: %v: %s", args, err, out)
		}
	}
	run("-q", "-d", "-D", path("old"), path("delta.zst"), "-o", path("out"))
	if got, err := os.ReadFile(path("out")); err != nil || !bytes.Equal(got, is) {
		t.Errorf("decoded by zstd: got %d bytes, %v, want the new ones", len(got), err)
	}
	run("-q", "-19", "-D", path("old"), path("new"), "-o", path("theirs"))
	theirs, err := os.ReadFile(path("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := delta.DecodeDictionary(old, append(bytes.Clone(d[:40]), theirs...), int64(len(is)))
	if err != nil || !bytes.Equal(got, is) {
		t.Errorf("encoded by zstd: got %d bytes, %v, want the new ones", len(got), err)
	}
}

// Memory does not grow with what a delta says of itself.
func FuzzApply(f *testing.F) {
	old := program(2_000, 1)
	f.Add(made(f, old, edited(old)))
	f.Add(made(f, nil, old))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := delta.Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		base := sourceOf(old)
		if p.Base != base.Digest {
			p.Base, base = "", delta.Source{}
		}
		out := &counter{}
		if err := p.Apply(t.Context(), base, 0, out); err == nil && out.n != p.Size {
			t.Errorf("got %d bytes without an error, want the %d that it says", out.n, p.Size)
		}
		if out.n > p.Size {
			t.Errorf("got %d bytes, want at most %d", out.n, p.Size)
		}
	})
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

func FuzzDecodeDictionary(f *testing.F) {
	old := rules(20_000, "1")
	d, err := delta.EncodeDictionary(old, rules(20_000, "2"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(d, int64(20_100))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		got, err := delta.DecodeDictionary(old, data, size)
		if err == nil && int64(len(got)) > size {
			t.Errorf("got %d bytes, want at most %d", len(got), size)
		}
		got, err = delta.Decompress(data, size)
		if err == nil && int64(len(got)) > size {
			t.Errorf("without a dictionary: got %d bytes, want at most %d", len(got), size)
		}
	})
}

// sourceOf is bytes in memory as a source.
func sourceOf(data []byte) delta.Source {
	return delta.Source{Bytes: bytes.NewReader(data), Size: int64(len(data)), Digest: release.DigestOf(data)}
}
