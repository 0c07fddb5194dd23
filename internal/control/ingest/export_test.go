package ingest

// Pulse does what Run does every now and then.
func (in *Ingest) Pulse() { in.hub.pulse() }

// Open tells how many streams are open.
func (in *Ingest) Open() int {
	in.hub.mu.Lock()
	defer in.hub.mu.Unlock()
	return len(in.hub.streams)
}
