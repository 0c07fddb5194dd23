//go:build unix

package bench

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Bounds that hold on every machine.
const (
	mostShare  = 0.05     // of the new bytes: what a delta of 1 % changed may be
	mostMemory = 20 << 20 // bytes: what applying one may allocate, all in all
)

// TestDelta measures what a binary of which 1 % changed moves, what applying costs a host, and what making costs a publisher.
func TestDelta(t *testing.T) {
	size := 8 << 20
	if *full {
		size = 100_000_000
	}
	old := binary(size)
	worst := 0.0
	for name, changed := range map[string][]byte{"edited": edited(old), "shifted": shifted(old)} {
		share := measureDelta(t, name, old, changed)
		worst = max(worst, share)
	}
	figure(t, "delta_share", worst, "ratio")
	if worst > mostShare {
		t.Errorf("got a share of %.4f, want at most %.2f", worst, mostShare)
	}
}

func measureDelta(t *testing.T, name string, old, changed []byte) float64 {
	t.Helper()
	base, target := onDisk(t, "old", old), onDisk(t, "new", changed)
	path := filepath.Join(t.TempDir(), "delta")
	made, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	cpu := cpuTime()
	if err := delta.Make(t.Context(), made, base, target); err != nil {
		t.Fatal(err)
	}
	making := cpuTime() - cpu
	info, err := made.Stat()
	if err != nil {
		t.Fatal(err)
	}
	patch, err := delta.Open(made, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	out := &same{want: changed}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu = cpuTime()
	if err := patch.Apply(t.Context(), base, 0, out); err != nil {
		t.Fatal(err)
	}
	applying := cpuTime() - cpu
	runtime.ReadMemStats(&after)
	memory := after.TotalAlloc - before.TotalAlloc // all that was ever allocated: no peak is higher
	if out.n != len(changed) || out.differs {
		t.Error("what came out is not the new binary")
	}
	if memory > mostMemory {
		t.Errorf("%s: applying allocated %d bytes, want at most %d", name, memory, mostMemory)
	}
	share := float64(info.Size()) / float64(len(changed))
	t.Logf("%s: %d of %d bytes (%.2f %%); made in %.1f s of CPU; applied in %.0f ms of CPU with %.1f MB", name, info.Size(), len(changed),
		100*share, making.Seconds(), applying.Seconds()*1000, float64(memory)/1e6)
	return share
}

func onDisk(t *testing.T, name string, data []byte) delta.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return delta.Source{Bytes: f, Size: int64(len(data)), Digest: release.DigestOf(data)}
}

// same compares what is written with what is wanted, and keeps nothing.
type same struct {
	want    []byte
	n       int
	differs bool
}

var _ io.Writer = (*same)(nil)

func (s *same) Write(b []byte) (int, error) {
	s.differs = s.differs || !bytes.HasPrefix(s.want[s.n:], b)
	s.n += len(b)
	return len(b), nil
}

// binary is bytes of which a third can be compressed away, as in most programs.
func binary(size int) []byte {
	r := rand.New(rand.NewChaCha8([32]byte{1}))
	words := make([][]byte, 20_000)
	for i := range words {
		words[i] = random(r, 4+r.IntN(30))
	}
	data := make([]byte, 0, size+64)
	for len(data) < size {
		data = append(data, words[r.IntN(len(words))]...)
		data = append(data, random(r, 3)...)
	}
	return data[:size]
}

// edited has 1 % of the bytes changed, 16 at a time, all over.
func edited(data []byte) []byte {
	r := rand.New(rand.NewChaCha8([32]byte{2}))
	data = bytes.Clone(data)
	for range len(data) / 100 / 16 {
		copy(data[r.IntN(len(data)-16):], random(r, 16))
	}
	return data
}

// shifted has 1 % new bytes, half of them near the beginning and half in the middle, so that nearly nothing is where it was.
func shifted(data []byte) []byte {
	r := rand.New(rand.NewChaCha8([32]byte{3}))
	some, half := len(data)/200, len(data)/2
	out := append(bytes.Clone(data[:4096]), random(r, some)...)
	out = append(out, data[4096:half]...)
	return append(append(out, random(r, some)...), data[half:]...)
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// cpuTime is the CPU that this process has used so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
