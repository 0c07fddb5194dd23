package process

import "sync"

// Tail is a writer that keeps the last bytes written to it. It is safe for concurrent use.
type Tail struct {
	mu   sync.Mutex
	size int
	buf  []byte
}

// NewTail keeps up to size bytes.
func NewTail(size int) *Tail { return &Tail{size: size} }

// Write implements io.Writer; it never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if len(p) > t.size {
		p = p[len(p)-t.size:]
	}
	if over := len(t.buf) + len(p) - t.size; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

// String is what was kept, without control characters.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return printable(t.buf)
}
