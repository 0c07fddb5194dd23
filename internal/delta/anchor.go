package delta

import (
	"context"
	"errors"
	"io"
)

// anchors are places in the old bytes that can be found again in the new ones wherever they went: the rolling hash of the bytes before a
// place decides whether it is one, so an insertion moves them and changes none.
type anchors struct {
	gear  [256]uint64
	shift uint             // a place is an anchor if its hash, shifted right so far, is zero
	at    map[uint64]int64 // by hash; ambiguous if it is at several places
	size  int64
}

const (
	spacing    = 9       // log2 of the mean distance of anchors, in bytes
	maxAnchors = 1 << 20 // expected; larger files have them farther apart
	ambiguous  = -1
	bucket     = 256 << 10 // bytes; votes for a region are counted in steps of this
)

// newAnchors reads the old bytes once.
func newAnchors(ctx context.Context, old Source) (*anchors, error) {
	bits := uint(spacing)
	for old.Size>>bits > maxAnchors {
		bits++
	}
	a := &anchors{shift: 64 - bits, at: map[uint64]int64{}, size: old.Size, gear: gear()}
	buf := make([]byte, 1<<20)
	var h uint64
	for offset := int64(0); offset < old.Size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := old.Bytes.ReadAt(buf[:min(int64(len(buf)), old.Size-offset)], offset)
		if n == 0 {
			return nil, errors.Join(io.ErrUnexpectedEOF, err)
		}
		h = a.scan(h, buf[:n], func(hash uint64, i int) { a.note(hash, offset+int64(i)) })
		offset += int64(n)
	}
	return a, nil
}

// scan rolls the hash over data and calls found at each anchor. It returns the hash to go on with.
func (a *anchors) scan(h uint64, data []byte, found func(hash uint64, i int)) uint64 {
	for i, b := range data {
		h = h<<1 + a.gear[b]
		if h>>a.shift == 0 {
			found(h, i)
		}
	}
	return h
}

func (a *anchors) note(hash uint64, offset int64) {
	if _, known := a.at[hash]; known {
		offset = ambiguous
	}
	a.at[hash] = offset
}

// region is where in the old bytes the window resembles them most. Where nothing does it is about the same place as in the new bytes.
func (a *anchors) region(window []byte, offset int64) (from, length int64) {
	votes := make([]int, a.size/bucket+1)
	total := 0
	a.scan(0, window, func(hash uint64, _ int) {
		if at, known := a.at[hash]; known && at != ambiguous {
			votes[at/bucket]++
			total++
		}
	})
	length = min(regionSize, a.size)
	last := a.size - length
	if total == 0 {
		return min(max(0, offset-(length-int64(len(window)))/2), last), length
	}
	const span = regionSize / bucket
	sum, best, first := 0, 0, 0
	for i, n := range votes {
		sum += n
		if i >= span {
			sum -= votes[i-span]
		}
		if sum > best {
			best, first = sum, max(0, i-span+1)
		}
	}
	return min(a.centred(votes, first, span), last), length
}

// centred moves a region so that its votes lie in its middle: what lies at their edges is in it, too.
func (a *anchors) centred(votes []int, first, span int) int64 {
	low, high := -1, 0
	for i := first; i < min(first+span, len(votes)); i++ {
		if votes[i] > 0 {
			high = i
			if low < 0 {
				low = i
			}
		}
	}
	spare := int64(span-(high-low+1)) * bucket
	return max(0, int64(low)*bucket-spare/2)
}

// gear is a table of 256 numbers without pattern (splitmix64).
func gear() (table [256]uint64) {
	var state uint64
	for i := range table {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		table[i] = z ^ z>>31
	}
	return table
}
