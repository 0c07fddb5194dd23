package servertest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
)

// Stage opens a world for an example, which has no test: a release of sensor-content is published and ten hosts have the component. What
// goes wrong is a panic. Leave ends it.
func Stage() (w *World, leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stage{ctx: ctx}
	w = Open(s, nil)
	w.Publish("sensor-content", "2")
	w.Join(10, "sensor-content")
	return w, func() {
		cancel()
		for _, cleanup := range slices.Backward(s.cleanups) {
			cleanup()
		}
	}
}

// stage is a test that is none. Only what a world asks of it is there.
type stage struct {
	testing.TB
	ctx      context.Context //nolint:containedctx // as a test has one
	cleanups []func()
}

func (s *stage) Helper() {}

func (s *stage) Context() context.Context { return s.ctx }

func (s *stage) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *stage) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (s *stage) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "stage")
	if err != nil {
		panic(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
