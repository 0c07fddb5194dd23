// Package firebreak holds no code. It is the place of the tests that hold the house together: see arch_test.go for the
// floors, which say what may import what, and ARCHITECTURE.md for the map.
package firebreak
