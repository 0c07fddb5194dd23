//go:build unix && !linux

package torture

func (w *world) makeSmall(int) { w.t.Log("no disk will be full: a small one is made on Linux only") }

func (w *world) fill() (free func()) { return func() {} }
