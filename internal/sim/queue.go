package sim

// happening is something that is due to a host.
type happening struct {
	host host
	what what
}

type what uint8

const (
	confirms what = iota // reports that it is well
	breaks               // is harmed by the release
	reports              // reports that harm
	leaves               // says goodbye
	returns              // is back from a goodbye
	expires              // its deadline: silent if nothing was heard
	wakes                // is heard again after its silence
	recovers             // runs its last-known-good release again
	blames               // reports harm that is none of the release's
	boots                // is booted on purpose
)

// queue keeps what is due by the second: adding and taking cost the same whatever its size.
type queue struct {
	due  map[int32][]happening
	free [][]happening
	size int
}

func newQueue() *queue { return &queue{due: map[int32][]happening{}} }

func (q *queue) add(second int32, h happening) {
	list, ok := q.due[second]
	if !ok && len(q.free) > 0 {
		list = q.free[len(q.free)-1]
		q.free = q.free[:len(q.free)-1]
	}
	q.due[second] = append(list, h)
	q.size++
}

// take removes what is due at a second. Give it back with done.
func (q *queue) take(second int32) []happening {
	list := q.due[second]
	if list != nil {
		delete(q.due, second)
		q.size -= len(list)
	}
	return list
}

func (q *queue) done(list []happening) {
	if cap(list) > 0 && len(q.free) < 256 {
		q.free = append(q.free, list[:0])
	}
}
