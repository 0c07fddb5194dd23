package guard_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
)

// BenchmarkBoot is what the guard adds to a healthy boot, on this machine's disk, with 16 components each of them pending. The goal is
// 20 ms for the whole program in a boot that it counts. What the disk needs for one write that is durable is given with it, because that
// is most of it and differs between machines.
//
//	counted    the one stage that counts the boot
//	again      the other stage, which finds it counted
//	program    the same, as a process of its own: what a unit starts, from exec to exit
func BenchmarkBoot(b *testing.B) {
	w := newWorld(b)
	w.FS, w.Log = disk.OS{}, nil
	entries := make([]bootguard.Entry, 0, 16)
	for i := range cap(entries) {
		entries = append(entries, w.install(fmt.Sprint("c", i), "v1", "v2"))
	}
	fresh := func(b *testing.B) { // a blessed host in another boot than the one that is measured
		w.sync(entries...)
		w.boot()
		w.mend(b)
		w.reboot()
	}
	boot := func(b *testing.B) { guard.Boot(b.Context(), w.Host, guard.Unit) }
	b.Run("counted", func(b *testing.B) {
		w.measure(b, fresh, boot)
		if s := w.state(); s.Boots != 1 || len(s.Pending()) != cap(entries) {
			b.Fatalf("got %+v, want a boot that was counted, with all pending", s)
		}
	})
	b.Run("again", func(b *testing.B) { w.measure(b, func(*testing.B) {}, boot) })
	b.Run("program", func(b *testing.B) {
		program := filepath.Join(b.TempDir(), "firebreak-guard")
		build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "../../../cmd/firebreak-guard")
		if out, err := build.CombinedOutput(); err != nil {
			b.Fatalf("go build: %v\n%s", err, out)
		}
		w.measure(b, fresh, func(b *testing.B) {
			stage := exec.CommandContext(b.Context(), program, "boot", "--stage", "2", "--log", "/dev/null", "--root", w.Root, "--dir", w.Dir)
			if out, err := stage.CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
		})
		if s := w.state(); s.Boots != 1 {
			b.Fatalf("got %d boots, want one that was counted", s.Boots)
		}
	})
}

// mend blesses, without looking at the host, so that no boot of the benchmark is one too many.
func (w *world) mend(b *testing.B) {
	b.Helper()
	w.Command = answer(nil)
	if code := guard.Bless(b.Context(), w.Host, guard.Blessing{}, nothing{}); code != 0 {
		b.Fatal("not blessed")
	}
}

type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }

// measure reports how long the boots take, and how much of that is one durable write, done right after each for comparison.
func (w *world) measure(b *testing.B, before, boot func(*testing.B)) {
	b.Helper()
	f, err := os.Create(filepath.Join(w.Root, "bare"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	record := make([]byte, 4<<10)
	write := func() {
		_, err1 := f.WriteAt(record, 0)
		if err2 := f.Sync(); err1 != nil || err2 != nil {
			b.Fatal(err1, err2)
		}
	}
	write()
	var wall clock.Wall
	var boots, writes, longest time.Duration
	n := 0
	for b.Loop() {
		before(b)
		start := wall.Now()
		boot(b)
		took := wall.Now().Sub(start)
		boots, longest, n = boots+took, max(longest, took), n+1
		start = wall.Now()
		write()
		writes += wall.Now().Sub(start)
	}
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(n) }
	b.ReportMetric(0, "ns/op") // what stands round the boots is of no interest
	b.ReportMetric(ms(boots), "ms/boot")
	b.ReportMetric(longest.Seconds()*1000, "ms/longest")
	b.ReportMetric(ms(writes), "ms/write+fsync")
	b.ReportMetric(float64(boots)/float64(writes), "boot/write+fsync")
}
