//go:build !race

package admission_test

// racing tells whether the race detector is on.
const racing = false
