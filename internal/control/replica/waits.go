package replica

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// waits are those who wait for something with a key. Each is told once.
type waits[K comparable] struct {
	mu    sync.Mutex
	of    map[K][]chan []byte
	first chan struct{} // somebody waits
}

func newWaits[K comparable]() *waits[K] {
	return &waits[K]{of: map[K][]chan []byte{}, first: make(chan struct{}, 1)}
}

// wait returns where the word for key will come. The caller leaves in any case.
func (w *waits[K]) wait(key K) chan []byte {
	done := make(chan []byte, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[key] = append(w.of[key], done)
	select {
	case w.first <- struct{}{}:
	default:
	}
	return done
}

func (w *waits[K]) leave(key K, done chan []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := slices.DeleteFunc(w.of[key], func(c chan []byte) bool { return c == done })
	if len(rest) == 0 {
		delete(w.of, key)
	} else {
		w.of[key] = rest
	}
}

// deliver tells all who wait for key.
func (w *waits[K]) deliver(key K, word []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, done := range w.of[key] {
		done <- word // it has room
	}
	delete(w.of, key)
}

// waiting lists what is waited for.
func (w *waits[K]) waiting() []K {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.of))
}

// idle waits until somebody waits.
func (w *waits[K]) idle(ctx context.Context) {
	select {
	case <-w.first:
	case <-ctx.Done():
	}
}
