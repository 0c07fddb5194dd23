package store

import (
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// rowsAtOnce is how many rows one statement writes at most. With the widest row it stays below what databases allow in parameters.
const rowsAtOnce = 128

// inRows writes many rows in few statements. Shape is one row of a VALUES list with ? where values go, as in (?, ?, 0); bind
// appends the values of one row. Run gets the list, with $n placeholders, and its values. Statements have 128, 64, 32 ... rows, so that
// there are few different texts and a database can keep them prepared.
func inRows[T any](all []T, shape string, bind func(args []any, v T) []any, run func(rows string, args []any) error) error {
	var args []any
	for len(all) > 0 {
		n := min(rowsAtOnce, 1<<(bits.Len(uint(len(all)))-1))
		args = args[:0]
		for _, v := range all[:n] {
			args = bind(args, v)
		}
		storable(args)
		if err := run(placeholders(shape, n), args); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// placeholders repeats shape n times and numbers its question marks.
func placeholders(shape string, n int) string {
	parts := strings.Split(shape, "?")
	var b strings.Builder
	b.Grow(n * (len(shape) + 6*len(parts)))
	number := 0
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, part := range parts {
			if j > 0 {
				number++
				b.WriteByte('$')
				b.WriteString(strconv.Itoa(number))
			}
			b.WriteString(part)
		}
	}
	return b.String()
}

// lastOf leaves the last of all that have the same key: one statement cannot change a row twice.
func lastOf[K comparable, T any](all []T, key func(T) K) []T {
	at := make(map[K]int, len(all))
	last := make([]T, 0, len(all))
	for _, v := range all {
		k := key(v)
		if i, again := at[k]; again {
			last[i] = v
			continue
		}
		at[k] = len(last)
		last = append(last, v)
	}
	return last
}

// values are the values of a map, in no order.
func values[K comparable, V any](m map[K]V) []V { return slices.Collect(maps.Values(m)) }
